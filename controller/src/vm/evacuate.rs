//! VMs leave a host that is to be maintained: moved where that is wished and possible, otherwise stopped.

use engine::boxed;
use engine::flow::Cx;
use engine::hook::Hook;
use engine::inventory::find;
use engine::setting::{Setting, plain};
use engine::{Id, Result, codes};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::life::Stop;
use super::migrate::{Migrate, TIMEOUT};
use super::store::Stand;
use super::{VmInstance, VmInstanceInventory, store, targets};
use crate::host::driver::{Migration, StopMode};
use crate::host::{Host, HostInventory};

/// So many VMs leave a host at a time.
const AT_ONCE: usize = 4;
/// So often is looked whether there are still some.
const ROUNDS: usize = 4;

/// What becomes of the VMs of a host that is to be maintained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evacuation {
    /// They are stopped, as ZStack does.
    StopVm,
    /// Those that run are moved where that can be done.
    MigrateVm,
}

impl std::str::FromStr for Evacuation {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "StopVm" => Ok(Evacuation::StopVm),
            "MigrateVm" => Ok(Evacuation::MigrateVm),
            _ => Err("must be StopVm or MigrateVm"),
        }
    }
}

pub(crate) const POLICY: Setting<Evacuation> = Setting {
    category: "host",
    name: "maintenance.localStorage",
    default: "StopVm",
    help: "what becomes of VMs on local storage whose host is to be maintained: StopVm, or MigrateVm (with their disks, where it can be done)",
    read: plain,
};

pub(super) struct Evacuate;

#[boxed]
impl Hook<HostInventory> for Evacuate {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        for round in 0..ROUNDS {
            let vms = store::on_host(&mut cx.read().await?, host.uuid).await?;
            if vms.is_empty() {
                return Ok(());
            }
            let leaving = vms.into_iter().map(|vm| leave(cx, host.uuid, round, vm));
            stream::iter(leaving).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        let name = &host.name;
        Err(codes::STATE.because(format!("host \"{name}\" keeps getting vms: disable it first")))
    }
}

/// One that has left meanwhile is fine.
async fn leave(cx: &Cx, host: Id<Host>, round: usize, stand: Stand) -> Result<()> {
    let uuid: Id<VmInstance> = stand.uuid.cast();
    // After a crash it may be on its way already.
    if ["Running", "Migrating"].contains(&stand.state.as_str()) && moves(cx, uuid).await? {
        let how = Migration { auto_converge: true, down_time: None, timeout: TIMEOUT, with_disks: true };
        let migrate = Migrate { uuid, name: stand.name.clone(), wanted: None, how, from: None, to: None };
        match cx.sub(&format!("{round} migrate {uuid}"), migrate).await {
            Ok(_) => return Ok(()),
            Err(error) if error.says_nothing() => return Err(error),
            Err(_) if has_left(cx, uuid, host).await? => return Ok(()),
            Err(error) => tracing::info!(vm = stand.name, %error, "does not move: it is stopped"),
        }
    }
    let stop = Stop { uuid, name: stand.name, mode: StopMode::Grace };
    let stopped = cx.sub(&format!("{round} stop {uuid}"), stop).await;
    match stopped {
        Err(error) if error.is(codes::NOT_FOUND) || has_left(cx, uuid, host).await? => {
            tracing::debug!(vm = %uuid, %error, "it has left by itself");
            Ok(())
        }
        outcome => outcome.map(|_| ()),
    }
}

/// What lies on no host need not be copied: such VMs are moved whatever the setting says.
async fn moves(cx: &Cx, vm: Id<VmInstance>) -> Result<bool> {
    if cx.engine().setting(&POLICY) == Evacuation::MigrateVm {
        return Ok(true);
    }
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = match find(&mut tx, vm).await {
        Err(error) if error.is(codes::NOT_FOUND) => return Ok(false),
        found => found?,
    };
    let volumes = targets::volumes(&mut tx, &vm).await?;
    Ok(targets::local(&volumes).next().is_none())
}

async fn has_left(cx: &Cx, vm: Id<VmInstance>, host: Id<Host>) -> Result<bool> {
    let vm = find::<VmInstanceInventory>(&mut cx.read().await?, vm).await;
    Ok(vm.is_ok_and(|vm| vm.host_uuid != Some(host)))
}
