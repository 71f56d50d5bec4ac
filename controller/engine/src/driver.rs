//! Strategy plugins: a family is a trait and the drivers that implement it, chosen by the type name that
//! stands in the resource's row. Adding a driver is one file with the implementation and one line: in the
//! family's slice, or in the module of a crate outside the tree ([`crate::module::Module::driver`]).

use std::sync::{PoisonError, RwLock};

use crate::error::{ErrorCode, Result, codes};

/// All drivers of one trait. What a process is linked from is the same for all of it, and so is a family.
pub struct Family<D: ?Sized + 'static> {
    /// What people call it: `primary storage`.
    pub kind: &'static str,
    drivers: &'static [(&'static str, &'static D)],
    added: RwLock<Vec<Added<D>>>,
}

/// A driver from outside the tree.
struct Added<D: ?Sized + 'static> {
    by: &'static str,
    name: &'static str,
    driver: &'static D,
}

impl<D: ?Sized> Family<D> {
    pub const fn new(kind: &'static str, drivers: &'static [(&'static str, &'static D)]) -> Self {
        Family { kind, drivers, added: RwLock::new(Vec::new()) }
    }

    /// The driver of the type `name`.
    pub fn get(&self, name: &str) -> Result<&'static D> {
        let found = self.all().into_iter().find(|(known, _)| *known == name);
        found.map(|(_, driver)| driver).ok_or_else(|| {
            let (kind, known) = (self.kind, self.types().join(", "));
            codes::INVALID_ARGUMENT.because(format!("there is no {kind} type \"{name}\"; there are {known}"))
        })
    }

    pub fn types(&self) -> Vec<&'static str> {
        self.all().into_iter().map(|(name, _)| name).collect()
    }

    /// By type name, those of outside last.
    pub fn all(&self) -> Vec<(&'static str, &'static D)> {
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        self.drivers.iter().copied().chain(added.iter().map(|one| (one.name, one.driver))).collect()
    }

    /// Takes in a driver of the module `by`; a second controller in one process brings the same once more.
    pub(crate) fn add(&self, by: &'static str, name: &'static str, driver: &'static D) -> Result<()> {
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        let known = added.iter().find(|one| one.name == name).map(|one| one.by);
        match known.or_else(|| self.drivers.iter().any(|(known, _)| *known == name).then_some("the tree")) {
            None => {
                added.push(Added { by, name, driver });
                Ok(())
            }
            Some(known) if known == by => Ok(()),
            Some(known) => Err(twice(self.kind, name, known, by)),
        }
    }
}

fn twice(kind: &str, name: &str, known: &str, by: &str) -> ErrorCode {
    let details = format!("module \"{by}\" adds the {kind} type \"{name}\", which {known} has already");
    codes::INVALID_ARGUMENT.because(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Colour: Sync {}
    struct Red;
    impl Colour for Red {}

    static COLOURS: Family<dyn Colour> = Family::new("colour", &[("Red", &Red)]);

    #[test]
    fn a_type_is_added_once_and_by_one_module() {
        assert!(COLOURS.get("Ruby").is_err());
        COLOURS.add("gems", "Ruby", &Red).unwrap();
        COLOURS.add("gems", "Ruby", &Red).unwrap();
        assert!(COLOURS.get("Ruby").is_ok());
        assert_eq!(COLOURS.types(), ["Red", "Ruby"]);
        for (by, name) in [("wines", "Ruby"), ("gems", "Red")] {
            assert!(COLOURS.add(by, name, &Red).unwrap_err().details().contains("already"));
        }
    }
}
