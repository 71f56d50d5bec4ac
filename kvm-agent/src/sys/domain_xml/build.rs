//! From a start command to a domain document.

use std::path::PathBuf;

use wire::calls::vm::{Start, Volume};

use super::boot::Orders;
use super::disk::{Disk, IoTune, Targets};
use super::model::*;
use super::nic::Interface;
use super::{MARK_NAMESPACE, Machine, VirtType, dashed, is_uuid};

/// Root ports kept free for devices plugged in later; `q35` can add none to a running VM.
const SPARE_PORTS: usize = 8;
/// Memory that QEMU may spend on translated code; its default is a share of the host's memory.
const TCG_CACHE_MIB: u64 = 64;
const VIDEO: [&str; 5] = ["vga", "cirrus", "virtio", "qxl", "bochs"];
const SOUND: [&str; 2] = ["ac97", "ich6"];

/// What the host adds to a command.
#[derive(Clone, Debug)]
pub struct Setting {
    pub virt: VirtType,
    /// Where serial consoles are logged.
    pub console_log_dir: Option<PathBuf>,
    /// The disc that tells the guest who it is.
    pub seed: Option<PathBuf>,
}

/// A command that describes no VM that could be started here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot describe the vm to libvirt: {0}")]
pub struct Refusal(String);

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Refusal(reason.into())
    }
}

pub(super) type Outcome<T> = Result<T, String>;

/// The document for `start`, ready to be created.
pub fn domain(start: &Start, setting: &Setting) -> Result<String, Refusal> {
    let built = Build::new(start, setting).and_then(|build| build.domain()).map_err(Refusal)?;
    quick_xml::se::to_string(&built).map_err(|error| Refusal(error.to_string()))
}

