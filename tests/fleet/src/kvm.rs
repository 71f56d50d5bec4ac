//! The kvm-agent's part.

use std::sync::Arc;

use wire::agent::{Cx, Owned, Routes};
use wire::calls::{Done, device, host, localstorage, machine, network, vm};
use wire::{Call, Fault};

use crate::devices::{
    self, attach_iso, change_nic_state, detach_iso, device_address, increase_cpu, increase_memory, move_nic,
    screenshot, set_priority, trim, vnc_port,
};
use crate::layers::{self, open};
use crate::migration;
use crate::{Size, State, World, ha, lock, nfs, obey, owned, share, vxlan};

pub(crate) type Outcome<C> = Result<<C as Call>::Reply, Fault>;

const CAPACITY: Option<u64> = Some(1 << 40);

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    let shared =
        nfs::add_to(share::add_to(migration::add_to(layers::add_to(Routes::new(Arc::clone(world))))));
    ha::add_to(vxlan::add_to(shared))
        .on(fact)
        .on(connect)
        .on(capacity)
        .on(ping)
        .on(check_interfaces)
        .on(create_bridge)
        .on(delete_bridge)
        .on(create_vlan_bridge)
        .on(delete_vlan_bridge)
        .on(init)
        .on(download)
        .on(clone_volume)
        .on(create_volume)
        .on(volume_size)
        .on(batch_sizes)
        .on(attach_volume)
        .on(detach_volume)
        .on(attach_nic)
        .on(detach_nic)
        .on(change_nic_state)
        .on(move_nic)
        .on(attach_iso)
        .on(detach_iso)
        .on(increase_cpu)
        .on(increase_memory)
        .on(trim)
        .on(set_priority)
        .on(screenshot)
        .on(vnc_port)
        .on(device_address)
        .on(delete)
        .on(delete_dir)
        .on(start)
        .on(stop)
        .on(pause)
        .on(resume)
        .on(reboot)
        .on(restart_machine)
        .on(end_machine)
        .on(destroy)
        .on(sync)
        .on(check_state)
        .inventory(inventory)
}

async fn inventory(world: Arc<World>) -> Result<Vec<Owned>, Fault> {
    let state = world.here();
    let file = |kind: &'static str| move |path: &String| owned(kind, path, stem(path));
    let domains = state.domains.keys().map(|uuid| owned("domain", uuid, uuid));
    let bridges = state.bridges.iter().map(|(name, l2)| owned("bridge", name, l2));
    let taps = state.taps.iter().map(|name| owned("tap", name, name));
    let seeds = state.seeds.keys().map(|uuid| owned("seed", &format!("/seeds/{uuid}.iso"), uuid));
    let files = state.volumes.iter().map(file("volume")).chain(state.cache.iter().map(file("image")));
    Ok(domains.chain(bridges).chain(taps).chain(seeds).chain(files).collect())
}

/// Files are named by what they are.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

async fn sync(cx: Cx<World>, _: vm::Sync) -> Outcome<vm::Sync> {
    Ok(vm::States { states: lock(&cx.state).domains.clone(), vm_in_shutdowns: Vec::new() })
}

async fn check_state(cx: Cx<World>, command: vm::CheckState) -> Outcome<vm::CheckState> {
    let state = lock(&cx.state);
    let word = |uuid: &String| state.domains.get(uuid).cloned().unwrap_or_else(|| "Shutdown".into());
    let states = command.vm_uuids.iter().map(|uuid| (uuid.clone(), word(uuid))).collect();
    Ok(vm::States { states, vm_in_shutdowns: Vec::new() })
}

async fn fact(_: Cx<World>, _: host::GetFact) -> Outcome<host::GetFact> {
    Ok(host::Fact { cpu_architecture: "x86_64".into(), virt_type: "qemu".into(), ..Default::default() })
}

async fn connect(cx: Cx<World>, command: host::Connect) -> Outcome<host::Connect> {
    lock(&cx.state).known_as = command.host_uuid;
    Ok(host::Connected::default())
}

async fn capacity(cx: Cx<World>, _: host::GetCapacity) -> Outcome<host::GetCapacity> {
    let Size { cpus: cpu_num, memory: total_memory } = cx.size;
    Ok(host::Capacity { cpu_num, cpu_speed: 2000, total_memory, cpu_sockets: 1, ..Default::default() })
}

