//! What `/sys/class/net` tells of an interface and netlink does not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whose hands an interface is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pci {
    /// As `0000:3b:00.0`.
    pub address: String,
    pub vendor: String,
    pub device: String,
    pub subvendor: String,
    pub subdevice: String,
}

/// Whether there is a device behind it, and not only the kernel.
pub fn is_physical(name: &str) -> bool {
    of(name).join("device").exists()
}

/// MBit/s.
pub fn speed(name: &str) -> Option<u64> {
    text(&of(name).join("speed"))?.parse().ok()
}

pub fn carrier(name: &str) -> bool {
    text(&of(name).join("carrier")).as_deref() == Some("1")
}

/// `None` when it hangs on another bus.
pub fn pci(name: &str) -> Option<Pci> {
    let device = fs::canonicalize(of(name).join("device")).ok()?;
    let number = |what: &str| text(&device.join(what)).map(|id| id.trim_start_matches("0x").to_owned());
    Some(Pci {
        vendor: number("vendor")?,
        device: number("device")?,
        subvendor: number("subsystem_vendor")?,
        subdevice: number("subsystem_device")?,
        address: device.file_name()?.to_str()?.to_owned(),
    })
}

/// The first word of what a bond says of itself: behind it, some write a number.
pub fn bonding(name: &str, what: &str) -> String {
    let told = text(&of(name).join("bonding").join(what)).unwrap_or_default();
    told.split_ascii_whitespace().next().unwrap_or_default().to_owned()
}

/// Sends a bridge's port all multicast groups, or those that are asked for there.
pub fn set_router_port(name: &str, enable: bool) -> io::Result<()> {
    let (always, as_learnt) = ("2", "1");
    fs::write(of(name).join("brport/multicast_router"), if enable { always } else { as_learnt })
}

fn of(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
