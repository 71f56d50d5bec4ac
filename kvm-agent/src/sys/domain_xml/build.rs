//! From a start command to a domain document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wire::calls::vm::{CdRom, Nic, Start, Volume};

use super::boot::Orders;
use super::model::*;
use super::{MARK_NAMESPACE, VirtType};

/// Root ports kept free for devices plugged in later; `q35` can add none to a running VM.
const SPARE_PORTS: usize = 8;
/// Memory that QEMU may spend on translated code; its default is a share of the host's memory.
const TCG_CACHE_MIB: u64 = 64;
const VIDEO: [&str; 5] = ["vga", "cirrus", "virtio", "qxl", "bochs"];
const CRASH: [&str; 4] = ["destroy", "restart", "preserve", "rename-restart"];
const CACHE: [&str; 5] = ["none", "writethrough", "writeback", "directsync", "unsafe"];

/// What the host adds to a command.
#[derive(Clone, Debug)]
pub struct Setting {
    pub virt: VirtType,
    /// Where serial consoles are logged.
    pub console_log_dir: Option<PathBuf>,
}

/// A command that describes no VM that could be started here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot describe the vm to libvirt: {0}")]
pub struct Refusal(String);

type Outcome<T> = Result<T, String>;

/// The document for `start`, ready to be created.
pub fn domain(start: &Start, setting: &Setting) -> Result<String, Refusal> {
    let built = Build::new(start, setting).and_then(|build| build.domain()).map_err(Refusal)?;
    quick_xml::se::to_string(&built).map_err(|error| Refusal(error.to_string()))
}

struct Build<'a> {
    start: &'a Start,
    setting: &'a Setting,
    machine: Machine,
    orders: Orders,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    Q35,
    Pc,
}

/// Names disks on each bus: `vda`, `vdb`, `sda`, …
#[derive(Default)]
struct Targets {
    used: BTreeMap<&'static str, u32>,
}

impl<'a> Build<'a> {
    fn new(start: &'a Start, setting: &'a Setting) -> Outcome<Self> {
        check(start)?;
        let machine = Machine::of(start.machine_type.as_deref().unwrap_or_default())?;
        Ok(Build { start, setting, machine, orders: Orders::of(start)? })
    }

    fn domain(&self) -> Outcome<Domain> {
        let start = self.start;
        let uuid = &start.vm_instance_uuid;
        let mark = Mark { namespace: MARK_NAMESPACE, uuid: uuid.clone() };
        Ok(Domain {
            kind: self.setting.virt.as_str(),
            name: uuid.clone(),
            uuid: dashed(uuid),
            title: title(&start.vm_name),
            metadata: Metadata { vm: mark },
            max_memory: self.grows().then_some(MaxMemory { slots: 16, unit: "b", number: start.max_memory }),
            memory: Bytes { unit: "b", number: start.memory },
            vcpu: self.vcpu(),
            cputune: self.cputune(),
            sysinfo: self.sysinfo(),
            os: self.os(),
            features: self.features(),
            cpu: self.cpu()?,
            clock: self.clock()?,
            on_poweroff: "destroy",
            on_reboot: "restart",
            on_crash: self.on_crash()?,
            devices: self.devices()?,
        })
    }

    /// Whether memory may be plugged in later.
    fn grows(&self) -> bool {
        self.start.use_numa && self.start.max_memory > self.start.memory
    }

    fn most_vcpus(&self) -> u32 {
        let most = if self.start.use_numa { self.start.max_vcpu_num } else { 0 };
        most.max(self.start.cpu_num)
    }

    fn vcpu(&self) -> Vcpu {
        let most = self.most_vcpus();
        let current = Some(self.start.cpu_num).filter(|&current| current < most);
        Vcpu { placement: "static", current, most }
    }

    /// A share in proportion to speed and number; the bounds are those of both cgroup versions.
    fn cputune(&self) -> Option<CpuTune> {
        let weight = self.start.cpu_speed.saturating_mul(self.start.cpu_num.into());
        (weight > 0).then(|| CpuTune { shares: weight.clamp(2, 10_000) })
    }

    fn sysinfo(&self) -> Option<SysInfo> {
        let value = printable(self.start.system_serial_number.as_deref()?);
        let entry = vec![Entry { name: "serial", value }];
        Some(SysInfo { kind: "smbios", system: SystemInfo { entry } })
    }

    fn os(&self) -> Os {
        Os {
            kind: OsType {
                arch: architecture(&self.start.image_architecture).to_owned(),
                machine: Some(self.machine.as_str().to_owned()).filter(|_| self.is_real()),
                kind: if self.is_real() { "hvm" } else { "xen" },
            },
            smbios: self.sysinfo().map(|_| Mode { mode: "sysinfo" }),
            boot_menu: self.start.use_boot_menu.then_some(Enable { enable: "yes" }),
        }
    }

