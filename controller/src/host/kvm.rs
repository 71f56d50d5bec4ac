//! KVM by way of the kvm-agent.

use std::sync::Arc;
use std::time::Duration;

use engine::boxed;
use engine::flow::{Agent, Cx};
use engine::{Engine, Result};
use wire::calls::{device, guest, host as call, migration, seed, snapshot, tuning, vm};

use super::driver::{Facts, Hypervisor, Migration, StopMode, VmState, VmStates};
use super::heartbeat::{self, Heartbeats};
use super::{HostInventory, PING_TIMEOUT};
use crate::config::Ports;

pub(super) struct Kvm;

/// How long a guest may take to shut down when it is asked, seconds; half of it before it is cut off.
const GRACE: u64 = 60;

/// How long a host may take to tell something of a VM.
const ASKING: Duration = Duration::from_secs(30);

pub fn agent(engine: &Engine, host: &HostInventory) -> Agent {
    host.agent(engine, "kvm-agent", engine.of::<Ports>().kvm_agent)
}

/// ZStack's words. A domain that is off is as good as none.
const WORDS: &[(&str, VmState)] = &[
    ("Running", VmState::Running),
    ("Paused", VmState::Paused),
    ("Crashed", VmState::Crashed),
    ("Shutdown", VmState::Absent),
];

fn understood(told: vm::States) -> VmStates {
    let word = |word: &str| WORDS.iter().find(|(known, _)| *known == word).map(|(_, state)| *state);
    let mut states: VmStates =
        told.states.into_iter().map(|(vm, said)| (vm, word(&said).unwrap_or(VmState::Passing))).collect();
    states.extend(told.vm_in_shutdowns.into_iter().map(|vm| (vm, VmState::Passing)));
    states
}

