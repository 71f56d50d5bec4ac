//! The elements of a domain document that this agent writes. Names are libvirt's; see
//! <https://libvirt.org/formatdomain.html>.

use serde::Serialize;

use super::disk::Disk;
use super::nic::Interface;

#[derive(Debug, Serialize)]
#[serde(rename = "domain")]
pub struct Domain {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub name: String,
    pub uuid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub metadata: Metadata,
    #[serde(rename = "maxMemory", skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<MaxMemory>,
    pub memory: Bytes,
    #[serde(rename = "memoryBacking", skip_serializing_if = "Option::is_none")]
    pub backing: Option<MemoryBacking>,
    pub vcpu: Vcpu,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cputune: Option<CpuTune>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numatune: Option<NumaTune>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysinfo: Option<SysInfo>,
    pub os: Os,
    pub features: Features,
    pub cpu: Cpu,
    pub clock: Clock,
    pub on_poweroff: &'static str,
    pub on_reboot: &'static str,
    pub on_crash: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pm: Option<Pm>,
    pub devices: Devices,
}

/// Which sleeps the guest is offered.
#[derive(Debug, Serialize)]
pub struct Pm {
    #[serde(rename = "suspend-to-mem")]
    pub to_memory: Offered,
    #[serde(rename = "suspend-to-disk")]
    pub to_disk: Offered,
}

