//! KVM by way of the kvm-agent.

use std::sync::Arc;

use async_trait::async_trait;
use engine::flow::{Agent, Cx};
use engine::{Engine, Result};
use wire::calls::{host as call, vm};

use super::driver::{Facts, Hypervisor, StopMode, VmState, VmStates};
use super::heartbeat::{self, Heartbeats};
use super::{HostInventory, PING_TIMEOUT};
use crate::config::Ports;

pub(super) struct Kvm;

/// How long a guest may take to shut down when it is asked, seconds; half of it before it is cut off.
const GRACE: u64 = 60;

pub(crate) fn agent(engine: &Engine, host: &HostInventory) -> Agent {
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

#[async_trait]
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

    async fn reboot_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        let reboot = vm::Reboot { uuid: vm.into(), timeout: GRACE, boot_dev: vec!["hd".into()] };
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

    async fn destroy_vm(&self, cx: &Cx, host: &HostInventory, vm: &str) -> Result<()> {
        cx.call(&agent(cx.engine(), host), &vm::Destroy { uuid: vm.into() }).await.map(|_| ())
    }
}
