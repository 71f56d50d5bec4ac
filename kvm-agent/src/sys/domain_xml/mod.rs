//! The document that describes a VM to libvirt: written from a start command, read back from a running VM.
//!
//! Written from types only, never by joining strings; formats of disks are always named; VNC listens on
//! loopback only. The document carries Cumulet's mark with the VM's uuid. What libvirt wrote is never
//! parsed into these types and written again (they know less than libvirt does): [`restart`] changes it
//! in place.

mod boot;
mod build;
mod cpu;
mod disk;
pub mod edit;
mod firmware;
mod live;
mod model;
mod nic;
mod plug;
pub mod restart;

pub use build::{Setting, domain};
pub use firmware::nvram;
pub use live::{Live, LiveDisk, LiveNic, Marked};
pub use plug::{dimm, interface, snapshot, volume};

/// The XML namespace of Cumulet's mark.
pub const MARK_NAMESPACE: &str = "urn:cumulet:domain:1";

/// What the guest finds itself in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Q35,
    Pc,
}

/// Whether guests run on the processor or are emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    Kvm,
    Qemu,
    /// Libvirt's test driver.
    Test,
}

impl VirtType {
    pub fn as_str(self) -> &'static str {
        match self {
            VirtType::Kvm => "kvm",
            VirtType::Qemu => "qemu",
            VirtType::Test => "test",
        }
    }
}

impl Machine {
    fn of(name: &str) -> Result<Self, String> {
        match name {
            "" | "q35" => Ok(Machine::Q35),
            "pc" => Ok(Machine::Pc),
            other => Err(format!("machine type {other:?} is not known: use q35 or pc")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
        }
    }

    /// The bus that every guest can drive. Nothing can be plugged into it later.
    fn plain_bus(self) -> &'static str {
        match self {
            Machine::Q35 => "sata",
            Machine::Pc => "ide",
        }
    }
}

pub fn is_uuid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// As libvirt and QEMU write it.
pub fn dashed(uuid: &str) -> String {
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| uuid.get(range).unwrap_or_default());
    parts.join("-")
}

/// The name of the device that is resource `uuid`: it is found again by it in what libvirt made of the
/// document.
pub fn alias_of(uuid: &str) -> String {
    format!("ua-{uuid}")
}

/// The name of the CD-ROM drive of that number.
pub fn drive_alias(number: u32) -> String {
    format!("ua-cdrom-{number}")
}

/// The name of the drive that holds a VM's seed: no ISO is ever put into it, so it is a CD-ROM drive without a
/// number.
const SEED_ALIAS: &str = "ua-cdrom-seed";

fn resource_alias(uuid: &str) -> Option<model::Alias> {
    is_uuid(uuid).then(|| model::Alias { name: alias_of(uuid) })
}

/// The VM's uuid in a mark, as libvirt gives the metadata element out.
pub fn read_mark(element: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Mark {
        #[serde(rename = "@uuid")]
        uuid: String,
    }
    quick_xml::de::from_str::<Mark>(element).ok().map(|mark| mark.uuid)
}

#[cfg(test)]
mod tests;
