use engine::Result;
use engine::boxed;
use engine::db::Tx;

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// The host that the VM was on last, and then the one with the fewest VMs.
pub(super) struct LastHost;

#[boxed]
impl Strategy for LastHost {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        let last = match demand.last.filter(|_| page.skip == 0) {
            Some(last) => store::that_host(tx, demand, last).await?,
            None => None,
        };
        let mut hosts = store::emptiest(tx, demand, page).await?;
        hosts.splice(0..0, last);
        Ok(hosts)
    }
}