#[derive(Debug, Serialize)]
pub struct Offered {
    #[serde(rename = "@enabled")]
    pub enabled: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Metadata {
    #[serde(rename = "cumulet:vm")]
    pub vm: Mark,
}

#[derive(Debug, Serialize)]
pub struct Mark {
    #[serde(rename = "@xmlns:cumulet")]
    pub namespace: &'static str,
    #[serde(rename = "@uuid")]
    pub uuid: String,
}

/// Present or absent.
#[derive(Debug, Serialize)]
pub struct Flag {}

#[derive(Debug, Serialize)]
pub struct State {
    #[serde(rename = "@state")]
    pub state: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Bytes {
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    #[serde(rename = "$text")]
    pub number: u64,
}

#[derive(Debug, Serialize)]
pub struct MaxMemory {
    #[serde(rename = "@slots")]
    pub slots: u32,
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    #[serde(rename = "$text")]
    pub number: u64,
}

#[derive(Debug, Serialize)]
pub struct Vcpu {
    #[serde(rename = "@placement")]
    pub placement: &'static str,
    #[serde(rename = "@current", skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
    #[serde(rename = "$text")]
    pub most: u32,
}

#[derive(Debug, Default, Serialize)]
pub struct MemoryBacking {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hugepages: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nosharepages: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Mode>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuTune {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    pub vcpupin: Vec<VcpuPin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulatorpin: Option<CpuSet>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct VcpuPin {
    #[serde(rename = "@vcpu")]
    pub vcpu: u32,
    #[serde(rename = "@cpuset")]
    pub cpuset: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CpuSet {
    #[serde(rename = "@cpuset")]
    pub cpuset: String,
}

#[derive(Debug, Serialize)]
pub struct NumaTune {
    pub memnode: Vec<MemNode>,
}

#[derive(Debug, Serialize)]
pub struct MemNode {
    #[serde(rename = "@cellid")]
    pub cell: u32,
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    #[serde(rename = "@nodeset")]
    pub nodeset: String,
}

#[derive(Debug, Serialize)]
pub struct SysInfo {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub system: SystemInfo,
}

#[derive(Debug, Serialize)]
pub struct SystemInfo {
    pub entry: Vec<Entry>,
}

#[derive(Debug, Serialize)]
pub struct Entry {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "$text")]
    pub value: String,
}

#[derive(Debug, Serialize)]
pub struct Os {
    /// Lets libvirt choose the firmware among those that the host's packages describe.
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub firmware: Option<&'static str>,
    #[serde(rename = "type")]
    pub kind: OsType,
    #[serde(rename = "firmware", skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Firmware>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader: Option<Loader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvram: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smbios: Option<Mode>,
    #[serde(rename = "bootmenu", skip_serializing_if = "Option::is_none")]
    pub boot_menu: Option<Enable>,
}

#[derive(Debug, Serialize)]
pub struct Firmware {
    pub feature: Vec<FirmwareFeature>,
}

#[derive(Debug, Serialize)]
pub struct FirmwareFeature {
    #[serde(rename = "@enabled")]
    pub enabled: &'static str,
    #[serde(rename = "@name")]
    pub name: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Loader {
    #[serde(rename = "@secure")]
    pub secure: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Text {
    #[serde(rename = "$text")]
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct OsType {
    #[serde(rename = "@arch")]
    pub arch: String,
    #[serde(rename = "@machine", skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    #[serde(rename = "$text")]
    pub kind: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Mode {
    #[serde(rename = "@mode")]
    pub mode: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Enable {
    #[serde(rename = "@enable")]
    pub enable: &'static str,
    /// Milliseconds.
    #[serde(rename = "@timeout", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct Features {
    pub acpi: Flag,
    pub apic: Flag,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hyperv: Option<HyperV>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmFeatures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smm: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcg: Option<Tcg>,
}

#[derive(Debug, Serialize)]
pub struct HyperV {
    pub relaxed: State,
    pub vapic: State,
    pub spinlocks: Spinlocks,
}

#[derive(Debug, Serialize)]
pub struct Spinlocks {
    #[serde(rename = "@state")]
    pub state: &'static str,
    #[serde(rename = "@retries")]
    pub retries: u32,
}

#[derive(Debug, Serialize)]
pub struct KvmFeatures {
    pub hidden: State,
}

#[derive(Debug, Serialize)]
pub struct Tcg {
    #[serde(rename = "tb-cache")]
    pub cache: Bytes,
}

#[derive(Debug, Serialize)]
pub struct Cpu {
    #[serde(rename = "@mode", skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    #[serde(rename = "@match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<&'static str>,
    #[serde(rename = "@check", skip_serializing_if = "Option::is_none")]
    pub check: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<CpuModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<Numa>,
}

#[derive(Debug, Serialize)]
pub struct CpuModel {
    #[serde(rename = "@fallback")]
    pub fallback: &'static str,
    #[serde(rename = "$text")]
    pub name: String,
}

#[derive(Debug, Serialize)]
pub struct Topology {
    #[serde(rename = "@sockets")]
    pub sockets: u32,
    #[serde(rename = "@cores")]
    pub cores: u32,
    #[serde(rename = "@threads")]
    pub threads: u32,
}

#[derive(Debug, Serialize)]
pub struct Numa {
    pub cell: Vec<Cell>,
}

#[derive(Debug, Serialize)]
pub struct Cell {
    #[serde(rename = "@id")]
    pub id: u32,
    #[serde(rename = "@cpus")]
    pub cpus: String,
    #[serde(rename = "@memory")]
    pub memory: u64,
    #[serde(rename = "@unit")]
    pub unit: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Clock {
    #[serde(rename = "@offset")]
    pub offset: &'static str,
    pub timer: Vec<Timer>,
}

#[derive(Debug, Default, Serialize)]
pub struct Timer {
    #[serde(rename = "@name")]
    pub name: &'static str,
    #[serde(rename = "@track", skip_serializing_if = "Option::is_none")]
    pub track: Option<&'static str>,
    #[serde(rename = "@tickpolicy", skip_serializing_if = "Option::is_none")]
    pub tickpolicy: Option<&'static str>,
    #[serde(rename = "@present", skip_serializing_if = "Option::is_none")]
    pub present: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
pub struct Devices {
    pub disk: Vec<Disk>,
    pub controller: Vec<Controller>,
    pub interface: Vec<Interface>,
    pub serial: Vec<Serial>,
    pub console: Vec<Serial>,
    pub channel: Vec<Channel>,
    pub input: Vec<Input>,
    pub graphics: Vec<Graphics>,
    pub sound: Vec<Sound>,
    pub video: Vec<Video>,
    pub tpm: Vec<Tpm>,
    pub memballoon: Vec<MemBalloon>,
    pub rng: Vec<Rng>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Boot {
    #[serde(rename = "@order")]
    pub order: u32,
}

#[derive(Debug, Serialize)]
pub struct Alias {
    #[serde(rename = "@name")]
    pub name: String,
}

#[derive(Debug, Serialize)]
pub struct Controller {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    #[serde(rename = "@model")]
    pub model: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Typed {
    #[serde(rename = "@type")]
    pub kind: String,
}

#[derive(Debug, Serialize)]
pub struct Serial {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    pub target: Port,
}

#[derive(Debug, Serialize)]
pub struct Log {
    #[serde(rename = "@file")]
    pub file: String,
    #[serde(rename = "@append")]
    pub append: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Port {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(rename = "@port")]
    pub port: u32,
}

#[derive(Debug, Serialize)]
pub struct Channel {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub target: ChannelTarget,
}

#[derive(Debug, Serialize)]
pub struct ChannelTarget {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@name")]
    pub name: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Input {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Graphics {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@port")]
    pub port: i32,
    #[serde(rename = "@autoport")]
    pub autoport: &'static str,
    #[serde(rename = "@passwd", skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    pub listen: Listen,
}

#[derive(Debug, Serialize)]
pub struct Listen {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@address")]
    pub address: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Video {
    pub model: Typed,
}

#[derive(Debug, Serialize)]
pub struct Sound {
    #[serde(rename = "@model")]
    pub model: &'static str,
}

#[derive(Debug, Serialize)]
pub struct MemBalloon {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub stats: Stats,
}

#[derive(Debug, Serialize)]
pub struct Stats {
    #[serde(rename = "@period")]
    pub period: u32,
}

#[derive(Debug, Serialize)]
pub struct Rng {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub backend: Backend,
}

#[derive(Debug, Serialize)]
pub struct Backend {
    #[serde(rename = "@model")]
    pub model: &'static str,
    #[serde(rename = "$text")]
    pub path: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Tpm {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub backend: TpmBackend,
}

#[derive(Debug, Serialize)]
pub struct TpmBackend {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    #[serde(rename = "@version")]
    pub version: &'static str,
    /// What the guest keeps in it outlives the domain.
    #[serde(rename = "@persistent_state")]
    pub persistent: &'static str,
}

/// A memory module that is plugged into a running VM.
#[derive(Debug, Serialize)]
#[serde(rename = "memory")]
pub struct Dimm {
    #[serde(rename = "@model")]
    pub model: &'static str,
    pub target: DimmTarget,
}

#[derive(Debug, Serialize)]
pub struct DimmTarget {
    pub size: Bytes,
    pub node: u32,
}
