//! CPUs and memory: models, topology, where on the host they are, room to grow.

use serde::Deserialize;

use super::VirtType;
use super::build::{Build, Outcome, known, printable};
use super::model::*;

/// One of the guest's NUMA nodes, as `addons.numaNodes` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(rename = "nodeID")]
    id: u32,
    /// The guest's CPUs, such as `0-3`.
    cpus: String,
    /// Bytes.
    memory_size: u64,
    #[serde(rename = "hostNodeID")]
    host: Option<u32>,
}

/// A line of `addons.cpuPinning`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pin {
    v_cpu: u32,
    /// The host's CPUs, such as `0-3,5`.
    p_cpu_set: String,
}

impl Build<'_> {
    /// Whether memory may be plugged in later.
    pub(super) fn grows(&self) -> bool {
        self.start.use_numa && self.start.max_memory > self.start.memory
    }

    pub(super) fn most_vcpus(&self) -> u32 {
        let most = if self.start.use_numa { self.start.max_vcpu_num } else { 0 };
        most.max(self.start.cpu_num)
    }

    pub(super) fn backing(&self) -> Outcome<Option<MemoryBacking>> {
        let start = self.start;
        let access = match start.mem_access.as_str() {
            "" | "private" => None,
            "shared" => Some(Mode { mode: "shared" }),
            other => return Err(format!("memory access {other:?} is not known: use private or shared")),
        };
        let backing = MemoryBacking {
            hugepages: start.use_huge_page.then_some(Flag {}),
            nosharepages: start.no_share_pages.unwrap_or_default().then_some(Flag {}),
            access,
        };
        let MemoryBacking { hugepages, nosharepages, access } = &backing;
        let any = hugepages.is_some() || nosharepages.is_some() || access.is_some();
        Ok(any.then_some(backing))
    }

    /// A share in proportion to speed and number; the bounds are those of both cgroup versions.
    pub(super) fn cputune(&self) -> Outcome<Option<CpuTune>> {
        let start = self.start;
        let own = start.priority_config_struct.as_ref().map_or(0, |priority| priority.cpu_shares);
        let weight = start.cpu_speed.saturating_mul(start.cpu_num.into());
        let weight = if own > 0 { own } else { weight };
        let tune = CpuTune {
            shares: (weight > 0).then(|| weight.clamp(2, 10_000)),
            vcpupin: self.pins()?,
            emulatorpin: self.emulator_pin()?,
        };
        Ok((tune != CpuTune::default()).then_some(tune))
    }

    fn pins(&self) -> Outcome<Vec<VcpuPin>> {
        let pins: Vec<Pin> = self.addon("cpuPinning")?.unwrap_or_default();
        let pin = |pin: Pin| {
            let inside = pin.v_cpu < self.most_vcpus();
            let cpuset = inside.then(|| cpu_set(&pin.p_cpu_set)).ok_or_else(|| {
                format!("cpu {} cannot be pinned: the vm has {} cpus", pin.v_cpu, self.most_vcpus())
            })??;
            Ok(VcpuPin { vcpu: pin.v_cpu, cpuset })
        };
        pins.into_iter().map(pin).collect()
    }

    fn emulator_pin(&self) -> Outcome<Option<CpuSet>> {
        let told: Option<String> = self.addon("emulatorPinning")?;
        let told = told.filter(|told| !told.is_empty());
        told.map(|told| Ok(CpuSet { cpuset: cpu_set(&told)? })).transpose()
    }

    fn nodes(&self) -> Outcome<Vec<Node>> {
        let nodes: Vec<Node> = self.addon("numaNodes")?.unwrap_or_default();
        let sum: u64 = nodes.iter().map(|node| node.memory_size).sum();
        if nodes.is_empty() || sum == self.start.memory {
            return Ok(nodes);
        }
        Err(format!("the memory of the numa nodes is {sum} bytes, the vm's is {}", self.start.memory))
    }

    pub(super) fn numatune(&self) -> Outcome<Option<NumaTune>> {
        let nodes = self.nodes()?.into_iter();
        let memnode: Vec<MemNode> = nodes
            .filter_map(|node| {
                let nodeset = node.host?.to_string();
                Some(MemNode { cell: node.id, mode: "strict", nodeset })
            })
            .collect();
        Ok((!memnode.is_empty()).then_some(NumaTune { memnode }))
    }

    pub(super) fn cpu(&self) -> Outcome<Cpu> {
        let nested = self.start.nested_virtualization.as_str();
        let (mode, model) = match (self.setting.virt, nested) {
            // An emulated processor has no host model to follow; this is all that QEMU can emulate.
            (VirtType::Qemu, "custom") if self.names_model() => ("custom", Some(self.custom_model()?)),
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
            numa: self.numa()?,
        })
    }

    fn names_model(&self) -> bool {
        self.start.vm_cpu_model.as_deref().is_some_and(|name| !name.is_empty())
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

    /// Memory can be plugged into a NUMA node only: a VM that may grow has one.
    fn numa(&self) -> Outcome<Option<Numa>> {
        let mut cell: Vec<Cell> = Vec::new();
        for node in self.nodes()? {
            cell.push(Cell { id: node.id, cpus: cpu_set(&node.cpus)?, memory: node.memory_size, unit: "b" });
        }
        if cell.is_empty() && self.grows() {
            let cpus = format!("0-{}", self.most_vcpus() - 1);
            cell.push(Cell { id: 0, cpus, memory: self.start.memory, unit: "b" });
        }
        Ok((!cell.is_empty()).then_some(Numa { cell }))
    }

    /// An addon, by its name.
    fn addon<T: serde::de::DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        let Some(told) = self.start.addons.get(name).filter(|told| !told.is_null()) else { return Ok(None) };
        serde_json::from_value(told.clone()).map(Some).map_err(|error| format!("addons.{name}: {error}"))
    }

    pub(super) fn on_crash(&self) -> Outcome<&'static str> {
        const CRASH: [&str; 4] = ["destroy", "restart", "preserve", "rename-restart"];
        let Some(asked) = self.start.addons.get("onCrash") else { return Ok("restart") };
        let asked = asked.as_str().unwrap_or_default();
        known(&CRASH, asked).ok_or_else(|| format!("onCrash {asked:?} is not known"))
    }
}

/// A list of CPUs such as `0-3,5` or `0-3,^2`.
fn cpu_set(text: &str) -> Outcome<String> {
    let sound = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b'^'));
    sound.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no list of cpus such as 0-3,5"))
}
