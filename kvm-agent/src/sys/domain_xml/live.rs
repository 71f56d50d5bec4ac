//! What this agent reads out of a running VM's document. All else is skipped.

use serde::Deserialize;
use wire::calls::vm::DeviceAddress;

/// A running VM.
#[derive(Debug, Default, Deserialize)]
pub struct Live {
    #[serde(default)]
    devices: Devices,
}

#[derive(Debug, Default, Deserialize)]
struct Devices {
    #[serde(default)]
    disk: Vec<Device>,
    #[serde(default)]
    interface: Vec<Device>,
    #[serde(default)]
    graphics: Vec<Graphics>,
}

#[derive(Debug, Deserialize)]
struct Device {
    mac: Option<Mac>,
    target: Option<Target>,
    alias: Option<Alias>,
    address: Option<Address>,
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
}

/// A device that carries a resource's uuid.
#[derive(Debug, PartialEq)]
pub struct Marked {
    pub resource: String,
    pub address: DeviceAddress,
}

/// A network interface of a VM.
#[derive(Debug, PartialEq)]
pub struct LiveNic {
    pub mac: String,
    pub tap: Option<String>,
    pub resource: Option<String>,
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

    pub fn nics(&self) -> Vec<LiveNic> {
        let nic = |device: &Device| {
            Some(LiveNic {
                mac: device.mac.as_ref()?.address.clone(),
                tap: device.target.as_ref().and_then(|target| target.dev.clone()),
                resource: device.resource(),
                address: device.address(),
            })
        };
        self.devices.interface.iter().filter_map(nic).collect()
    }

    /// Disks and interfaces that carry a resource's uuid.
    pub fn marked(&self) -> Vec<Marked> {
        let devices = self.devices.disk.iter().chain(&self.devices.interface);
        devices.filter_map(|d| Some(Marked { resource: d.resource()?, address: d.address() })).collect()
    }
}

impl Device {
    fn resource(&self) -> Option<String> {
        Some(self.alias.as_ref()?.name.strip_prefix("ua-")?.to_owned())
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
