//! What a VM is made of, changed: its size, its disk, its NICs.

mod boot_volume;
mod image;
mod nic;
mod nic_network;
mod size;
mod store;
mod update;

use engine::db::Tx;
use engine::module::Module;
use engine::setting::{AnySetting, Setting, plain};
use engine::{Id, Result, codes};

use super::VmInstance;
use super::allocate::Demand;
use crate::host::{self, HostInventory};

pub(crate) const GROWS: Setting<bool> = Setting {
    category: "vm",
    name: "numa",
    default: "false",
    help: "true: VMs that start from then on may be given CPUs and memory while they run",
    read: plain,
};

pub(super) use update::Words;

/// As many CPUs as a domain is started with room for.
const MOST_CPUS: i64 = 240;

/// The VM, which claims `demand` of the host, is started with room to grow there, if VMs shall have it.
pub(super) async fn leave_room(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    demand: &Demand,
    host: &HostInventory,
) -> Result<()> {
    if !tx.engine().setting(&GROWS) {
        return Ok(());
    }
    let cpu = demand.cpu.max(host.cpu_num.min(MOST_CPUS));
    host::leave_room(tx, vm.cast(), cpu, demand.memory.max(host.total_memory_capacity)).await
}

/// The outcome of putting something back on a host. One that says no has refused the change before, or has
/// the VM no longer; only one that says nothing is asked again.
pub(super) fn put_back(vm: Id<VmInstance>, outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.is(codes::OPERATION) => {
            tracing::warn!(%vm, %error, "not put back");
            Ok(())
        }
        outcome => outcome,
    }
}

const SETTINGS: &[AnySetting] = &[GROWS.entry(|text| GROWS.accepts(text)).one_of(&["true", "false"])];

const EVENTS: &[(&str, &str)] = &[
    ("/vm/resized", "it has other CPUs or memory, now or once it was stopped: cpuNum, memorySize, atOnce"),
    ("/vm/reimaged", "its root volume shows its image again"),
    ("/vm/bootVolume/changed", "it boots from another of its volumes: rootVolumeUuid, before"),
    ("/vm/nic/changed", "one of its NICs is another: vmNicUuid"),
];

pub(super) fn add_to(module: Module) -> Module {
    module
        .api::<update::UpdateVmInstance>()
        .api::<size::ChangeInstanceOffering>()
        .api::<image::ReimageVmInstance>()
        .api::<boot_volume::SetVmBootVolume>()
        .api::<nic_network::SetVmStaticIp>()
        .api::<nic::DeleteVmStaticIp>()
        .api::<nic_network::ChangeVmNicNetwork>()
        .ask::<nic_network::GetCandidateL3NetworksForChangeVmNicNetwork>()
        .api::<nic::ChangeVmNicState>()
        .api::<nic::UpdateVmNicDriver>()
        .flow::<size::Resize>()
        .flow::<image::Reimage>()
        .flow::<boot_volume::SetBootVolume>()
        .flow::<nic_network::Move>()
        .flow::<nic::Switch>()
        .settings(SETTINGS)
        .events(EVENTS)
}
