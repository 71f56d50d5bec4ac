use async_trait::async_trait;
use engine::Result;
use engine::db::Tx;

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// The host with the fewest VMs first.
pub(super) struct LeastVm;

#[async_trait]
impl Strategy for LeastVm {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        store::emptiest(tx, demand, page).await
    }
}
