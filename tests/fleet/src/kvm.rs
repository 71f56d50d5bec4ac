//! The kvm-agent's part.

use std::sync::Arc;

use wire::agent::{Cx, Routes};
use wire::calls::{Done, host, localstorage, network, vm};
use wire::{Call, Fault};

use crate::{Size, World, lock, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

const CAPACITY: Option<u64> = Some(1 << 40);

pub(crate) fn routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world))
        .on(fact)
        .on(connect)
        .on(capacity)
        .on(ping)
        .on(check_interfaces)
        .on(create_bridge)
        .on(delete_bridge)
        .on(init)
        .on(download)
        .on(clone_volume)
        .on(delete)
        .on(delete_dir)
        .on(start)
        .on(stop)
        .on(pause)
        .on(resume)
        .on(reboot)
        .on(destroy)
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
        state.bridges.insert(command.bridge_name);
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

async fn delete(cx: Cx<World>, command: localstorage::Delete) -> Outcome<localstorage::Delete> {
    obey::<localstorage::Delete>(&cx, |state| {
        state.volumes.remove(&command.path);
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
    obey::<vm::Start>(&cx, |state| {
        if !state.volumes.contains(&command.root_volume.install_path) {
            return Err(Fault::new("the root volume is not there"));
        }
        if let Some(nic) = command.nics.iter().find(|nic| !state.bridges.contains(&nic.bridge_name)) {
            return Err(Fault::new(format!("there is no bridge {}", nic.bridge_name)));
        }
        state.domains.insert(command.vm_instance_uuid, "Running".into());
        Ok(vm::Started::default())
    })
    .await
}

async fn stop(cx: Cx<World>, command: vm::Stop) -> Outcome<vm::Stop> {
    obey::<vm::Stop>(&cx, |state| {
        state.domains.remove(&command.uuid);
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

async fn destroy(cx: Cx<World>, command: vm::Destroy) -> Outcome<vm::Destroy> {
    obey::<vm::Destroy>(&cx, |state| {
        state.domains.remove(&command.uuid);
        Ok(Done {})
    })
    .await
}