async fn ping(cx: Cx<World>, _: host::Ping) -> Outcome<host::Ping> {
    Ok(host::Pong { host_uuid: lock(&cx.state).known_as.clone(), ..Default::default() })
}

async fn check_interfaces(_: Cx<World>, _: network::CheckInterfaces) -> Outcome<network::CheckInterfaces> {
    Ok(network::InterfacesChecked::default())
}

async fn create_bridge(cx: Cx<World>, command: network::CreateBridge) -> Outcome<network::CreateBridge> {
    obey::<network::CreateBridge>(&cx, |state| {
        state.bridges.insert(command.bridge_name, command.l2_network_uuid);
        Ok(Done {})
    })
    .await
}

async fn create_vlan_bridge(
    cx: Cx<World>,
    command: network::CreateVlanBridge,
) -> Outcome<network::CreateVlanBridge> {
    obey::<network::CreateVlanBridge>(&cx, |state| {
        state.bridges.insert(command.bridge.bridge_name, command.bridge.l2_network_uuid);
        Ok(Done {})
    })
    .await
}

async fn delete_vlan_bridge(
    cx: Cx<World>,
    command: network::DeleteVlanBridge,
) -> Outcome<network::DeleteVlanBridge> {
    obey::<network::DeleteVlanBridge>(&cx, |state| {
        state.bridges.remove(&command.bridge.bridge_name);
        Ok(Done {})
    })
    .await
}

async fn delete_bridge(cx: Cx<World>, command: network::DeleteBridge) -> Outcome<network::DeleteBridge> {
    obey::<network::DeleteBridge>(&cx, |state| {
        state.bridges.remove(&command.bridge_name);
        Ok(Done {})
    })
    .await
}

async fn init(_: Cx<World>, _: localstorage::Init) -> Outcome<localstorage::Init> {
    Ok(localstorage::Initialized {
        total_capacity: CAPACITY,
        available_capacity: CAPACITY,
        ..Default::default()
    })
}

async fn download(cx: Cx<World>, command: localstorage::Download) -> Outcome<localstorage::Download> {
    obey::<localstorage::Download>(&cx, |state| {
        state.cache.insert(command.primary_storage_install_path);
        let (format, size) = ("qcow2".into(), command.size);
        Ok(localstorage::Downloaded { format, size, actual_size: size, ..Default::default() })
    })
    .await
}

async fn clone_volume(
    cx: Cx<World>,
    command: localstorage::CreateFromCache,
) -> Outcome<localstorage::CreateFromCache> {
    obey::<localstorage::CreateFromCache>(&cx, |state| {
        if !state.cache.contains(&command.template_path_in_cache) {
            return Err(Fault::new("unable to find image in cache"));
        }
        state.volumes.insert(command.install_url);
        Ok(localstorage::VolumeMade { size: Some(1 << 20), ..Default::default() })
    })
    .await
}

async fn create_volume(
    cx: Cx<World>,
    command: localstorage::CreateEmpty,
) -> Outcome<localstorage::CreateEmpty> {
    obey::<localstorage::CreateEmpty>(&cx, |state| {
        state.volumes.insert(command.install_url);
        Ok(localstorage::VolumeMade { size: Some(command.size), ..Default::default() })
    })
    .await
}

async fn volume_size(cx: Cx<World>, command: localstorage::GetSize) -> Outcome<localstorage::GetSize> {
    let (state, path) = (cx.here(), &command.install_path);
    match state.volumes.contains(path) || state.cache.contains(path) {
        true => Ok(localstorage::Size { size: 1 << 30, actual_size: 1 << 20 }),
        false => Err(Fault::new(format!("there is no volume {}", command.install_path))),
    }
}

async fn batch_sizes(
    cx: Cx<World>,
    command: localstorage::BatchGetSize,
) -> Outcome<localstorage::BatchGetSize> {
    let state = cx.here();
    let there =
        command.volume_uuid_install_paths.into_iter().filter(|(_, path)| state.volumes.contains(path));
    Ok(localstorage::Sizes { actual_sizes: there.map(|(uuid, _)| (uuid, 3 << 20)).collect() })
}

