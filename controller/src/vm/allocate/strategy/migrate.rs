use engine::Result;
use engine::boxed;
use engine::db::Tx;

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// The fewest VMs first, of the hosts that are left when a filter has refused the one that the VM is to leave.
pub(super) struct Migrate;

#[boxed]
impl Strategy for Migrate {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        store::emptiest(tx, demand, page).await
    }
}
