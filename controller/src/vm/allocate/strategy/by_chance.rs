use engine::Result;
use engine::boxed;
use engine::db::Tx;

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// Any host. All that have the room are read and sorted: where there are very many, the fewest VMs are found
/// faster.
pub(super) struct ByChance;

#[boxed]
impl Strategy for ByChance {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        store::by_chance(tx, demand, page).await
    }
}