    fn features(&self) -> Features {
        let kvm = self.setting.virt == VirtType::Kvm;
        let cache = Bytes { unit: "MiB", number: TCG_CACHE_MIB };
        Features {
            acpi: Flag {},
            apic: Flag {},
            hyperv: (kvm && self.is_windows()).then_some(HyperV {
                relaxed: State { state: "on" },
                vapic: State { state: "on" },
                spinlocks: Spinlocks { state: "on", retries: 8191 },
            }),
            kvm: (kvm && self.start.kvm_hidden_state)
                .then_some(KvmFeatures { hidden: State { state: "on" } }),
            tcg: (self.setting.virt == VirtType::Qemu).then_some(Tcg { cache }),
        }
    }

    fn cpu(&self) -> Outcome<Cpu> {
        let nested = self.start.nested_virtualization.as_str();
        let (mode, model) = match (self.setting.virt, nested) {
            // An emulated processor has no host model to follow; this is all that QEMU can emulate.
            (VirtType::Qemu, _) => ("maximum", None),
            (_, "host-passthrough") => ("host-passthrough", None),
            (_, "custom") => ("custom", Some(self.custom_model()?)),
            (_, "" | "none" | "host-model") => ("host-model", None),
            (_, other) => return Err(format!("nested virtualization {other:?} is not known")),
        };
        let custom = model.is_some();
        Ok(Cpu {
            mode: Some(mode).filter(|_| self.is_real()),
            matching: custom.then_some("exact"),
            check: custom.then_some("partial"),
            model,
            topology: self.topology()?,
            numa: self.grows().then(|| self.numa()),
        })
    }

    fn custom_model(&self) -> Outcome<CpuModel> {
        let name = self.start.vm_cpu_model.clone().filter(|name| !name.is_empty());
        let name = name.ok_or("a custom cpu needs vmCpuModel")?;
        Ok(CpuModel { fallback: "forbid", name: printable(&name) })
    }

    fn topology(&self) -> Outcome<Option<Topology>> {
        let start = self.start;
        let (Some(sockets), Some(cores)) = (start.socket_num, start.cpu_on_socket) else { return Ok(None) };
        let threads = start.threads_per_core.unwrap_or(1);
        let product = u64::from(sockets) * u64::from(cores) * u64::from(threads);
        if product == u64::from(self.most_vcpus()) {
            return Ok(Some(Topology { sockets, cores, threads }));
        }
        Err(format!(
            "{sockets} sockets of {cores} cores of {threads} threads are not {} cpus",
            self.most_vcpus()
        ))
    }

    fn numa(&self) -> Numa {
        let cpus = format!("0-{}", self.most_vcpus() - 1);
        Numa { cell: Cell { id: 0, cpus, memory: self.start.memory, unit: "b" } }
    }

    fn clock(&self) -> Outcome<Clock> {
        let offset = match self.start.clock.as_str() {
            "localtime" => "localtime",
            "" | "utc" => "utc",
            other => return Err(format!("clock {other:?} is not known: use utc or localtime")),
        };
        let mut timer = vec![
            Timer { name: "rtc", tickpolicy: Some("catchup"), present: None },
            Timer { name: "pit", tickpolicy: Some("delay"), present: None },
            Timer { name: "hpet", tickpolicy: None, present: Some("no") },
        ];
        if self.setting.virt == VirtType::Kvm && self.is_windows() {
            timer.push(Timer { name: "hypervclock", tickpolicy: None, present: Some("yes") });
        }
        Ok(Clock { offset, timer })
    }

