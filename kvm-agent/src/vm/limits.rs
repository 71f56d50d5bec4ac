//! How much of the host a running VM gets: bandwidth of disks and NICs, priority, pinning.

use serde_json::{Map, Value};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::tuning::{
    DeleteVolumeBandwidth, GetNicQos, GetVolumeBandwidth, NicQos, PinEmulator, SetNicQos, SetPriority,
    SetVolumeBandwidth, VolumeBandwidth,
};
use wire::calls::vm::{Nic, Volume};

use super::{checked, plug};
use crate::state::Host;
use crate::sys::libvirt::IoTune;
use crate::sys::shaping::{self, Direction};
use crate::sys::{oom, qemu_process};

pub async fn set_volume_bandwidth(cx: Cx<Host>, cmd: SetVolumeBandwidth) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let target = target(&cx, &uuid, &cmd.volume).await?;
    let now = cx.libvirt.io_tune(&uuid, &target).await?;
    let next = limited(now, &cmd)?;
    if next != now {
        cx.libvirt.set_io_tune(&uuid, &target, next).await?;
    }
    Ok(Done {})
}

pub async fn delete_volume_bandwidth(cx: Cx<Host>, cmd: DeleteVolumeBandwidth) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let target = target(&cx, &uuid, &cmd.volume).await?;
    let mut tune = cx.libvirt.io_tune(&uuid, &target).await?;
    match cmd.mode.as_str() {
        "" | "all" => tune = IoTune::default(),
        "total" => (tune.total_bytes, tune.total_iops) = (0, 0),
        "read" => (tune.read_bytes, tune.read_iops) = (0, 0),
        "write" => (tune.write_bytes, tune.write_iops) = (0, 0),
        other => return Err(unknown_mode(other)),
    }
    cx.libvirt.set_io_tune(&uuid, &target, tune).await?;
    Ok(Done {})
}

pub async fn get_volume_bandwidth(cx: Cx<Host>, cmd: GetVolumeBandwidth) -> Result<VolumeBandwidth, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let target = target(&cx, &uuid, &cmd.volume).await?;
    let tune = cx.libvirt.io_tune(&uuid, &target).await?;
    let told = |limit: u64| i64::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(-1);
    Ok(VolumeBandwidth {
        band_width: told(tune.total_bytes),
        band_width_read: told(tune.read_bytes),
        band_width_write: told(tune.write_bytes),
        iops_total: told(tune.total_iops),
        iops_read: told(tune.read_iops),
        iops_write: told(tune.write_iops),
    })
}

pub async fn set_nic_qos(cx: Cx<Host>, cmd: SetNicQos) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    tap(&cx, &uuid, &cmd.internal_name).await?;
    shape(&cmd.internal_name, cmd.inbound_bandwidth, cmd.outbound_bandwidth).await?;
    Ok(Done {})
}

pub async fn get_nic_qos(cx: Cx<Host>, cmd: GetNicQos) -> Result<NicQos, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    tap(&cx, &uuid, &cmd.internal_name).await?;
    let told = |rate: Option<u64>| rate.and_then(|rate| i64::try_from(rate).ok()).unwrap_or(-1);
    Ok(NicQos {
        inbound: told(shaping::rate(&cmd.internal_name, Direction::ToVm).await?),
        outbound: told(shaping::rate(&cmd.internal_name, Direction::FromVm).await?),
    })
}

pub async fn set_priority(cx: Cx<Host>, cmd: SetPriority) -> Result<Done, Fault> {
    for priority in cmd.priority_config_structs {
        let uuid = checked(&priority.vm_uuid)?;
        let _one = cx.vms.lock(uuid.clone()).await;
        plug::live(&cx, &uuid).await?;
        if priority.cpu_shares > 0 {
            cx.libvirt.set_cpu_shares(&uuid, priority.cpu_shares.clamp(2, 10_000)).await?;
        }
        set_oom(uuid, priority.oom_score_adj).await?;
    }
    Ok(Done {})
}

pub async fn pin_emulator(cx: Cx<Host>, cmd: PinEmulator) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let cpus = cpu_list(&cmd.emulator_pinning)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    plug::live(&cx, &uuid).await?;
    cx.libvirt.pin_emulator(&uuid, cpus).await?;
    Ok(Done {})
}

/// What `addons.NicQos` says of these NICs.
pub(super) async fn apply_nic_qos(addons: &Map<String, Value>, nics: &[Nic]) -> Result<(), Fault> {
    let Some(all) = addons.get("NicQos") else { return Ok(()) };
    for nic in nics {
        let Some(qos) = all.get(&nic.uuid) else { continue };
        let limit = |name: &str| qos.get(name).and_then(Value::as_i64);
        shape(&nic.nic_internal_name, limit("inboundBandwidth"), limit("outboundBandwidth")).await?;
    }
    Ok(())
}

/// Removes what limited NICs that are gone. What is left is tried again with the next VM.
pub(super) async fn tidy() {
    if let Err(error) = shaping::tidy().await {
        tracing::warn!(%error, "cannot remove what limited a nic");
    }
}

