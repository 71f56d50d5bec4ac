//! Gives a running VM more: CPUs, memory, room on a disk. Nothing is ever taken away, and the numbers are
//! those to reach, not to add: a repeated command finds them reached.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::device::{Resize, Resized};
use wire::calls::tuning::{
    ChangeCpuMemory, CpuIncreased, CpuMemoryChanged, IncreaseCpu, IncreaseMemory, MemoryIncreased,
};

use super::{checked, plug};
use crate::state::Host;
use crate::sys::domain_xml;

/// What guests can plug in: Linux takes whole blocks of this size.
const MEMORY_STEP: u64 = 128 << 20;

pub async fn increase_cpu(cx: Cx<Host>, cmd: IncreaseCpu) -> Result<CpuIncreased, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    Ok(CpuIncreased { cpu_num: cpus(&cx, &uuid, cmd.cpu_num).await? })
}

pub async fn increase_memory(cx: Cx<Host>, cmd: IncreaseMemory) -> Result<MemoryIncreased, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    Ok(MemoryIncreased { memory_size: memory(&cx, &uuid, cmd.memory_size).await? })
}

pub async fn change_cpu_memory(cx: Cx<Host>, cmd: ChangeCpuMemory) -> Result<CpuMemoryChanged, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let memory_size = memory(&cx, &uuid, cmd.memory_size).await?;
    Ok(CpuMemoryChanged { cpu_num: cpus(&cx, &uuid, cmd.cpu_num).await?, memory_size })
}

pub async fn resize(cx: Cx<Host>, cmd: Resize) -> Result<Resized, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let volume = plug::resource("volume", &cmd.volume.volume_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let disk = plug::live(&cx, &uuid).await?.volume(&volume);
    let disk = disk.ok_or_else(|| Fault::new(format!("volume {volume} is not attached to vm {uuid}")))?;
    let now = cx.libvirt.disk_size(&uuid, &disk.target).await?;
    if cmd.size < now {
        let reason = format!("volume {volume} has {now} bytes and cannot shrink to {}", cmd.size);
        return Err(Fault::new(reason));
    }
    if cmd.size > now {
        cx.libvirt.resize_disk(&uuid, &disk.target, cmd.size).await?;
        tracing::info!(vm = uuid, volume, size = cmd.size, "volume resized");
    }
    Ok(Resized { size: cx.libvirt.disk_size(&uuid, &disk.target).await? })
}

async fn cpus(cx: &Cx<Host>, uuid: &str, wanted: u32) -> Result<u32, Fault> {
    let (now, most) = plug::live(cx, uuid).await?.vcpus();
    match wanted {
        wanted if wanted == now => return Ok(now),
        wanted if wanted < now => {
            return Err(Fault::new(format!(
                "vm {uuid} has {now} cpus and cannot go down to {wanted} while it runs"
            )));
        }
        wanted if wanted > most => return Err(no_room(uuid, "cpus", most.into())),
        _ => cx.libvirt.set_vcpus(uuid, wanted).await?,
    }
    tracing::info!(vm = uuid, cpus = wanted, "cpus plugged in");
    Ok(plug::live(cx, uuid).await?.vcpus().0)
}

async fn memory(cx: &Cx<Host>, uuid: &str, wanted: u64) -> Result<u64, Fault> {
    let (now, most) = plug::live(cx, uuid).await?.memory();
    if wanted < now {
        let reason =
            format!("vm {uuid} has {now} bytes of memory and cannot go down to {wanted} while it runs");
        return Err(Fault::new(reason));
    }
    if wanted > most {
        return Err(no_room(uuid, "bytes of memory", most));
    }
    let more = (wanted - now).next_multiple_of(MEMORY_STEP);
    if more == 0 {
        return Ok(now);
    }
    if now + more > most {
        return Err(no_room(uuid, "bytes of memory (in steps of 128 MiB)", most));
    }
    cx.libvirt.attach(uuid, "plug memory in", domain_xml::dimm(more)?).await?;
    tracing::info!(vm = uuid, bytes = now + more, "memory plugged in");
    Ok(plug::live(cx, uuid).await?.memory().0)
}

fn no_room(uuid: &str, what: &str, most: u64) -> Fault {
    Fault::new(format!(
        "vm {uuid} was started with room for {most} {what}: stop it, and start it with more (useNuma, maxVcpuNum, \
         maxMemory)"
    ))
}