    fn on_crash(&self) -> Outcome<&'static str> {
        let Some(asked) = self.start.addons.get("onCrash") else { return Ok("restart") };
        let asked = asked.as_str().unwrap_or_default();
        known(&CRASH, asked).ok_or_else(|| format!("onCrash {asked:?} is not known"))
    }

    fn devices(&self) -> Outcome<Devices> {
        let disk = self.disks()?;
        let interface = self.interfaces()?;
        if !self.is_real() {
            return Ok(Devices { disk, interface, ..Devices::default() });
        }
        Ok(Devices {
            controller: self.controllers(&disk, interface.len()),
            disk,
            interface,
            serial: vec![self.serial()],
            console: vec![Serial { kind: "pty", log: None, target: Port { kind: Some("serial"), port: 0 } }],
            channel: vec![Channel {
                kind: "unix",
                target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
            }],
            input: vec![Input { kind: "tablet", bus: "usb" }],
            graphics: vec![self.graphics()?],
            video: vec![self.video()?],
            memballoon: vec![MemBalloon { model: "virtio", stats: Stats { period: 10 } }],
            rng: vec![Rng { model: "virtio", backend: Backend { model: "random", path: "/dev/urandom" } }],
        })
    }

    fn disks(&self) -> Outcome<Vec<Disk>> {
        let mut targets = Targets::default();
        let mut disks = vec![self.disk(&self.start.root_volume, self.orders.root, &mut targets)?];
        let mut data: Vec<&Volume> = self.start.data_volumes.iter().collect();
        data.sort_by_key(|volume| volume.device_id);
        for volume in data {
            disks.push(self.disk(volume, None, &mut targets)?);
        }
        for (cd, order) in self.start.cd_roms.iter().zip(&self.orders.cd_roms) {
            disks.push(self.cd_rom(cd, *order, &mut targets)?);
        }
        Ok(disks)
    }

    fn disk(&self, volume: &Volume, order: Option<u32>, targets: &mut Targets) -> Outcome<Disk> {
        let bus = self.bus_of(volume);
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
            readonly: None,
            shareable: volume.shareable.then_some(Flag {}),
            serial: Some(volume.volume_uuid.clone()).filter(|serial| !serial.is_empty()),
            wwn: volume.wwn.clone().filter(|_| bus == "scsi"),
            boot: Boot::at(order),
            alias: alias(&volume.volume_uuid),
        })
    }

    fn cd_rom(&self, cd: &CdRom, order: Option<u32>, targets: &mut Targets) -> Outcome<Disk> {
        let path = cd.path.clone().filter(|path| !cd.is_empty && !path.is_empty());
        Ok(Disk {
            kind: "file",
            device: "cdrom",
            driver: DiskDriver { name: "qemu", format: "raw", cache: None, discard: None },
            source: path.map(|file| FileSource { file }),
            target: targets.next(self.plain_bus())?,
            readonly: Some(Flag {}),
            shareable: None,
            serial: None,
            wwn: None,
            boot: Boot::at(order),
            alias: None,
        })
    }

    fn bus_of(&self, volume: &Volume) -> &'static str {
        match (volume.use_virtio_scsi, volume.use_virtio) {
            (true, _) => "scsi",
            (false, true) => "virtio",
            (false, false) => self.plain_bus(),
        }
    }

    /// What every guest can drive.
    fn plain_bus(&self) -> &'static str {
        match self.machine {
            Machine::Q35 => "sata",
            Machine::Pc => "ide",
        }
    }

    fn interfaces(&self) -> Outcome<Vec<Interface>> {
        let nics = self.start.nics.iter().zip(&self.orders.nics);
        nics.map(|(nic, order)| self.interface(nic, *order)).collect()
    }

    fn interface(&self, nic: &Nic, order: Option<u32>) -> Outcome<Interface> {
        host::netlink::check_name(&nic.nic_internal_name).map_err(|error| error.to_string())?;
        Ok(Interface {
            kind: "bridge",
            mac: Mac { address: mac(&nic.mac)? },
            source: BridgeSource { bridge: nic.bridge_name.clone() },
            target: Named { dev: nic.nic_internal_name.clone() },
            model: Typed { kind: model_of(nic)? },
            mtu: nic.mtu.filter(|&size| size > 0).map(|size| Mtu { size }),
            link: (nic.state.as_deref() == Some("disable")).then_some(State { state: "down" }),
            boot: Boot::at(order),
            alias: alias(&nic.uuid),
        })
    }

    fn controllers(&self, disks: &[Disk], nics: usize) -> Vec<Controller> {
        let mut controllers = Vec::new();
        if self.machine == Machine::Q35 {
            controllers.push(Controller { kind: "pci", index: Some(0), model: "pcie-root" });
            let virtio = disks.iter().filter(|disk| disk.target.bus == "virtio").count();
            // Beside disks and interfaces: usb, scsi, channel, balloon, random numbers.
            let ports = virtio + nics + 5 + SPARE_PORTS;
            let port = Controller { kind: "pci", index: None, model: "pcie-root-port" };
            controllers.extend(std::iter::repeat_with(|| Controller { ..port }).take(ports));
        }
        let usb = if self.machine == Machine::Q35 { "qemu-xhci" } else { "piix3-uhci" };
        controllers.push(Controller { kind: "usb", index: Some(0), model: usb });
        if disks.iter().any(|disk| disk.target.bus == "scsi") {
            controllers.push(Controller { kind: "scsi", index: Some(0), model: "virtio-scsi" });
        }
        controllers
    }

    fn serial(&self) -> Serial {
        let log = self.setting.console_log_dir.as_ref().map(|dir| {
            let file = dir.join(format!("{}.log", self.start.vm_instance_uuid));
            Log { file: file.to_string_lossy().into_owned(), append: "on" }
        });
        Serial { kind: "pty", log, target: Port { kind: None, port: 0 } }
    }

    fn graphics(&self) -> Outcome<Graphics> {
        let password = self.start.console_password.clone().filter(|password| !password.is_empty());
        if password.as_ref().is_some_and(|password| password.len() > 8) {
            return Err("the console password is too long: VNC takes 8 characters at most".into());
        }
        let listen = Listen { kind: "address", address: "127.0.0.1" };
        Ok(Graphics { kind: "vnc", port: -1, autoport: "yes", password, listen })
    }

    fn video(&self) -> Outcome<Video> {
        let asked = if self.start.video_type.is_empty() { "vga" } else { self.start.video_type.as_str() };
        let kind = known(&VIDEO, asked).ok_or_else(|| format!("video type {asked:?} is not known"))?;
        Ok(Video { model: Typed { kind: kind.to_owned() } })
    }

    fn is_windows(&self) -> bool {
        self.start.image_platform.to_ascii_lowercase().starts_with("windows")
    }

    /// Libvirt's test driver knows neither machines nor consoles.
    fn is_real(&self) -> bool {
        self.setting.virt != VirtType::Test
    }
}