#[boxed]
impl Hypervisor for Kvm {
    async fn connect(&self, cx: &Cx, host: &HostInventory) -> Result<Facts> {
        let agent = agent(cx.engine(), host);
        let fact = cx.call(&agent, &call::GetFact {}).await?;
        let introduction = call::Connect {
            host_uuid: host.uuid.to_string(),
            send_command_url: cx.engine().caller().callback_url().to_owned(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        cx.call(&agent, &introduction).await?;
        let capacity = cx.call(&agent, &call::GetCapacity {}).await?;
        Ok(Facts {
            cpu_num: capacity.cpu_num,
            cpu_sockets: capacity.cpu_sockets,
            cpu_speed: capacity.cpu_speed,
            total_memory: capacity.total_memory,
            architecture: fact.cpu_architecture,
            os_distribution: fact.os_distribution,
            os_release: fact.os_release,
            os_version: fact.os_version,
            virt_type: fact.virt_type,
            qemu_img_version: fact.qemu_img_version,
            libvirt_version: fact.libvirt_version,
            hvm_cpu_flag: fact.hvm_cpu_flag,
        })
    }

    async fn ping(&self, engine: &Engine, host: &HostInventory) -> Result<String> {
        let heartbeat = engine.of::<Arc<Heartbeats>>().orders(host.uuid, heartbeat::interval(engine));
        let ping = call::Ping { host_uuid: host.uuid.to_string(), heartbeat };
        let pong = engine.ask(&agent(engine, host), &ping, engine.setting(&PING_TIMEOUT)).await?;
        Ok(pong.host_uuid)
    }

    async fn vm_states(&self, engine: &Engine, host: &HostInventory) -> Result<VmStates> {
        let agent = agent(engine, host);
        Ok(understood(engine.ask(&agent, &vm::Sync {}, engine.setting(&PING_TIMEOUT)).await?))
    }

    async fn vm_state(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<VmState> {
        let check = vm::CheckState { vm_uuids: vec![vm.into()], host_uuid: host.uuid.to_string() };
        let told = understood(cx.call(&agent(cx.engine(), host), &check).await?);
        Ok(told.get(vm).copied().unwrap_or(VmState::Absent))
    }

    async fn start_vm(&self, cx: &Cx, host: &HostInventory, vm: vm::Start) -> Result<()> {
        cx.call(&agent(cx.engine(), host), &vm).await.map(|_| ())
    }

    async fn stop_vm(&self, cx: &Cx, host: &HostInventory, vm: &str, how: StopMode) -> Result<()> {
        let kind = if how == StopMode::Grace { "grace" } else { "cold" };
        let stop = vm::Stop { uuid: vm.into(), kind: kind.into(), timeout: GRACE };
        cx.call(&agent(cx.engine(), host), &stop).await.map(|_| ())
    }

    async fn reboot_vm(&self, cx: &Cx, host: &HostInventory, vm: &str, boot: Vec<String>) -> Result<()> {
        let reboot = vm::Reboot { uuid: vm.into(), timeout: GRACE, boot_dev: boot };
        cx.call(&agent(cx.engine(), host), &reboot).await.map(|_| ())
    }

    async fn pause_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let pause = vm::Pause { uuid: vm.into(), timeout: GRACE };
        cx.call(&agent(cx.engine(), host), &pause).await.map(|_| ())
    }

    async fn resume_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let resume = vm::Resume { uuid: vm.into(), timeout: GRACE };
        cx.call(&agent(cx.engine(), host), &resume).await.map(|_| ())
    }

    async fn attach_volume(&self, cx: &Cx, host: &HostInventory, vm: &str, volume: vm::Volume) -> Result<()> {
        let attach = device::AttachVolume { vm_instance_uuid: vm.into(), volume, ..Default::default() };
        cx.call(&agent(cx.engine(), host), &attach).await.map(|_| ())
    }

    async fn detach_volume(&self, cx: &Cx, host: &HostInventory, vm: &str, volume: vm::Volume) -> Result<()> {
        let detach = device::DetachVolume { vm_instance_uuid: vm.into(), volume };
        cx.call(&agent(cx.engine(), host), &detach).await.map(|_| ())
    }

    async fn attach_nic(&self, cx: &Cx, host: &HostInventory, vm: &str, nic: vm::Nic) -> Result<()> {
        let attach = device::AttachNic { vm_uuid: vm.into(), nic, ..Default::default() };
        cx.call(&agent(cx.engine(), host), &attach).await.map(|_| ())
    }

    async fn detach_nic(&self, cx: &Cx, host: &HostInventory, vm: &str, nic: vm::Nic) -> Result<()> {
        cx.call(&agent(cx.engine(), host), &device::DetachNic { vm_uuid: vm.into(), nic }).await.map(|_| ())
    }

    async fn change_nic_state(&self, cx: &Cx, host: &HostInventory, vm: &str, nic: vm::Nic) -> Result<()> {
        let state = nic.state.clone().unwrap_or_default();
        let change = device::ChangeNicState { vm_uuid: vm.into(), state, nic };
        cx.call(&agent(cx.engine(), host), &change).await.map(|_| ())
    }

    async fn move_nic(&self, cx: &Cx, host: &HostInventory, vm: &str, nic: vm::Nic) -> Result<()> {
        let update = device::UpdateNic { vm_instance_uuid: vm.into(), nics: vec![nic], ..Default::default() };
        cx.call(&agent(cx.engine(), host), &update).await.map(|_| ())
    }

    async fn attach_iso(&self, cx: &Cx, host: &HostInventory, vm: &str, iso: device::Iso) -> Result<()> {
        let attach = device::AttachIso { vm_uuid: vm.into(), iso };
        cx.call(&agent(cx.engine(), host), &attach).await.map(|_| ())
    }

    async fn detach_iso(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        iso: &str,
        device_id: u32,
    ) -> Result<()> {
        let detach = device::DetachIso { vm_uuid: vm.into(), iso_uuid: Some(iso.into()), device_id };
        cx.call(&agent(cx.engine(), host), &detach).await.map(|_| ())
    }

    async fn grow_cpu(&self, cx: &Cx, host: &HostInventory, vm: &str, number: u32) -> Result<()> {
        let increase = tuning::IncreaseCpu { vm_uuid: vm.into(), cpu_num: number };
        cx.call(&agent(cx.engine(), host), &increase).await.map(|_| ())
    }

    async fn grow_memory(&self, cx: &Cx, host: &HostInventory, vm: &str, bytes: u64) -> Result<()> {
        let increase = tuning::IncreaseMemory { vm_uuid: vm.into(), memory_size: bytes };
        cx.call(&agent(cx.engine(), host), &increase).await.map(|_| ())
    }

    async fn trim(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        cx.call(&agent(cx.engine(), host), &guest::Trim { vm_uuid: vm.into() }).await.map(|_| ())
    }

    async fn screenshot(&self, engine: &Engine, host: &HostInventory, vm: &str) -> Result<String> {
        let screenshot = guest::Screenshot { vm_uuid: vm.into() };
        Ok(engine.ask(&agent(engine, host), &screenshot, ASKING).await?.image_data)
    }

    async fn screen(&self, engine: &Engine, host: &HostInventory, vm: &str) -> Result<vm::VncPort> {
        engine.ask(&agent(engine, host), &vm::GetVncPort { vm_uuid: vm.into() }, ASKING).await
    }

    async fn volume_addresses(
        &self,
        engine: &Engine,
        host: &HostInventory,
        vm: &str,
        volumes: Vec<vm::Volume>,
    ) -> Result<Vec<device::AddressTold>> {
        const VOLUMES: &str = "VolumeVO";
        let device_tos = [(VOLUMES.to_owned(), volumes)].into();
        let get = device::GetDeviceAddress { uuid: vm.into(), device_tos };
        let told = engine.ask(&agent(engine, host), &get, ASKING).await?;
        Ok(told.addresses.into_values().flatten().collect())
    }

    async fn set_priority(
        &self,
        cx: &Cx,
        host: &HostInventory,
        priority_config_structs: Vec<tuning::Priority>,
    ) -> Result<()> {
        let set = tuning::SetPriority { priority_config_structs };
        cx.call(&agent(cx.engine(), host), &set).await.map(|_| ())
    }

    async fn destroy_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        cx.call(&agent(cx.engine(), host), &vm::Destroy { uuid: vm.into() }).await.map(|_| ())
    }

