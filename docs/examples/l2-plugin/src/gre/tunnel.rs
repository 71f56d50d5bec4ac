//! What is done when hosts connect and VMs come and go.

use cumulet_controller::host::{HostInventory, kvm};
use cumulet_controller::vm::points::OnHost;
use engine::Result;
use engine::boxed;
use engine::error::Code;
use engine::flow::Cx;
use engine::hook::Hook;

use super::calls::{CheckDaemon, SetTunnel};

pub const NO_DAEMON: Code = Code("GRE.1001", "the host keeps no tunnels");

/// A host without the daemon is refused.
pub struct Daemon;

/// A VM that is about to run has its tunnel; without the VM there is none.
pub struct Tunnel;

/// A VM that runs no longer has none.
pub struct NoTunnel;

#[boxed]
impl Hook<HostInventory> for Daemon {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let state = cx.call(&kvm::agent(cx.engine(), host), &CheckDaemon {}).await?;
        match state.running {
            true => Ok(()),
            false => {
                let details = format!("the GRE daemon does not run on host \"{}\": start it", host.name);
                Err(NO_DAEMON.because(details))
            }
        }
    }
}

async fn set(cx: &Cx, on: &OnHost, wanted: bool) -> Result<()> {
    let tunnel = SetTunnel { vm_uuid: on.vm.uuid.to_string(), wanted };
    cx.call(&kvm::agent(cx.engine(), &on.host), &tunnel).await.map(|_| ())
}

#[boxed]
impl Hook<OnHost> for Tunnel {
    async fn run(&self, cx: &Cx, on: &OnHost) -> Result<()> {
        if on.runs { set(cx, on, true).await } else { Ok(()) }
    }

    async fn undo(&self, cx: &Cx, on: &OnHost) -> Result<()> {
        if on.runs { set(cx, on, false).await } else { Ok(()) }
    }
}

#[boxed]
impl Hook<OnHost> for NoTunnel {
    async fn run(&self, cx: &Cx, on: &OnHost) -> Result<()> {
        set(cx, on, false).await
    }
}
