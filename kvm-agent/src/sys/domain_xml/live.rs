//! What this agent reads out of a running VM's document. All else is skipped.

use serde::Deserialize;
use wire::calls::vm::DeviceAddress;

use super::{Machine, is_uuid};

/// A running VM.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Live {
    devices: Devices,
    vcpu: Vcpu,
    memory: Amount,
    #[serde(rename = "maxMemory")]
    max_memory: Option<Amount>,
    os: Os,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Devices {
    disk: Vec<Device>,
    interface: Vec<Device>,
    graphics: Vec<Graphics>,
    memory: Vec<Device>,
    memballoon: Vec<Device>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Vcpu {
    #[serde(rename = "@current")]
    current: Option<u32>,
    #[serde(rename = "$text")]
    most: u32,
}

/// libvirt tells KiB.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amount {
    #[serde(rename = "$text")]
    kib: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Os {
    #[serde(rename = "type")]
    kind: OsType,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OsType {
    #[serde(rename = "@machine")]
    machine: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Device {
    #[serde(rename = "@device")]
    device: Option<String>,
    driver: Option<Driver>,
    source: Option<Source>,
    mac: Option<Mac>,
    target: Option<Target>,
    boot: Option<Boot>,
    link: Option<Link>,
    alias: Option<Alias>,
    address: Option<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    #[serde(rename = "@file")]
    file: Option<String>,
    #[serde(rename = "@bridge")]
    bridge: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Driver {
    #[serde(rename = "@cache")]
    cache: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(rename = "@dev")]
    dev: Option<String>,
    #[serde(rename = "@bus")]
    bus: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Boot {
    #[serde(rename = "@order")]
    order: u32,
}

#[derive(Debug, Deserialize)]
struct Link {
    #[serde(rename = "@state")]
    state: String,
}

#[derive(Debug, Deserialize)]
struct Alias {
    #[serde(rename = "@name")]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "@type")]
    kind: String,
    #[serde(rename = "@domain")]
    domain: String,
    #[serde(rename = "@bus")]
    bus: String,
    #[serde(rename = "@slot")]
    slot: String,
    #[serde(rename = "@function")]
    function: String,
    #[serde(rename = "@controller")]
    controller: String,
    #[serde(rename = "@target")]
    target: String,
    #[serde(rename = "@unit")]
    unit: String,
}

#[derive(Debug, Deserialize)]
struct Graphics {
    #[serde(rename = "@type")]
    kind: String,
    #[serde(rename = "@port")]
    port: Option<i32>,
    #[serde(rename = "@listen")]
    listen: Option<String>,
}

/// A device that carries a resource's uuid.
#[derive(Debug, PartialEq)]
pub struct Marked {
    pub resource: String,
    pub address: DeviceAddress,
}

/// A network interface of a VM.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveNic {
    pub mac: String,
    pub tap: Option<String>,
    pub bridge: Option<String>,
    /// Whether the guest sees a cable.
    pub link: bool,
    pub alias: String,
    pub resource: Option<String>,
    pub address: DeviceAddress,
}

/// A disk or a CD-ROM drive of a VM.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveDisk {
    /// `vda`.
    pub target: String,
    pub bus: String,
    pub is_cd_rom: bool,
    /// The file; none in an empty drive.
    pub file: Option<String>,
    pub cache: Option<String>,
    pub alias: String,
    pub resource: Option<String>,
    pub boot_order: Option<u32>,
    pub address: DeviceAddress,
}

impl Live {
    pub fn read(xml: &str) -> Result<Self, quick_xml::DeError> {
        quick_xml::de::from_str(xml)
    }

    pub fn vnc_port(&self) -> Option<u16> {
        let vnc = self.devices.graphics.iter().find(|graphics| graphics.kind == "vnc")?;
        u16::try_from(vnc.port?).ok().filter(|&port| port > 0)
    }

    /// Where the screens are seen from.
    pub fn screen_addresses(&self) -> Vec<&str> {
        self.devices.graphics.iter().filter_map(|graphics| graphics.listen.as_deref()).collect()
    }

    pub fn nics(&self) -> Vec<LiveNic> {
        let nic = |device: &Device| {
            Some(LiveNic {
                mac: device.mac.as_ref()?.address.clone(),
                tap: device.target.as_ref().and_then(|target| target.dev.clone()),
                bridge: device.source.as_ref().and_then(|source| source.bridge.clone()),
                link: device.link.as_ref().is_none_or(|link| link.state != "down"),
                alias: device.alias(),
                resource: device.resource(),
                address: device.address(),
            })
        };
        self.devices.interface.iter().filter_map(nic).collect()
    }

    pub fn disks(&self) -> Vec<LiveDisk> {
        let disk = |device: &Device| {
            let target = device.target.as_ref()?;
            Some(LiveDisk {
                target: target.dev.clone()?,
                bus: target.bus.clone().unwrap_or_default(),
                is_cd_rom: device.device.as_deref() == Some("cdrom"),
                file: device.source.as_ref().and_then(|source| source.file.clone()),
                cache: device.driver.as_ref().and_then(|driver| driver.cache.clone()),
                alias: device.alias(),
                resource: device.resource(),
                boot_order: device.boot.as_ref().map(|boot| boot.order),
                address: device.address(),
            })
        };
        self.devices.disk.iter().filter_map(disk).collect()
    }

    /// The disk of a volume.
    pub fn volume(&self, uuid: &str) -> Option<LiveDisk> {
        self.disks().into_iter().find(|disk| disk.resource.as_deref() == Some(uuid))
    }

    /// Disks and interfaces that carry a resource's uuid.
    pub fn marked(&self) -> Vec<Marked> {
        let devices = self.devices.disk.iter().chain(&self.devices.interface);
        devices.filter_map(|d| Some(Marked { resource: d.resource()?, address: d.address() })).collect()
    }

    pub fn balloon(&self) -> Option<DeviceAddress> {
        self.devices.memballoon.first().map(Device::address)
    }

    pub fn has_alias(&self, alias: &str) -> bool {
        let Devices { disk, interface, memory, .. } = &self.devices;
        disk.iter().chain(interface).chain(memory).any(|device| device.alias() == alias)
    }

    /// Which of the bootable devices comes first: the disk, a CD-ROM or the network.
    pub fn first_boot_device(&self) -> Option<&'static str> {
        let order = |device: &&Device| device.boot.as_ref().map(|boot| boot.order);
        let disks = self.devices.disk.iter().map(|disk| match disk.device.as_deref() {
            Some("cdrom") => (disk, "CdRom"),
            _ => (disk, "HardDisk"),
        });
        let nics = self.devices.interface.iter().map(|nic| (nic, "Network"));
        let bootable = disks.chain(nics).filter_map(|(device, kind)| Some((order(&device)?, kind)));
        bootable.min().map(|(_, kind)| kind)
    }

    /// CPUs that are plugged in, and as many as there is room for.
    pub fn vcpus(&self) -> (u32, u32) {
        (self.vcpu.current.unwrap_or(self.vcpu.most), self.vcpu.most)
    }

    /// Bytes that are plugged in, and as many as there is room for.
    pub fn memory(&self) -> (u64, u64) {
        let most = self.max_memory.as_ref().unwrap_or(&self.memory).kib;
        (self.memory.kib * 1024, most * 1024)
    }

    pub fn machine(&self) -> Machine {
        if self.os.kind.machine.contains("q35") { Machine::Q35 } else { Machine::Pc }
    }
}

impl Device {
    fn alias(&self) -> String {
        self.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default()
    }

    fn resource(&self) -> Option<String> {
        let uuid = self.alias.as_ref()?.name.strip_prefix("ua-")?;
        is_uuid(uuid).then(|| uuid.to_owned())
    }

    fn address(&self) -> DeviceAddress {
        let Some(address) = &self.address else { return DeviceAddress::default() };
        DeviceAddress {
            kind: address.kind.clone(),
            bus: address.bus.clone(),
            domain: address.domain.clone(),
            slot: address.slot.clone(),
            function: address.function.clone(),
            controller: address.controller.clone(),
            target: address.target.clone(),
            unit: address.unit.clone(),
        }
    }
}
