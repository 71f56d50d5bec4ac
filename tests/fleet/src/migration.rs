//! The kvm-agent's part in moves of VMs between hosts.

use wire::agent::{Cx, Routes};
use wire::calls::{Done, device, migration, seed, vm};
use wire::{Call, Fault};

use crate::kvm::bare;
use crate::{State, World, lock, neighbour, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes.on(migrate).on(stay).on(note).on(forget).on(read_seed).on(write_seed)
}

/// With its disks, for which the other host must have files.
async fn migrate(cx: Cx<World>, command: migration::Migrate) -> Outcome<migration::Migrate> {
    let there = neighbour(&command.dest_host_management_ip)?;
    drop(there.here());
    let copied = ["FullCopy", "IncCopy"].contains(&command.storage_migration_policy.as_str());
    let moved = obey::<migration::Migrate>(&cx, |state| {
        let (vm, other) = (&command.vm_uuid, &mut *lock(&there.state));
        if !state.domains.contains_key(vm) {
            return match other.domains.contains_key(vm) {
                true => Ok(Done {}),
                false => Err(Fault::new(format!("vm {vm} is neither here nor there: start it"))),
            };
        }
        let of_vm = |key: &str| key.starts_with(vm.as_str());
        if state.seeds.get(vm) != other.seeds.get(vm) {
            return Err(Fault::new("the other host has not the disc of the guest"));
        }
        let missing = state.open.iter().find(|(key, path)| of_vm(key) && !other.volumes.contains(*path));
        if let Some((_, path)) = missing {
            return Err(Fault::new(format!("the other host has no file {path}")));
        }
        let shared = |path: &str| cx.share.is_some_and(|share| share.has(path));
        if let Some((_, path)) = state.open.iter().find(|(key, path)| of_vm(key) && shared(path) == copied) {
            return Err(Fault::new(format!("{path} is copied onto itself, or not at all")));
        }
        hand_over(state, other, vm);
        Ok(Done {})
    })
    .await;
    there.settle();
    moved
}

fn hand_over(state: &mut State, other: &mut State, vm: &str) {
    let of_vm = |key: &String| key.starts_with(vm);
    let domain = state.domains.remove_entry(vm);
    other.domains.extend(domain);
    other.boots.extend(state.boots.remove_entry(vm));
    other.open.extend(state.open.extract_if(.., |key, _| of_vm(key)));
    other.disks.extend(state.disks.extract_if(.., of_vm));
    other.cd_roms.extend(state.cd_roms.extract_if(.., of_vm));
    other.sizes.extend(state.sizes.remove_entry(vm));
    other.shares.extend(state.shares.remove_entry(vm));
    state.seeds.remove(vm);
    for nic in state.nics.extract_if(.., of_vm) {
        other.plugs.extend(state.plugs.remove_entry(bare(&nic)));
        other.down.extend(state.down.take(bare(&nic)));
        other.nics.insert(nic);
    }
}

async fn stay(cx: Cx<World>, _: migration::Stay) -> Outcome<migration::Stay> {
    obey::<migration::Stay>(&cx, |_| Ok(Done {})).await
}

async fn note(cx: Cx<World>, command: device::GetDeviceInfo) -> Outcome<device::GetDeviceInfo> {
    match lock(&cx.state).domains.contains_key(&command.vm_instance_uuid) {
        true => Ok(device::DevicesTold::default()),
        false => Err(Fault::new(format!("vm {} is not here", command.vm_instance_uuid))),
    }
}

async fn forget(cx: Cx<World>, command: vm::CleanFirmware) -> Outcome<vm::CleanFirmware> {
    obey::<vm::CleanFirmware>(&cx, |state| match state.domains.contains_key(&command.vm_uuid) {
        true => Err(Fault::new(format!("vm {} runs: stop it first", command.vm_uuid))),
        false => {
            state.seeds.remove(&command.vm_uuid);
            Ok(Done {})
        }
    })
    .await
}

/// What is on it, for a disc.
async fn read_seed(cx: Cx<World>, command: seed::Read) -> Outcome<seed::Read> {
    Ok(seed::SeedTold { disc: lock(&cx.state).seeds.get(&command.vm_uuid).cloned() })
}

async fn write_seed(cx: Cx<World>, command: seed::Write) -> Outcome<seed::Write> {
    obey::<seed::Write>(&cx, |state| {
        if !state.domains.contains_key(&command.vm_uuid) {
            state.seeds.insert(command.vm_uuid, command.disc);
        }
        Ok(Done {})
    })
    .await
}