async fn attach_volume(cx: Cx<World>, command: device::AttachVolume) -> Outcome<device::AttachVolume> {
    obey::<device::AttachVolume>(&cx, |state| {
        let (vm, volume) = (&command.vm_instance_uuid, &command.volume);
        if !state.domains.contains_key(vm) {
            return Err(Fault::new(format!("vm {vm} does not run")));
        }
        if !state.volumes.contains(&volume.install_path) {
            return Err(Fault::new(format!("there is no volume {}", volume.install_path)));
        }
        if state.elsewhere.contains(&volume.install_path) {
            return Err(Fault::new(format!("{} is in use on another host", volume.install_path)));
        }
        state.disks.insert(disk(vm, &volume.volume_uuid));
        state.open.insert(open(vm, &volume.volume_uuid), volume.install_path.clone());
        Ok(device::Attached::default())
    })
    .await
}

async fn detach_volume(cx: Cx<World>, command: device::DetachVolume) -> Outcome<device::DetachVolume> {
    obey::<device::DetachVolume>(&cx, |state| {
        state.disks.remove(&disk(&command.vm_instance_uuid, &command.volume.volume_uuid));
        state.open.remove(&open(&command.vm_instance_uuid, &command.volume.volume_uuid));
        Ok(Done {})
    })
    .await
}

async fn attach_nic(cx: Cx<World>, command: device::AttachNic) -> Outcome<device::AttachNic> {
    obey::<device::AttachNic>(&cx, |state| {
        if !state.domains.contains_key(&command.vm_uuid) {
            return Err(Fault::new(format!("vm {} does not run", command.vm_uuid)));
        }
        if !state.bridges.contains_key(&command.nic.bridge_name) {
            return Err(Fault::new(format!("there is no bridge {}", command.nic.bridge_name)));
        }
        state.nics.insert(format!("{} {}", command.vm_uuid, command.nic.uuid));
        plug(state, &command.nic);
        Ok(device::Attached::default())
    })
    .await
}

async fn detach_nic(cx: Cx<World>, command: device::DetachNic) -> Outcome<device::DetachNic> {
    obey::<device::DetachNic>(&cx, |state| {
        state.nics.remove(&format!("{} {}", command.vm_uuid, command.nic.uuid));
        state.plugs.remove(&command.nic.uuid);
        state.down.remove(&command.nic.uuid);
        Ok(Done {})
    })
    .await
}

/// The NIC of `<vm> <nic>`.
pub(crate) fn bare(nic: &str) -> &str {
    nic.rsplit(' ').next().unwrap_or_default()
}

fn disk(vm: &str, volume: &str) -> String {
    format!("{vm} {volume}")
}

/// The VM is gone from the host, and its disks with it.
pub(crate) fn off(state: &mut State, vm: &str) {
    state.domains.remove(vm);
    state.boots.remove(vm);
    state.disks.retain(|disk| !disk.starts_with(vm));
    state.open.retain(|disk, _| !disk.starts_with(vm));
    for nic in state.nics.extract_if(.., |nic| nic.starts_with(vm)) {
        state.plugs.remove(bare(&nic));
        state.down.remove(bare(&nic));
    }
    state.cd_roms.retain(|disc| !disc.starts_with(vm));
    state.sizes.remove(vm);
    state.shares.remove(vm);
    state.seeds.remove(vm);
}

/// The NIC is where the command says, and its link as it says.
fn plug(state: &mut State, nic: &vm::Nic) {
    state.plugs.insert(nic.uuid.clone(), nic.bridge_name.clone());
    match nic.state.as_deref() {
        Some("disable") => state.down.insert(nic.uuid.clone()),
        _ => state.down.remove(&nic.uuid),
    };
}

async fn delete(cx: Cx<World>, command: localstorage::Delete) -> Outcome<localstorage::Delete> {
    obey::<localstorage::Delete>(&cx, |state| {
        state.remove(&command.path)?;
        Ok(localstorage::Deleted::default())
    })
    .await
}

