//! What keeps a host from taking a VM. Each filter looks at one thing, and says what is wrong with figures.

mod affinity;
mod avoid;
mod capacity;
mod hypervisor;
mod network;
mod state;
mod storage;
mod tag;

use engine::Result;
use engine::boxed;
use engine::db::Tx;
use engine::driver::Family;

pub(super) use self::storage::roomy;
use super::{Candidate, Look};

/// What it says stands behind the host's name: `is Disabled`.
#[boxed]
pub trait Filter: Sync {
    /// Why the host cannot take the VM, as far as that is known.
    fn refuse(&self, _look: &Look<'_>, _host: &Candidate) -> Option<String> {
        None
    }

    /// Why it cannot, for what the database must be asked; only hosts that no filter refuses otherwise come
    /// here, but for explanations.
    async fn refuse_asking(
        &self,
        _tx: &mut Tx,
        _look: &mut Look<'_>,
        _host: &Candidate,
    ) -> Result<Option<String>> {
        Ok(None)
    }
}

/// In the order in which they are asked; a new one is a file and a line here.
pub static FILTERS: Family<dyn Filter> = Family::new(
    "host allocator filter",
    &[
        ("AvoidHost", &avoid::AvoidHost),
        ("HostState", &state::HostState),
        ("Hypervisor", &hypervisor::Hypervisor),
        ("HostCapacity", &capacity::HostCapacity),
        ("Tag", &tag::Tag),
        ("AffinityGroup", &affinity::AffinityGroup),
        ("AttachedL2Network", &network::AttachedL2Network),
        ("HostPrimaryStorage", &storage::HostPrimaryStorage),
    ],
);

/// `512 MiB`, `1.2 GiB`: rounded down, as what is left is told.
fn size(bytes: i64) -> String {
    let bytes = bytes.max(0);
    match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        _ => {
            let tenths = (i128::from(bytes) * 10) >> 30;
            match tenths % 10 {
                0 => format!("{} GiB", tenths / 10),
                part => format!("{}.{part} GiB", tenths / 10),
            }
        }
    }
}

/// The same, rounded up, as what is needed is told.
fn needed(bytes: i64) -> String {
    let unit = if bytes >> 30 == 0 { 1 << 20 } else { ((1 << 30) + 9) / 10 };
    size(bytes.saturating_add(unit - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_never_told_to_be_what_is_needed() {
        assert_eq!((size(512 << 20), size(-1)), ("512 MiB".into(), "0 MiB".into()));
        assert_eq!((size(5 << 30), size((5 << 30) - 1)), ("5 GiB".into(), "4.9 GiB".into()));
        assert_eq!((needed(4 << 30), needed((4 << 30) + 1)), ("4 GiB".into(), "4.1 GiB".into()));
        assert_eq!((needed(16 << 20), needed((16 << 20) + 1)), ("16 MiB".into(), "17 MiB".into()));
        assert_eq!(size(i64::MAX), "8589934591.9 GiB");
    }
}