    async fn migrate_vm(
        &self,
        cx: &Cx,
        host: &HostInventory,
        to: &HostInventory,
        vm: &str,
        how: &Migration,
    ) -> Result<()> {
        let migrate = migration::Migrate {
            vm_uuid: vm.into(),
            dest_host_ip: to.management_ip.clone(),
            dest_host_management_ip: to.management_ip.clone(),
            src_host_ip: host.management_ip.clone(),
            storage_migration_policy: if how.with_disks { "FullCopy" } else { "Shared" }.into(),
            auto_converge: how.auto_converge,
            down_time: how.down_time,
            timeout: how.timeout,
            ..Default::default()
        };
        cx.call(&agent(cx.engine(), host), &migrate).await.map(|_| ())
    }

    async fn stay_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let stay = migration::Stay { vm_uuid: vm.into() };
        cx.call(&agent(cx.engine(), host), &stay).await.map(|_| ())
    }

    async fn note_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let ask = device::GetDeviceInfo { vm_instance_uuid: vm.into() };
        cx.call(&agent(cx.engine(), host), &ask).await.map(|_| ())
    }

    async fn read_seed(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<Option<String>> {
        let read = seed::Read { vm_uuid: vm.into() };
        Ok(cx.call(&agent(cx.engine(), host), &read).await?.disc)
    }

    async fn write_seed(&self, cx: &Cx, host: &HostInventory, vm: &str, disc: String) -> Result<()> {
        let write = seed::Write { vm_uuid: vm.into(), disc };
        cx.call(&agent(cx.engine(), host), &write).await.map(|_| ())
    }

    async fn forget_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let forget = vm::CleanFirmware { vm_uuid: vm.into() };
        cx.call(&agent(cx.engine(), host), &forget).await.map(|_| ())
    }

    async fn take_snapshots(
        &self,
        cx: &Cx,
        host: &HostInventory,
        jobs: Vec<snapshot::Job>,
    ) -> Result<Vec<snapshot::TakenOne>> {
        let take = snapshot::TakeMany { snapshot_jobs: jobs };
        Ok(cx.call(&agent(cx.engine(), host), &take).await?.snapshots)
    }

    async fn merge_layers(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: vm::Volume,
        base: Option<&str>,
    ) -> Result<()> {
        let merge = snapshot::Merge {
            vm_uuid: vm.into(),
            src_path: base.unwrap_or_default().into(),
            dest_path: volume.install_path.clone(),
            full_rebase: base.is_none(),
            volume,
        };
        cx.call(&agent(cx.engine(), host), &merge).await.map(|_| ())
    }

    async fn commit_layers(
        &self,
        cx: &Cx,
        host: &HostInventory,
        vm: &str,
        volume: vm::Volume,
        top: &str,
        base: &str,
    ) -> Result<()> {
        let volume_uuid = volume.volume_uuid.clone();
        let commit =
            snapshot::Commit { vm_uuid: vm.into(), volume_uuid, volume, top: top.into(), base: base.into() };
        cx.call(&agent(cx.engine(), host), &commit).await.map(|_| ())
    }
}
