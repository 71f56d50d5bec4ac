//! System tags that say which CD-ROM drives a VM is made with.

use engine::db::Tx;
use engine::inventory::Inventory;
use engine::tag::{Hold, SystemTag, Tokens, Wanted};
use engine::{Id, Result, codes};

use super::{MOST, USUAL};
use crate::image::Image;
use crate::vm::VmInstanceInventory;

const PLACES: [&str; 3] = ["cdrom0", "cdrom1", "cdrom2"];
const EMPTY: &str = "empty";
const NONE: &str = "none";

pub(super) const DRIVES: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "cdroms::{cdrom0}::{cdrom1}::{cdrom2}",
    help: "the CD-ROM drives that the VM is made with: for each the uuid of an ISO, \"empty\", or \"none\"",
    hold: Hold::Birth,
    once: &[],
    check: |tokens| read(tokens).map(|_| ()),
};

pub(super) const WITHOUT: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "createWithoutCdRom::{createWithoutCdRom}",
    help: "true: the VM is made without CD-ROM drives",
    hold: Hold::Birth,
    once: &[],
    check: |tokens| match tokens.get("createWithoutCdRom") {
        "true" | "false" => Ok(()),
        other => Err(codes::INVALID_ARGUMENT.because(format!("it is true or false, not \"{other}\""))),
    },
};

/// What lies in each drive.
fn read(tokens: &Tokens) -> Result<Vec<Option<Id<Image>>>> {
    let mut drives = Vec::new();
    for word in PLACES.map(|place| tokens.get(place)) {
        match word {
            NONE => {}
            EMPTY => drives.push(None),
            uuid => drives.push(Some(uuid.parse().map_err(|_| {
                codes::INVALID_ARGUMENT
                    .because(format!("\"{uuid}\" is neither an ISO's uuid nor \"{EMPTY}\" nor \"{NONE}\""))
            })?)),
        }
    }
    Ok(drives)
}

/// The drives that a new VM has, and what lies in each; `first` is what it is installed from.
pub(in crate::vm) fn drives(
    tx: &Tx,
    tags: &Wanted,
    first: Option<Id<Image>>,
) -> Result<Vec<Option<Id<Image>>>> {
    let engine = tx.engine();
    let without = tags.tokens(&WITHOUT).iter().any(|tokens| tokens.get("createWithoutCdRom") == "true");
    let mut drives = match tags.tokens(&DRIVES).first() {
        Some(tokens) => read(tokens)?,
        None if without => Vec::new(),
        None => (0..engine.setting(&USUAL)).map(|_| None).collect(),
    };
    if let Some(first) = first.filter(|first| !drives.contains(&Some(*first))) {
        match drives.iter_mut().find(|drive| drive.is_none()) {
            Some(empty) => *empty = Some(first),
            None => drives.insert(0, Some(first)),
        }
    }
    let most = engine.setting(&MOST);
    if i64::try_from(drives.len()).unwrap_or(i64::MAX) > most {
        let details =
            format!("a VM has at most {most} cd-rom drives by vm.maximumCdRomNum, not {}", drives.len());
        return Err(codes::INVALID_ARGUMENT.because(details));
    }
    let isos: Vec<_> = drives.iter().flatten().collect();
    match isos.iter().enumerate().find(|(at, iso)| isos[..*at].contains(iso)) {
        None => Ok(drives),
        Some((_, iso)) => {
            Err(codes::INVALID_ARGUMENT
                .because(format!("iso {iso} is to lie in two cd-rom drives of one VM")))
        }
    }
}