async fn delete_dir(cx: Cx<World>, command: localstorage::DeleteDir) -> Outcome<localstorage::DeleteDir> {
    obey::<localstorage::DeleteDir>(&cx, |state| {
        state.cache.retain(|path| !path.starts_with(&command.path));
        Ok(localstorage::Deleted::default())
    })
    .await
}

async fn start(cx: Cx<World>, command: vm::Start) -> Outcome<vm::Start> {
    let volumes = [&command.root_volume].into_iter().chain(&command.data_volumes);
    let refusal = cx.lacks_lease(volumes.map(|volume| volume.install_path.as_str()));
    obey::<vm::Start>(&cx, |state| {
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if !state.volumes.contains(&command.root_volume.install_path) {
            return Err(Fault::new("the root volume is not there"));
        }
        if let Some(nic) = command.nics.iter().find(|nic| !state.bridges.contains_key(&nic.bridge_name)) {
            return Err(Fault::new(format!("there is no bridge {}", nic.bridge_name)));
        }
        if let Some(data) =
            command.data_volumes.iter().find(|data| !state.volumes.contains(&data.install_path))
        {
            return Err(Fault::new(format!("there is no volume {}", data.install_path)));
        }
        let mut files = [&command.root_volume].into_iter().chain(&command.data_volumes);
        if let Some(open) = files.find(|volume| state.elsewhere.contains(&volume.install_path)) {
            return Err(Fault::new(format!("{} is in use on another host", open.install_path)));
        }
        let disks =
            command.data_volumes.iter().map(|data| disk(&command.vm_instance_uuid, &data.volume_uuid));
        state.disks.extend(disks);
        for volume in [&command.root_volume].into_iter().chain(&command.data_volumes) {
            let key = open(&command.vm_instance_uuid, &volume.volume_uuid);
            state.open.insert(key, volume.install_path.clone());
        }
        let nics = command.nics.iter().map(|nic| format!("{} {}", command.vm_instance_uuid, nic.uuid));
        state.nics.extend(nics.collect::<Vec<_>>());
        command.nics.iter().for_each(|nic| plug(state, nic));
        devices::begin(state, &command)?;
        let order = [Some(command.boot_dev.join(",")), command.boot_mode, command.console_password];
        let order = order.into_iter().chain([command.sound_type, command.clock_track]);
        let boots = order.flatten().collect::<Vec<_>>().join(" ");
        state.boots.insert(command.vm_instance_uuid.clone(), boots);
        state.domains.insert(command.vm_instance_uuid, "Running".into());
        Ok(vm::Started::default())
    })
    .await
}

async fn stop(cx: Cx<World>, command: vm::Stop) -> Outcome<vm::Stop> {
    obey::<vm::Stop>(&cx, |state| {
        off(state, &command.uuid);
        Ok(Done {})
    })
    .await
}

async fn pause(cx: Cx<World>, command: vm::Pause) -> Outcome<vm::Pause> {
    obey::<vm::Pause>(&cx, |state| {
        state.domains.insert(command.uuid, "Paused".into());
        Ok(Done {})
    })
    .await
}

async fn resume(cx: Cx<World>, command: vm::Resume) -> Outcome<vm::Resume> {
    obey::<vm::Resume>(&cx, |state| {
        state.domains.insert(command.uuid, "Running".into());
        Ok(Done {})
    })
    .await
}

async fn reboot(cx: Cx<World>, _: vm::Reboot) -> Outcome<vm::Reboot> {
    obey::<vm::Reboot>(&cx, |_| Ok(vm::Rebooted::default())).await
}

/// It is there again at once.
async fn restart_machine(cx: Cx<World>, _: machine::Reboot) -> Outcome<machine::Reboot> {
    obey::<machine::Reboot>(&cx, |_| Ok(Done {})).await
}

/// It is told, and stays: nobody would be there to switch it on.
async fn end_machine(cx: Cx<World>, _: machine::Shutdown) -> Outcome<machine::Shutdown> {
    obey::<machine::Shutdown>(&cx, |_| Ok(Done {})).await
}

async fn destroy(cx: Cx<World>, command: vm::Destroy) -> Outcome<vm::Destroy> {
    obey::<vm::Destroy>(&cx, |state| {
        off(state, &command.uuid);
        Ok(Done {})
    })
    .await
}
