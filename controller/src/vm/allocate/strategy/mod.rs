//! In which order hosts are tried.

mod by_chance;
mod designated;
mod last_host;
mod least_vm;
mod migrate;

use engine::Result;
use engine::boxed;
use engine::db::Tx;
use engine::driver::Family;

use super::{Candidate, Demand, Page};

#[boxed]
pub trait Strategy: Sync {
    /// The hosts of a page of its order that are in scope and have the room, the best first; fewer than its
    /// limit when there are no more.
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>>;
}

/// All of them; a new one is a file and a line here.
pub static STRATEGIES: Family<dyn Strategy> = Family::new(
    "host allocator strategy",
    &[
        (LEAST_VM, &least_vm::LeastVm),
        ("DefaultHostAllocatorStrategy", &by_chance::ByChance),
        ("LastHostPreferredAllocatorStrategy", &last_host::LastHost),
        ("DesignatedHostAllocatorStrategy", &designated::Designated),
        (MIGRATE_VM, &migrate::Migrate),
    ],
);

/// Of VMs of which nothing else is said.
pub const LEAST_VM: &str = crate::offering::ALLOCATOR_STRATEGY;
/// Of VMs that move.
pub const MIGRATE_VM: &str = "MigrateVmAllocatorStrategy";

/// The strategy of this name; a host that is named leaves no choice.
pub(super) fn of(demand: &Demand, name: &str) -> Result<&'static dyn Strategy> {
    match demand.host {
        Some(_) => Ok(&designated::Designated),
        None => STRATEGIES.get(name),
    }
}
