//! Threads that do the input and output of a running VM's disks, and where on the host they are.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::tuning::{
    DeleteIoThread, GetIoThreads, IoThread, IoThreads, PinnedIoThread, SetIoThreadPin,
};

use super::limits::cpu_list;
use super::{checked, plug};
use crate::state::Host;

pub async fn set_io_thread_pin(cx: Cx<Host>, cmd: SetIoThreadPin) -> Result<IoThread, Fault> {
    let (uuid, id) = (checked(&cmd.vm_uuid)?, sound(cmd.io_thread_id)?);
    let cpus = cpu_list(&cmd.pin).map_err(|fault| Fault::new(format!("pin: {}", fault.error)))?;
    let _one = cx.vms.lock(uuid.clone()).await;
    plug::live(&cx, &uuid).await?;
    let there = cx.libvirt.io_threads(&uuid).await?.iter().any(|thread| thread.id == id);
    if !there {
        cx.libvirt.add_io_thread(&uuid, id).await?;
    }
    cx.libvirt.pin_io_thread(&uuid, id, cpus).await?;
    Ok(IoThread { io_thread_id: id })
}

pub async fn delete_io_thread(cx: Cx<Host>, cmd: DeleteIoThread) -> Result<IoThread, Fault> {
    let (uuid, id) = (checked(&cmd.vm_uuid)?, sound(cmd.io_thread_id)?);
    let _one = cx.vms.lock(uuid.clone()).await;
    plug::live(&cx, &uuid).await?;
    if cx.libvirt.io_threads(&uuid).await?.iter().any(|thread| thread.id == id) {
        cx.libvirt.delete_io_thread(&uuid, id).await?;
    }
    Ok(IoThread { io_thread_id: id })
}

pub async fn get_io_threads(cx: Cx<Host>, cmd: GetIoThreads) -> Result<IoThreads, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    plug::live(&cx, &uuid).await?;
    let told = |thread: crate::sys::libvirt::IoThread| PinnedIoThread {
        io_thread_id: thread.id,
        pin: spans(&thread.cpus),
    };
    let threads = cx.libvirt.io_threads(&uuid).await?;
    Ok(IoThreads { io_thread_info: threads.into_iter().map(told).collect() })
}

fn sound(id: u32) -> Result<u32, Fault> {
    if id > 0 { Ok(id) } else { Err(Fault::new("ioThreadId 0 is none: they are numbered from 1")) }
}

/// `0-3,5`.
fn spans(cpus: &[bool]) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (cpu, _) in cpus.iter().enumerate().filter(|(_, on)| **on) {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => spans.push((cpu, cpu)),
        }
    }
    let told = |(first, last): (usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    spans.into_iter().map(told).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_told_as_they_are_asked_for() {
        for text in ["0-3,5", "1", "0,2,4-7"] {
            assert_eq!(spans(&cpu_list(text).unwrap()), text);
        }
    }
}