async fn target(cx: &Cx<Host>, uuid: &str, volume: &Volume) -> Result<String, Fault> {
    let volume = plug::resource("volume", &volume.volume_uuid)?;
    let disk = plug::live(cx, uuid).await?.volume(&volume);
    let disk = disk.ok_or_else(|| Fault::new(format!("volume {volume} is not attached to vm {uuid}")))?;
    Ok(disk.target)
}

async fn tap(cx: &Cx<Host>, uuid: &str, name: &str) -> Result<(), Fault> {
    let nics = plug::live(cx, uuid).await?.nics();
    if nics.iter().any(|nic| nic.tap.as_deref() == Some(name)) {
        return Ok(());
    }
    Err(Fault::new(format!("vm {uuid} has no nic {name:?}: attach it first")))
}

fn limited(now: IoTune, cmd: &SetVolumeBandwidth) -> Result<IoTune, Fault> {
    let mode = cmd.mode.as_str();
    if !matches!(mode, "" | "all" | "total" | "read" | "write") {
        return Err(unknown_mode(mode));
    }
    let chosen = |of: &str, told: Option<i64>| told.filter(|_| matches!(mode, "" | "all") || mode == of);
    let mut next = now;
    for (field, told) in [
        (&mut next.total_bytes, chosen("total", cmd.total_bandwidth)),
        (&mut next.read_bytes, chosen("read", cmd.read_bandwidth)),
        (&mut next.write_bytes, chosen("write", cmd.write_bandwidth)),
        (&mut next.total_iops, chosen("total", cmd.total_iops)),
        (&mut next.read_iops, chosen("read", cmd.read_iops)),
        (&mut next.write_iops, chosen("write", cmd.write_iops)),
    ] {
        *field = told.map_or(*field, |told| u64::try_from(told).unwrap_or(0));
    }
    let is_set = |told: Option<i64>| told.is_some_and(|told| told > 0);
    // QEMU takes a limit of the sum or limits of the parts; the newest word counts.
    if is_set(chosen("total", cmd.total_bandwidth)) {
        (next.read_bytes, next.write_bytes) = (0, 0);
    } else if next.read_bytes + next.write_bytes > 0 {
        next.total_bytes = 0;
    }
    if is_set(chosen("total", cmd.total_iops)) {
        (next.read_iops, next.write_iops) = (0, 0);
    } else if next.read_iops + next.write_iops > 0 {
        next.total_iops = 0;
    }
    Ok(next)
}

fn unknown_mode(mode: &str) -> Fault {
    Fault::new(format!("mode {mode:?} is not known: use total, read or write"))
}

async fn shape(tap: &str, inbound: Option<i64>, outbound: Option<i64>) -> Result<(), Fault> {
    for (direction, told) in [(Direction::ToVm, inbound), (Direction::FromVm, outbound)] {
        if let Some(told) = told {
            shaping::limit(tap, direction, u64::try_from(told).ok().filter(|&rate| rate > 0)).await?;
        }
    }
    Ok(())
}

async fn set_oom(uuid: String, score: i32) -> Result<(), Fault> {
    let score = score.clamp(-1000, 1000);
    tokio::task::spawn_blocking(move || match qemu_process::find(&uuid)? {
        Some(pid) => oom::set_score(pid, score),
        None => Ok(()),
    })
    .await??;
    Ok(())
}

/// `0-3,5` as one flag for each CPU.
pub(super) fn cpu_list(text: &str) -> Result<Vec<bool>, Fault> {
    const MOST: usize = 4096;
    let unsound = || Fault::new(format!("{text:?} is no list of cpus such as 0-3,5"));
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| unsound())?;
        let last: usize = last.trim().parse().map_err(|_| unsound())?;
        if first > last || last >= MOST {
            return Err(unsound());
        }
        cpus.resize(cpus.len().max(last + 1), false);
        cpus.iter_mut().take(last + 1).skip(first).for_each(|cpu| *cpu = true);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_sum_and_limits_of_the_parts_exclude_each_other() {
        let now = IoTune { total_bytes: 5, ..IoTune::default() };
        let read = SetVolumeBandwidth { read_bandwidth: Some(7), ..Default::default() };
        let next = limited(now, &read).unwrap();
        assert_eq!((next.total_bytes, next.read_bytes), (0, 7));
        let total = SetVolumeBandwidth {
            mode: "total".into(),
            total_bandwidth: Some(9),
            read_bandwidth: Some(1),
            ..Default::default()
        };
        let next = limited(next, &total).unwrap();
        assert_eq!((next.total_bytes, next.read_bytes), (9, 0));
        let lifted = SetVolumeBandwidth { total_bandwidth: Some(-1), ..Default::default() };
        assert_eq!(limited(next, &lifted).unwrap(), IoTune::default());
        assert!(limited(now, &SetVolumeBandwidth { mode: "x".into(), ..Default::default() }).is_err());
    }

    #[test]
    fn a_list_of_cpus_is_read() {
        assert_eq!(cpu_list("0,2-3").unwrap(), [true, false, true, true]);
        for unsound in ["", "a", "3-1", "99999"] {
            assert!(cpu_list(unsound).is_err(), "{unsound}");
        }
    }
}
