//! Hypervisors: how a host is reached and how VMs run on it.

use async_trait::async_trait;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Engine, Result};
use serde::{Deserialize, Serialize};

use super::{HostInventory, kvm};

/// What a host told about itself. Memory in bytes, speed in MHz.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    pub cpu_num: u64,
    pub cpu_sockets: u32,
    pub cpu_speed: u64,
    pub total_memory: u64,
    pub architecture: String,
    pub os_distribution: String,
    pub os_release: String,
    pub os_version: String,
    pub virt_type: String,
    /// Flows of before have none.
    #[serde(default)]
    pub qemu_img_version: String,
    #[serde(default)]
    pub libvirt_version: String,
    /// `vmx` or `svm`; empty where the processor does not help.
    #[serde(default)]
    pub hvm_cpu_flag: String,
}

/// How a VM is wound down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopMode {
    /// The guest is asked; when it does not, it is cut off.
    Grace,
    Cold,
}

/// What a VM is on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmState {
    Running,
    Paused,
    Crashed,
    /// It does not run, or is not there at all.
    Absent,
    /// On its way from one to another, or something that nothing follows from.
    Passing,
}

/// By uuid; VMs that are not in it are [`VmState::Absent`].
pub type VmStates = std::collections::HashMap<String, VmState>;

/// One kind of hypervisor. Every command succeeds when what it wants is so already.
#[async_trait]
pub trait Hypervisor: Sync {
    /// Introduces the controller to the host and learns what it is.
    async fn connect(&self, cx: &Cx, host: &HostInventory) -> Result<Facts>;

    /// The uuid that the host was last introduced as.
    async fn ping(&self, engine: &Engine, host: &HostInventory) -> Result<String>;

    /// All VMs that run or are held on the host, by their uuids.
    async fn vm_states(&self, engine: &Engine, host: &HostInventory) -> Result<VmStates>;

    /// One of them, asked by the flow that owns it.
    async fn vm_state(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<VmState>;

    async fn start_vm(&self, cx: &Cx, host: &HostInventory, vm: wire::calls::vm::Start) -> Result<()>;

    async fn stop_vm(&self, cx: &Cx, host: &HostInventory, vm: &str, how: StopMode) -> Result<()>;

    async fn reboot_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    async fn pause_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    async fn resume_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    async fn destroy_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static HYPERVISORS: Family<dyn Hypervisor> =
    Family { kind: "hypervisor", drivers: &[("KVM", &kvm::Kvm)] };

impl HostInventory {
    pub fn hypervisor(&self) -> Result<&'static dyn Hypervisor> {
        HYPERVISORS.get(&self.hypervisor_type)
    }
}
