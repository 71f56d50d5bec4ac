//! What the kvm-agent changes of a VM that runs, and tells of it.

use std::collections::BTreeMap;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::{Done, device, guest, tuning, vm};

use crate::kvm::Outcome;
use crate::{State, World, lock, obey};

/// The smallest picture there is.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgo=";

fn must_run(state: &State, vm: &str) -> Result<(), Fault> {
    match state.domains.contains_key(vm) {
        true => Ok(()),
        false => Err(Fault::new(format!("vm {vm} is not running on this host"))),
    }
}

/// What a start brings with it beside disks and NICs.
pub(crate) fn begin(state: &mut State, command: &vm::Start) -> Result<(), Fault> {
    let uuid = &command.vm_instance_uuid;
    for drive in command.cd_roms.iter().filter(|drive| !drive.is_empty) {
        let path = drive.path.clone().unwrap_or_default();
        load(state, uuid, drive.device_id, &path)?;
    }
    let most = match command.use_numa {
        true => [command.max_vcpu_num.into(), command.max_memory],
        false => [command.cpu_num.into(), command.memory],
    };
    state.sizes.insert(uuid.clone(), [command.cpu_num.into(), command.memory, most[0], most[1]]);
    match &command.seed {
        Some(seed) => state.seeds.insert(uuid.clone(), serde_json::to_string(seed).unwrap_or_default()),
        None => state.seeds.remove(uuid),
    };
    if let Some(priority) = &command.priority_config_struct {
        state.shares.insert(uuid.clone(), priority.cpu_shares);
    }
    Ok(())
}

fn load(state: &mut State, vm: &str, drive: u32, path: &str) -> Result<(), Fault> {
    if !state.cache.contains(path) {
        return Err(Fault::new(format!("{path:?} is not there")));
    }
    empty(state, vm, drive);
    state.cd_roms.insert(format!("{vm} {drive} {path}"));
    Ok(())
}

fn empty(state: &mut State, vm: &str, drive: u32) {
    let place = format!("{vm} {drive} ");
    state.cd_roms.retain(|disc| !disc.starts_with(&place));
}

pub(crate) async fn attach_iso(cx: Cx<World>, command: device::AttachIso) -> Outcome<device::AttachIso> {
    obey::<device::AttachIso>(&cx, |state| {
        must_run(state, &command.vm_uuid)?;
        load(state, &command.vm_uuid, command.iso.device_id, &command.iso.path)?;
        Ok(Done {})
    })
    .await
}

pub(crate) async fn detach_iso(cx: Cx<World>, command: device::DetachIso) -> Outcome<device::DetachIso> {
    obey::<device::DetachIso>(&cx, |state| {
        empty(state, &command.vm_uuid, command.device_id);
        Ok(Done {})
    })
    .await
}

pub(crate) async fn change_nic_state(
    cx: Cx<World>,
    command: device::ChangeNicState,
) -> Outcome<device::ChangeNicState> {
    obey::<device::ChangeNicState>(&cx, |state| {
        must_run(state, &command.vm_uuid)?;
        match command.state.as_str() {
            "enable" => state.down.remove(&command.nic.uuid),
            _ => state.down.insert(command.nic.uuid),
        };
        Ok(Done {})
    })
    .await
}

pub(crate) async fn move_nic(cx: Cx<World>, command: device::UpdateNic) -> Outcome<device::UpdateNic> {
    obey::<device::UpdateNic>(&cx, |state| {
        must_run(state, &command.vm_instance_uuid)?;
        for nic in command.nics {
            if !state.bridges.contains_key(&nic.bridge_name) {
                return Err(Fault::new(format!("there is no bridge {}", nic.bridge_name)));
            }
            state.plugs.insert(nic.uuid, nic.bridge_name);
        }
        Ok(Done {})
    })
    .await
}

/// The CPUs (0) or bytes (1) of the VM become so many.
fn grow(state: &mut State, vm: &str, which: usize, wanted: u64) -> Result<(), Fault> {
    must_run(state, vm)?;
    let size = state.sizes.get_mut(vm).ok_or_else(|| Fault::new("a vm without a size"))?;
    let (now, most) = (size[which], size[which + 2]);
    match wanted {
        wanted if wanted < now => {
            Err(Fault::new(format!("vm {vm} has {now} and cannot go down to {wanted}")))
        }
        wanted if wanted > most => Err(Fault::new(format!("vm {vm} was started with room for {most}"))),
        wanted => {
            size[which] = wanted;
            Ok(())
        }
    }
}

pub(crate) async fn increase_cpu(
    cx: Cx<World>,
    command: tuning::IncreaseCpu,
) -> Outcome<tuning::IncreaseCpu> {
    obey::<tuning::IncreaseCpu>(&cx, |state| {
        grow(state, &command.vm_uuid, 0, command.cpu_num.into())?;
        Ok(tuning::CpuIncreased { cpu_num: command.cpu_num })
    })
    .await
}

pub(crate) async fn increase_memory(
    cx: Cx<World>,
    command: tuning::IncreaseMemory,
) -> Outcome<tuning::IncreaseMemory> {
    obey::<tuning::IncreaseMemory>(&cx, |state| {
        grow(state, &command.vm_uuid, 1, command.memory_size)?;
        Ok(tuning::MemoryIncreased { memory_size: command.memory_size })
    })
    .await
}

pub(crate) async fn trim(cx: Cx<World>, command: guest::Trim) -> Outcome<guest::Trim> {
    obey::<guest::Trim>(&cx, |state| must_run(state, &command.vm_uuid).map(|()| Done {})).await
}

pub(crate) async fn set_priority(
    cx: Cx<World>,
    command: tuning::SetPriority,
) -> Outcome<tuning::SetPriority> {
    obey::<tuning::SetPriority>(&cx, |state| {
        for priority in command.priority_config_structs {
            must_run(state, &priority.vm_uuid)?;
            state.shares.insert(priority.vm_uuid, priority.cpu_shares);
        }
        Ok(Done {})
    })
    .await
}

pub(crate) async fn screenshot(cx: Cx<World>, command: guest::Screenshot) -> Outcome<guest::Screenshot> {
    must_run(&lock(&cx.state), &command.vm_uuid)?;
    Ok(guest::ScreenshotTaken { image_data: PICTURE.into() })
}

pub(crate) async fn vnc_port(cx: Cx<World>, command: vm::GetVncPort) -> Outcome<vm::GetVncPort> {
    must_run(&lock(&cx.state), &command.vm_uuid)?;
    Ok(vm::VncPort { port: 5900, protocol: "vnc".into(), vnc_port: Some(5900) })
}

pub(crate) async fn device_address(
    cx: Cx<World>,
    command: device::GetDeviceAddress,
) -> Outcome<device::GetDeviceAddress> {
    must_run(&lock(&cx.state), &command.uuid)?;
    let told = |volumes: Vec<vm::Volume>| volumes.into_iter().zip(4..).map(address).collect();
    let all = command.device_tos.into_iter().map(|(kind, volumes)| (kind, told(volumes)));
    Ok(device::AddressesTold { addresses: all.collect::<BTreeMap<_, _>>() })
}

fn address((volume, slot): (vm::Volume, u32)) -> device::AddressTold {
    device::AddressTold {
        uuid: volume.volume_uuid,
        device_type: "disk".into(),
        address_type: "pci".into(),
        address: format!("0000:{slot:02}:00.0"),
        ..Default::default()
    }
}
