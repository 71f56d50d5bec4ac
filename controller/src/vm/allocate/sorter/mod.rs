//! What puts some hosts before a strategy's order, and some after it.

mod apart;
mod together;

use engine::Id;
use engine::driver::Family;

use super::Look;
use crate::host::Host;

pub trait Sorter: Sync {
    /// The hosts that it has something to say of, and how much: below zero, they are tried before all others,
    /// the lowest first; above zero, after them.
    fn weights(&self, look: &Look<'_>) -> Vec<(Id<Host>, i64)>;
}

/// All of them; what they say is added up. A new one is a file and a line here.
pub static SORTERS: Family<dyn Sorter> =
    Family::new("host allocator sorter", &[("Together", &together::Together), ("Apart", &apart::Apart)]);
