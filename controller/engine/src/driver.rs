//! Strategy plugins: a family is a trait and the drivers that implement it, chosen by the type name that
//! stands in the resource's row. Adding a driver is one file with the implementation and one line in the
//! family's slice.

use crate::error::{Result, codes};

/// All drivers of one trait. `kind` is what people call the family: `primary storage`.
pub struct Family<D: ?Sized + 'static> {
    pub kind: &'static str,
    pub drivers: &'static [(&'static str, &'static D)],
}

impl<D: ?Sized> Family<D> {
    /// The driver of the type `name`.
    pub fn get(&self, name: &str) -> Result<&'static D> {
        let found = self.drivers.iter().find(|(known, _)| *known == name);
        found.map(|(_, driver)| *driver).ok_or_else(|| {
            let known: Vec<_> = self.types().collect();
            codes::INVALID_ARGUMENT.because(format!(
                "there is no {} type \"{name}\"; there are {}",
                self.kind,
                known.join(", ")
            ))
        })
    }

    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        self.drivers.iter().map(|(name, _)| *name)
    }
}
