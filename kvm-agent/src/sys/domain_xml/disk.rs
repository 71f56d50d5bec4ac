//! Disks and CD-ROM drives.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use wire::calls::vm::{CdRom, Volume};

use super::build::{Outcome, known};
use super::model::{Alias, Boot, Flag};
use super::{Machine, SEED_ALIAS, drive_alias, resource_alias};

const CACHE: [&str; 5] = ["none", "writethrough", "writeback", "directsync", "unsafe"];
/// As many names as one letter has.
const MOST: u8 = 26;

#[derive(Debug, Serialize)]
#[serde(rename = "disk")]
pub struct Disk {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@device")]
    pub device: &'static str,
    pub driver: DiskDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<FileSource>,
    pub target: DiskTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iotune: Option<IoTune>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shareable: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
}

#[derive(Debug, Serialize)]
pub struct DiskDriver {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "@type")]
    pub format: &'static str,
    #[serde(rename = "@cache", skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct FileSource {
    #[serde(rename = "@file")]
    pub file: String,
}

#[derive(Debug, Serialize)]
pub struct DiskTarget {
    #[serde(rename = "@dev")]
    pub dev: String,
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

/// Bytes and operations per second; what is absent is not limited.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename = "iotune")]
pub struct IoTune {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes_sec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_sec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_sec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_iops_sec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_iops_sec: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_iops_sec: Option<u64>,
}

/// Names disks on each bus: `vda`, `vdb`, `sda`, …
#[derive(Default)]
pub struct Targets {
    used: BTreeSet<String>,
}

impl Targets {
    pub fn beside(used: impl IntoIterator<Item = String>) -> Self {
        Targets { used: used.into_iter().collect() }
    }

    fn next(&mut self, bus: &'static str) -> Outcome<DiskTarget> {
        let (prefix, most) = match bus {
            "virtio" => ("vd", MOST),
            "ide" => ("hd", 4),
            // One space of names for both.
            _ => ("sd", MOST),
        };
        let mut names = (b'a'..b'a' + most).map(|letter| format!("{prefix}{}", char::from(letter)));
        let dev = names.find(|name| !self.used.contains(name));
        let dev = dev.ok_or_else(|| format!("more than {most} disks on bus {bus}"))?;
        self.used.insert(dev.clone());
        Ok(DiskTarget { dev, bus })
    }
}

impl Disk {
    pub fn volume(
        volume: &Volume,
        machine: Machine,
        order: Option<u32>,
        qos: Option<IoTune>,
        targets: &mut Targets,
    ) -> Outcome<Self> {
        let bus = bus_of(volume, machine);
        let cache = if volume.cache_mode.is_empty() { "none" } else { volume.cache_mode.as_str() };
        let cache = known(&CACHE, cache).ok_or_else(|| format!("cache mode {cache:?} is not known"))?;
        Ok(Disk {
            kind: "file",
            device: "disk",
            driver: DiskDriver {
                name: "qemu",
                format: format_of(volume)?,
                cache: Some(cache),
                discard: Some("unmap"),
            },
            source: Some(FileSource { file: volume.install_path.clone() }),
            target: targets.next(bus)?,
            iotune: qos,
            readonly: None,
            shareable: volume.shareable.then_some(Flag {}),
            serial: Some(volume.volume_uuid.clone()).filter(|serial| !serial.is_empty()),
            wwn: volume.wwn.as_deref().filter(|_| bus == "scsi").and_then(wwn),
            boot: Boot::at(order),
            alias: resource_alias(&volume.volume_uuid),
        })
    }

    pub fn cd_rom(cd: &CdRom, machine: Machine, order: Option<u32>, targets: &mut Targets) -> Outcome<Self> {
        let path = cd.path.clone().filter(|path| !cd.is_empty && !path.is_empty());
        let drive = Disk::drive(path, targets.next(machine.plain_bus())?, drive_alias(cd.device_id));
        Ok(Disk { boot: Boot::at(order), ..drive })
    }

    /// In a drive of its own, which is never booted from.
    pub fn seed(path: &Path, bus: &'static str, targets: &mut Targets) -> Outcome<Self> {
        let path = path.to_string_lossy().into_owned();
        Ok(Disk::drive(Some(path), targets.next(bus)?, SEED_ALIAS.to_owned()))
    }

    fn drive(disc: Option<String>, target: DiskTarget, alias: String) -> Self {
        Disk {
            kind: "file",
            device: "cdrom",
            driver: DiskDriver { name: "qemu", format: "raw", cache: None, discard: None },
            source: disc.map(|file| FileSource { file }),
            target,
            iotune: None,
            readonly: Some(Flag {}),
            shareable: None,
            serial: None,
            wwn: None,
            boot: None,
            alias: Some(Alias { name: alias }),
        }
    }
}

impl IoTune {
    /// What `addons.VolumeQos` says of the volume.
    pub fn of(addons: &serde_json::Map<String, serde_json::Value>, volume: &str) -> Option<Self> {
        let told = addons.get("VolumeQos")?.get(volume)?;
        let limit = |name: &str| told.get(name)?.as_u64().filter(|&limit| limit > 0);
        let tune = IoTune {
            total_bytes_sec: limit("totalBandwidth"),
            read_bytes_sec: limit("readBandwidth"),
            write_bytes_sec: limit("writeBandwidth"),
            total_iops_sec: limit("totalIops"),
            read_iops_sec: limit("readIops"),
            write_iops_sec: limit("writeIops"),
        };
        (tune != IoTune::default()).then_some(tune)
    }
}

pub fn bus_of(volume: &Volume, machine: Machine) -> &'static str {
    match (volume.use_virtio_scsi, volume.use_virtio) {
        (true, _) => "scsi",
        (false, true) => "virtio",
        (false, false) => machine.plain_bus(),
    }
}

fn format_of(volume: &Volume) -> Outcome<&'static str> {
    match volume.format.as_str() {
        "qcow2" => Ok("qcow2"),
        "raw" => Ok("raw"),
        other => Err(format!("volume {} has format {other:?}: use qcow2 or raw", volume.volume_uuid)),
    }
}

/// 16 hex digits, which may be written with `0x` before them.
fn wwn(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let sound = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| digits.to_ascii_lowercase())
}
