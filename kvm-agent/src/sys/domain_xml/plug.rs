//! Single devices, for VMs that run already.

use serde::Serialize;
use wire::calls::vm::{Nic, Volume};

use super::Live;
use super::build::{Outcome, Refusal};
use super::disk::{Disk, IoTune, Targets, bus_of};
use super::model::{Bytes, Dimm, DimmTarget};
use super::nic::Interface;

type Addons = serde_json::Map<String, serde_json::Value>;

/// The disk for a volume, under a name that the VM does not use yet.
pub fn volume(volume: &Volume, live: &Live, addons: &Addons) -> Result<String, Refusal> {
    let build = || {
        let machine = live.machine();
        let bus = bus_of(volume, machine);
        if matches!(bus, "sata" | "ide") {
            return Err(format!(
                "disks on bus {bus} cannot be plugged into a running vm: use virtio or virtio-scsi, or stop \
                 the vm first"
            ));
        }
        let mut targets = Targets::beside(live.disks().into_iter().map(|disk| disk.target));
        Disk::volume(volume, machine, None, IoTune::of(addons, &volume.volume_uuid), &mut targets)
    };
    write(build())
}

pub fn interface(nic: &Nic) -> Result<String, Refusal> {
    write(Interface::of(nic, None))
}

/// A memory module of `size` bytes.
pub fn dimm(size: u64) -> Result<String, Refusal> {
    let target = DimmTarget { size: Bytes { unit: "b", number: size }, node: 0 };
    write(Ok(Dimm { model: "dimm", target }))
}

/// Lets disks go on in files that are there already: target and file of each. All others stay where they are.
pub fn snapshot(live: &Live, moving: &[(String, String)]) -> Result<String, Refusal> {
    let disk = |target: String| {
        let file = moving.iter().find(|(moving, _)| *moving == target).map(|(_, file)| file.clone());
        SnapshotDisk {
            name: target,
            snapshot: if file.is_some() { "external" } else { "no" },
            kind: file.as_ref().map(|_| "file"),
            driver: file.as_ref().map(|_| Driver { kind: "qcow2" }),
            source: file.map(|file| Source { file }),
        }
    };
    let disks = live.disks().into_iter().map(|live| disk(live.target));
    write(Ok(Snapshot { disks: Disks { disk: disks.collect() } }))
}

#[derive(Serialize)]
#[serde(rename = "domainsnapshot")]
struct Snapshot {
    disks: Disks,
}

#[derive(Serialize)]
struct Disks {
    disk: Vec<SnapshotDisk>,
}

#[derive(Serialize)]
struct SnapshotDisk {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@snapshot")]
    snapshot: &'static str,
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<Driver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
struct Driver {
    #[serde(rename = "@type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Source {
    #[serde(rename = "@file")]
    file: String,
}

fn write<T: Serialize>(built: Outcome<T>) -> Result<String, Refusal> {
    quick_xml::se::to_string(&built.map_err(Refusal::new)?).map_err(|error| Refusal::new(error.to_string()))
}