pub(super) struct Build<'a> {
    pub(super) start: &'a Start,
    pub(super) setting: &'a Setting,
    pub(super) machine: Machine,
    orders: Orders,
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
            backing: self.backing()?,
            vcpu: self.vcpu(),
            cputune: self.cputune()?,
            numatune: self.numatune()?,
            sysinfo: self.sysinfo(),
            os: self.os()?,
            features: self.features(),
            cpu: self.cpu()?,
            clock: self.clock()?,
            on_poweroff: "destroy",
            on_reboot: "restart",
            on_crash: self.on_crash()?,
            pm: self.pm(),
            devices: self.devices()?,
        })
    }

    fn vcpu(&self) -> Vcpu {
        let most = self.most_vcpus();
        let current = Some(self.start.cpu_num).filter(|&current| current < most);
        Vcpu { placement: "static", current, most }
    }

    pub(super) fn sysinfo(&self) -> Option<SysInfo> {
        let value = printable(self.start.system_serial_number.as_deref()?);
        let entry = vec![Entry { name: "serial", value }];
        Some(SysInfo { kind: "smbios", system: SystemInfo { entry } })
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
            smm: self.is_secure().then_some(State { state: "on" }),
            tcg: (self.setting.virt == VirtType::Qemu).then_some(Tcg { cache }),
        }
    }

    fn clock(&self) -> Outcome<Clock> {
        let offset = match self.start.clock.as_str() {
            "localtime" => "localtime",
            "" | "utc" => "utc",
            other => return Err(format!("clock {other:?} is not known: use utc or localtime")),
        };
        let track = match self.start.clock_track.as_deref().unwrap_or_default() {
            "" => None,
            "guest" => Some("guest"),
            "host" => Some("wall"),
            other => return Err(format!("clock track {other:?} is not known: use guest or host")),
        };
        let mut timer = vec![
            Timer { name: "rtc", track, tickpolicy: Some("catchup"), present: None },
            Timer { name: "pit", tickpolicy: Some("delay"), ..Timer::default() },
            Timer { name: "hpet", present: Some("no"), ..Timer::default() },
        ];
        if self.setting.virt == VirtType::Kvm && self.is_windows() {
            timer.push(Timer { name: "hypervclock", present: Some("yes"), ..Timer::default() });
        }
        Ok(Clock { offset, timer })
    }

    fn pm(&self) -> Option<Pm> {
        let (memory, disk) = (self.start.suspend_to_ram, self.start.suspend_to_disk);
        let offered = |offered| Offered { enabled: if offered { "yes" } else { "no" } };
        (memory || disk).then(|| Pm { to_memory: offered(memory), to_disk: offered(disk) })
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
            sound: self.sound()?,
            video: vec![self.video()?],
            tpm: self.tpm(),
            memballoon: vec![MemBalloon { model: "virtio", stats: Stats { period: 10 } }],
            rng: vec![Rng { model: "virtio", backend: Backend { model: "random", path: "/dev/urandom" } }],
        })
    }

    fn disks(&self) -> Outcome<Vec<Disk>> {
        let (start, machine) = (self.start, self.machine);
        let mut targets = Targets::default();
        let mut volume = |volume: &Volume, order| {
            let qos = IoTune::of(&start.addons, &volume.volume_uuid);
            Disk::volume(volume, machine, order, qos, &mut targets)
        };
        let mut disks = vec![volume(&start.root_volume, self.orders.root)?];
        let mut data: Vec<&Volume> = start.data_volumes.iter().collect();
        data.sort_by_key(|volume| volume.device_id);
        for data in data {
            disks.push(volume(data, None)?);
        }
        for (cd, order) in start.cd_roms.iter().zip(&self.orders.cd_roms) {
            disks.push(Disk::cd_rom(cd, machine, *order, &mut targets)?);
        }
        if let Some(seed) = &self.setting.seed {
            disks.push(Disk::seed(seed, self.seed_bus(), &mut targets)?);
        }
        Ok(disks)
    }

    /// Kernels made for clouds have drivers for little else than virtio.
    fn seed_bus(&self) -> &'static str {
        let root = &self.start.root_volume;
        if root.use_virtio || root.use_virtio_scsi { "scsi" } else { self.machine.plain_bus() }
    }

    fn interfaces(&self) -> Outcome<Vec<Interface>> {
        let nics = self.start.nics.iter().zip(&self.orders.nics);
        nics.map(|(nic, order)| Interface::of(nic, *order)).collect()
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
        // Always: a disk on it may be plugged in later, and nothing else could make it then.
        controllers.push(Controller { kind: "scsi", index: Some(0), model: "virtio-scsi" });
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

    fn sound(&self) -> Outcome<Vec<Sound>> {
        let Some(asked) = self.start.sound_type.as_deref().filter(|asked| !asked.is_empty()) else {
            return Ok(Vec::new());
        };
        let model = known(&SOUND, asked).ok_or_else(|| format!("sound type {asked:?} is not known"))?;
        Ok(vec![Sound { model }])
    }

    fn video(&self) -> Outcome<Video> {
        let asked = if self.start.video_type.is_empty() { "vga" } else { self.start.video_type.as_str() };
        let kind = known(&VIDEO, asked).ok_or_else(|| format!("video type {asked:?} is not known"))?;
        Ok(Video { model: Typed { kind: kind.to_owned() } })
    }

    pub(super) fn is_windows(&self) -> bool {
        self.start.image_platform.to_ascii_lowercase().starts_with("windows")
    }

    /// Libvirt's test driver knows neither machines nor consoles.
    pub(super) fn is_real(&self) -> bool {
        self.setting.virt != VirtType::Test
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
    Ok(())
}

pub(super) fn architecture(asked: &str) -> &str {
    match asked {
        "aarch64" => "aarch64",
        _ => "x86_64",
    }
}

fn title(name: &str) -> Option<String> {
    Some(printable(name)).filter(|title| !title.trim().is_empty())
}

/// XML 1.0 has no way to write control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

pub(super) fn known<'a>(words: &[&'a str], asked: &str) -> Option<&'a str> {
    words.iter().find(|word| **word == asked).copied()
}
