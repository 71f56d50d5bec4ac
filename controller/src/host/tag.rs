//! What a host tells about itself, as tags that are read.

use engine::inventory::Inventory;
use engine::tag::{Hold, SystemTag};

use super::HostInventory;

pub(super) const QEMU_IMG: SystemTag =
    fact("qemu-img::version::{version}", "the version of qemu-img on the host");
pub(super) const LIBVIRT: SystemTag =
    fact("libvirt::version::{version}", "the version of libvirt on the host");
pub(super) const HVM_CPU_FLAG: SystemTag =
    fact("hvmCpuFlag::{flag}", "how the host's processor helps VMs: vmx or svm");

pub(super) const TAGS: &[SystemTag] = &[QEMU_IMG, LIBVIRT, HVM_CPU_FLAG];

const fn fact(pattern: &'static str, help: &'static str) -> SystemTag {
    SystemTag {
        resource: HostInventory::KIND,
        pattern,
        help,
        hold: Hold::Inherent,
        once: &[],
        check: |_| Ok(()),
    }
}
