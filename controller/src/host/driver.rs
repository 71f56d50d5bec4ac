//! Hypervisors: how a host is reached and how VMs run on it.

use engine::boxed;
use engine::driver::Family;
use engine::flow::Cx;
use engine::{Engine, Result};
use schemars::JsonSchema;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How a VM moves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Migration {
    /// Slows the guest down when it writes faster than it is copied.
    pub auto_converge: bool,
    /// Milliseconds that the guest may stand still.
    pub down_time: Option<u64>,
    /// Seconds after which it is given up: it stays where it is.
    pub timeout: u64,
    /// Its disks are copied; otherwise both hosts see the same.
    #[serde(default = "copied")]
    pub with_disks: bool,
}

/// As it was when nothing was said of it.
fn copied() -> bool {
    true
}

/// By uuid; VMs that are not in it are [`VmState::Absent`].
pub type VmStates = std::collections::HashMap<String, VmState>;

/// One kind of hypervisor. Every command succeeds when what it wants is so already.
#[boxed]
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

    /// Starts the guest anew, from the devices that `boot` names in order.
    async fn reboot_vm(&self, cx: &Cx, host: &HostInventory, vm: &str, boot: Vec<String>) -> Result<()>;

    async fn pause_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    async fn resume_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// Plugs a volume into a running VM.
    async fn attach_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: wire::calls::vm::Volume,
    ) -> Result<()>;

    /// Takes a volume out of a VM; waits for the guest to let go of it.
    async fn detach_volume(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: wire::calls::vm::Volume,
    ) -> Result<()>;

    /// Plugs a NIC into a running VM.
    async fn attach_nic(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        nic: wire::calls::vm::Nic,
    ) -> Result<()>;

    /// Takes a NIC out of a VM.
    async fn detach_nic(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        nic: wire::calls::vm::Nic,
    ) -> Result<()>;

    /// The NIC's link goes up or down, as its state says.
    async fn change_nic_state(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        nic: wire::calls::vm::Nic,
    ) -> Result<()>;

    /// Moves a NIC to the bridge that it names.
    async fn move_nic(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        nic: wire::calls::vm::Nic,
    ) -> Result<()>;

    /// Puts an ISO into one of the VM's drives.
    async fn attach_iso(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        iso: wire::calls::device::Iso,
    ) -> Result<()>;

    /// Empties the drive of that number.
    async fn detach_iso(&self, cx: &Cx, host: &HostInventory, vm: &str, iso: &str, device: u32)
    -> Result<()>;

    /// Has the VM have so many CPUs; never less than it has.
    async fn grow_cpu(&self, cx: &Cx, host: &HostInventory, vm: &str, number: u32) -> Result<()>;

    /// Has the VM have so many bytes of memory; never less than it has.
    async fn grow_memory(&self, cx: &Cx, host: &HostInventory, vm: &str, bytes: u64) -> Result<()>;

    /// Lets the guest give unused blocks of its disks back.
    async fn trim(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// A picture of the VM's screen, as a `data:` URL.
    async fn screenshot(&self, engine: &Engine, host: &HostInventory, vm: &str) -> Result<String>;

    /// Where the VM's screen is.
    async fn screen(
        &self,
        engine: &Engine,
        host: &HostInventory,
        vm: &str,
    ) -> Result<wire::calls::vm::VncPort>;

    /// Where the guest finds its volumes.
    async fn volume_addresses(
        &self,
        engine: &Engine,
        host: &HostInventory,
        vm: &str,
        volumes: Vec<wire::calls::vm::Volume>,
    ) -> Result<Vec<wire::calls::device::AddressTold>>;

    /// How much of the host the VMs get beside others.
    async fn set_priority(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vms: Vec<wire::calls::tuning::Priority>,
    ) -> Result<()>;

    async fn destroy_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// Moves a VM that runs on `host` with the disks it has there to the host `to`, which has files for them
    /// at the same places.
    async fn migrate_vm(
        &self,
        cx: &Cx,
        host: &HostInventory,
        to: &HostInventory,
        vm: &str,
        how: &Migration,
    ) -> Result<()>;

    /// From this word on nothing that the host was told before moves the VM.
    async fn stay_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// The host takes note of the devices of a VM that has come to it.
    async fn note_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// The disc that tells a VM's guest who it is, in base64, if it has one there.
    async fn read_seed(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<Option<String>>;

    /// The host has that disc for a VM that is to come.
    async fn write_seed(&self, cx: &Cx, host: &HostInventory, vm: &str, disc: String) -> Result<()>;

    /// Forgets what is kept of a VM that does not run there beside its disks, as its firmware's variables and its seed.
    async fn forget_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()>;

    /// Volumes go on in other files, those of one VM that runs at one moment: what was the file of each is
    /// left as a snapshot.
    async fn take_snapshots(
        &self,
        cx: &Cx,
        host: &HostInventory,
        jobs: Vec<wire::calls::snapshot::Job>,
    ) -> Result<Vec<wire::calls::snapshot::TakenOne>>;

    /// Puts a volume that the running VM has open directly on `base`, or on nothing: what lay between is
    /// copied into it.
    async fn merge_layers(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: wire::calls::vm::Volume,
        base: Option<&str>,
    ) -> Result<()>;

    /// Writes the layers from `top` down into `base`, where the volume that the running VM has open goes on.
    async fn commit_layers(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: wire::calls::vm::Volume,
        top: &str,
        base: &str,
    ) -> Result<()>;
}

/// All of them; a new one is a file and a line here.
pub static HYPERVISORS: Family<dyn Hypervisor> = Family::new("hypervisor", &[("KVM", &kvm::Kvm)]);

impl HostInventory {
    pub fn hypervisor(&self) -> Result<&'static dyn Hypervisor> {
        HYPERVISORS.get(&self.hypervisor_type)
    }
}
