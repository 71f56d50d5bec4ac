//! System tags that say where a volume is made.

use engine::inventory::Inventory;
use engine::tag::{Hold, SystemTag, Tokens, Wanted};
use engine::{Id, Result, codes};

use super::VolumeInventory;
use crate::host::Host;

/// On which host of a local storage a volume is made.
pub(super) const HOST: SystemTag = SystemTag {
    resource: VolumeInventory::KIND,
    pattern: "localStorage::hostUuid::{hostUuid}",
    help: "the host of a local storage on which the volume is made",
    hold: Hold::Birth,
    once: &[],
    check: |tokens| read(tokens).map(|_| ()),
};

fn read(tokens: &Tokens) -> Result<Id<Host>> {
    let host = tokens.get("hostUuid").parse();
    host.map_err(|_| codes::INVALID_ARGUMENT.because("it names no uuid of a host"))
}

/// The host that is wanted, if one is.
pub(super) fn host(tags: &Wanted) -> Result<Option<Id<Host>>> {
    tags.tokens(&HOST).first().map(read).transpose()
}
