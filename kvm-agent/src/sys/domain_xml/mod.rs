//! The document that describes a VM to libvirt: written from a start command, read back from a running VM.
//!
//! Written from types only, never by joining strings; formats of disks are always named; VNC listens on
//! loopback only. The document carries Cumulet's mark with the VM's uuid. What libvirt wrote is never
//! parsed into these types and written again (they know less than libvirt does): [`restart`] changes it
//! in place.

mod boot;
mod build;
mod live;
mod model;
pub mod restart;

pub use build::{Setting, dashed, domain, is_uuid};
pub use live::Live;

/// The XML namespace of Cumulet's mark.
pub const MARK_NAMESPACE: &str = "urn:cumulet:domain:1";

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