impl Machine {
    fn of(name: &str) -> Outcome<Self> {
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
}

impl Targets {
    fn next(&mut self, bus: &'static str) -> Outcome<DiskTarget> {
        let (prefix, most) = match bus {
            "virtio" => ("vd", 26),
            "ide" => ("hd", 4),
            // One space of names for both.
            _ => ("sd", 26),
        };
        let used = self.used.entry(prefix).or_default();
        if *used >= most {
            return Err(format!("more than {most} disks on bus {bus}"));
        }
        let letter = char::from(b'a' + u8::try_from(*used).unwrap_or(0));
        *used += 1;
        Ok(DiskTarget { dev: format!("{prefix}{letter}"), bus })
    }
}

fn check(start: &Start) -> Outcome<()> {
    if !is_uuid(&start.vm_instance_uuid) {
        return Err(format!("vmInstanceUuid {:?} is not 32 hex digits", start.vm_instance_uuid));
    }
    if start.memory < 1 << 20 {
        return Err("memory is less than 1 MiB: give bytes".into());
    }
    if !(1..=1024).contains(&start.cpu_num) {
        return Err(format!("{} cpus are not between 1 and 1024", start.cpu_num));
    }
    match start.boot_mode.as_deref().unwrap_or_default() {
        "" | "Legacy" => Ok(()),
        other => Err(format!("boot mode {other:?} is not served by this agent: use Legacy")),
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

fn format_of(volume: &Volume) -> Outcome<&'static str> {
    match volume.format.as_str() {
        "qcow2" => Ok("qcow2"),
        "raw" => Ok("raw"),
        other => Err(format!("volume {} has format {other:?}: use qcow2 or raw", volume.volume_uuid)),
    }
}

fn model_of(nic: &Nic) -> Outcome<String> {
    const MODELS: [&str; 5] = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"];
    let default = if nic.use_virtio { "virtio" } else { "e1000" };
    let asked = nic.driver_type.as_deref().filter(|asked| !asked.is_empty()).unwrap_or(default);
    let model = known(&MODELS, asked).ok_or_else(|| format!("nic driver {asked:?} is not known"))?;
    Ok(model.to_owned())
}

fn mac(text: &str) -> Outcome<String> {
    let bytes: Vec<&str> = text.split(':').collect();
    let sound = bytes.len() == 6 && bytes.iter().all(|b| b.len() == 2 && u8::from_str_radix(b, 16).is_ok());
    if sound { Ok(text.to_ascii_lowercase()) } else { Err(format!("mac {text:?} is not sound")) }
}

/// Lets a device be found again in what libvirt made of the document.
fn alias(uuid: &str) -> Option<Alias> {
    is_uuid(uuid).then(|| Alias { name: format!("ua-{uuid}") })
}

fn architecture(asked: &str) -> &str {
    match asked {
        "aarch64" => "aarch64",
        _ => "x86_64",
    }
}

fn title(name: &str) -> Option<String> {
    Some(printable(name)).filter(|title| !title.trim().is_empty())
}

/// XML 1.0 has no way to write control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

fn known<'a>(words: &[&'a str], asked: &str) -> Option<&'a str> {
    words.iter().find(|word| **word == asked).copied()
}
