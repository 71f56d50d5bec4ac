use engine::boxed;
use engine::db::Tx;
use engine::{Result, codes};

use super::Strategy;
use crate::vm::allocate::{Candidate, Demand, Page, store};

/// The host that is named, and no other.
pub(super) struct Designated;

#[boxed]
impl Strategy for Designated {
    async fn hosts(&self, tx: &mut Tx, demand: &Demand, page: Page) -> Result<Vec<Candidate>> {
        let Some(host) = demand.host else {
            let details = "DesignatedHostAllocatorStrategy takes the host that is named: give \"hostUuid\"";
            return Err(codes::INVALID_ARGUMENT.because(details));
        };
        match page.skip {
            0 => Ok(store::that_host(tx, demand, host).await?.into_iter().collect()),
            _ => Ok(Vec::new()),
        }
    }
}
