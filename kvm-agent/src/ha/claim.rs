//! May a VM start? Only where the leases of its storages are held, and not if one is lost between the first look and
//! the moment when its QEMU is there to be found: until then it is paused.

use std::collections::BTreeMap;

use wire::Fault;
use wire::calls::ha::NO_LEASE;

use super::guard::Fencing;
use super::standing::Standing;

/// The storages of a VM that have a fencer, each with its number of losses, and the run of the fencer that counted
/// them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claim {
    era: String,
    losses: BTreeMap<String, u64>,
}

impl Claim {
    /// Whether the VM must be looked at once more before it runs.
    pub fn is_guarded(&self) -> bool {
        !self.losses.is_empty()
    }

    /// Call it when the VM's process is there: either the fencer finds that, or this fails.
    pub async fn confirm(&self, fencing: &Fencing) -> Result<(), Fault> {
        if !self.is_guarded() {
            return Ok(());
        }
        let now = take(&fencing.ask().await?, self.losses.keys())?;
        if now == *self {
            return Ok(());
        }
        Err(refusal("the lease of a storage was lost while the vm was starting"))
    }
}

impl Fencing {
    /// Looks at the leases of the storages of which `definition` names files.
    pub async fn claim(&self, definition: &str) -> Result<Claim, Fault> {
        let touched = self.plan.get().await.touched(definition);
        if touched.is_empty() {
            return Ok(Claim::default());
        }
        let standing = self.ask().await.map_err(|fault| refusal(&fault.error))?;
        take(&standing, touched.iter())
    }
}

fn take<'a>(standing: &Standing, uuids: impl Iterator<Item = &'a String>) -> Result<Claim, Fault> {
    let mut losses = BTreeMap::new();
    for uuid in uuids {
        let stand = standing.storages.get(uuid);
        let stand = stand.ok_or_else(|| refusal(&format!("the fencer does not watch storage {uuid} yet")))?;
        if !stand.held {
            let why = &stand.why;
            return Err(refusal(&format!("this host does not hold the lease of storage {uuid}: {why}")));
        }
        losses.insert(uuid.clone(), stand.generation);
    }
    Ok(Claim { era: standing.era.clone(), losses })
}

fn refusal(reason: &str) -> Fault {
    let way_out = "start it on another host, or connect this host again";
    Fault::coded(NO_LEASE, format!("the vm may not run here: {reason}: {way_out}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ha::standing::Stand;

    fn standing(era: &str, held: bool, generation: u64) -> Standing {
        let stand = Stand { held, generation, why: "why".into(), ..Stand::default() };
        Standing { era: era.into(), storages: [("a".to_owned(), stand)].into() }
    }

    #[test]
    fn a_claim_is_lost_with_the_lease_and_with_its_fencer() {
        let uuids = ["a".to_owned()];
        let take = |standing: &Standing| take(standing, uuids.iter());
        let claim = take(&standing("x", true, 3)).unwrap();
        assert!(claim.is_guarded() && !Claim::default().is_guarded());
        assert_eq!(take(&standing("x", true, 3)).unwrap(), claim);
        assert_ne!(take(&standing("x", true, 4)).unwrap(), claim);
        assert_ne!(take(&standing("y", true, 3)).unwrap(), claim);
        let refused = take(&standing("x", false, 3)).unwrap_err();
        assert!(refused.is(NO_LEASE) && refused.error.contains("storage a: why"), "{refused}");
        assert!(take(&Standing::default()).unwrap_err().is(NO_LEASE));
    }
}
