use engine::Result;
use engine::boxed;
use engine::db::Tx;

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// The host with the fewest VMs first.
pub(super) struct LeastVm;

#[boxed]
impl Strategy for LeastVm {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        store::emptiest(tx, demand, page).await
    }
}
