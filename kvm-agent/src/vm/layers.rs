//! Merges the layers of volumes that a VM has open. The work is QEMU's: it goes on when the agent dies, is
//! found again by whoever repeats the command, and ends as a chain that can be read from the files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::snapshot::{Commit, Committed, JobTold, JobsTold, Merge, QueryJobs, Stream};

use super::{checked, disks, plug, snapshot};
use crate::localstorage;
use crate::state::Host;
use crate::sys::domain_xml::LiveDisk;
use crate::sys::libvirt::JobKind;

/// A job that makes no progress for so long is given up.
const STANDSTILL: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(200);

pub async fn merge(cx: Cx<Host>, cmd: Merge) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let disk = snapshot::disk(&plug::live(&cx, &uuid).await?, &uuid, &cmd.volume)?;
    match cmd.full_rebase {
        true => flatten(&cx, &uuid, &disk).await?,
        false => pull(&cx, &uuid, &disk, Some(&cmd.src_path)).await?,
    }
    Ok(Done {})
}

pub async fn stream(cx: Cx<Host>, cmd: Stream) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let disk = snapshot::disk(&plug::live(&cx, &uuid).await?, &uuid, &cmd.volume)?;
    flatten(&cx, &uuid, &disk).await?;
    Ok(Done {})
}

pub async fn commit(cx: Cx<Host>, cmd: Commit) -> Result<Committed, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let disk = snapshot::disk(&plug::live(&cx, &uuid).await?, &uuid, &cmd.volume)?;
    let chain = chain(&cx, &disk).await?;
    let place = |path: &str| chain.iter().position(|layer| layer == Path::new(path));
    let base = place(&cmd.base);
    match (place(&cmd.top), base) {
        (_, None) => {
            let (volume, base) = (&cmd.volume.volume_uuid, &cmd.base);
            return Err(Fault::new(format!(
                "volume {volume} does not stand on {base:?}: nothing can be written there"
            )));
        }
        // Committed already.
        (None, Some(_)) => {}
        (Some(top), Some(base)) if top >= base => {
            return Err(Fault::new(format!("{:?} does not stand on {:?}", cmd.top, cmd.base)));
        }
        (Some(top), Some(base)) => {
            let merged: Vec<PathBuf> = chain[top..=base].to_vec();
            localstorage::check_alone(&cx, merged, chain[..=base].to_vec()).await?;
            write_down(&cx, &uuid, &disk, &cmd, top == 0).await?;
        }
    }
    let live = plug::live(&cx, &uuid).await?;
    let file = snapshot::disk(&live, &uuid, &cmd.volume)?.file.unwrap_or_default();
    Ok(Committed { new_volume_install_path: file, size: localstorage::allocated(&cx, &cmd.base).await? })
}

pub async fn query_jobs(cx: Cx<Host>, cmd: QueryJobs) -> Result<JobsTold, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let mut jobs = Vec::new();
    for disk in plug::live(&cx, &uuid).await?.disks().into_iter().filter(|disk| !disk.is_cd_rom) {
        if let Some(job) = cx.libvirt.block_job(&uuid, &disk.target).await? {
            let (kind, volume_uuid) = (job.kind.as_str().to_owned(), disk.resource.unwrap_or_default());
            jobs.push(JobTold { volume_uuid, kind, done: job.done, total: job.total });
        }
    }
    Ok(JobsTold { jobs })
}

/// Copies into a disk all that it stands on.
pub(super) async fn flatten(cx: &Cx<Host>, uuid: &str, disk: &LiveDisk) -> Result<(), Fault> {
    pull(cx, uuid, disk, None).await
}

async fn pull(cx: &Cx<Host>, uuid: &str, disk: &LiveDisk, base: Option<&str>) -> Result<(), Fault> {
    let is_done = |chain: &[PathBuf]| chain.get(1).map(PathBuf::as_path) == base.map(Path::new);
    let before = chain(cx, disk).await?;
    if let Some(base) = base.filter(|base| !before.iter().skip(1).any(|layer| layer == Path::new(base))) {
        return Err(Fault::new(format!("{:?} does not stand on {base:?}", before[0])));
    }
    let running = cx.libvirt.block_job(uuid, &disk.target).await?;
    match running.map(|job| job.kind) {
        None if is_done(&before) => return Ok(()),
        None => cx.libvirt.pull(uuid, &disk.target, base).await?,
        Some(JobKind::Pull) => tracing::info!(vm = uuid, disk = disk.target, "a merge goes on"),
        Some(other) => return Err(busy(uuid, disk, other)),
    }
    wait(cx, uuid, disk, false).await?;
    if is_done(&chain(cx, disk).await?) {
        tracing::info!(vm = uuid, disk = disk.target, ?base, "layers merged");
        return Ok(());
    }
    Err(Fault::new(format!("the layers of {:?} were not merged: see libvirt's log of vm {uuid}", before[0])))
}

async fn write_down(
    cx: &Cx<Host>,
    uuid: &str,
    disk: &LiveDisk,
    cmd: &Commit,
    active: bool,
) -> Result<(), Fault> {
    match cx.libvirt.block_job(uuid, &disk.target).await?.map(|job| job.kind) {
        None => cx.libvirt.commit(uuid, &disk.target, &cmd.top, &cmd.base, active).await?,
        Some(JobKind::ActiveCommit) if active => {}
        Some(JobKind::Commit) if !active => {}
        Some(other) => return Err(busy(uuid, disk, other)),
    }
    wait(cx, uuid, disk, active).await?;
    let after = plug::live(cx, uuid).await?;
    let after = chain(cx, &snapshot::disk(&after, uuid, &cmd.volume)?).await?;
    if after.iter().any(|layer| layer == Path::new(&cmd.top)) {
        let top = &cmd.top;
        return Err(Fault::new(format!("{top:?} was not committed: see libvirt's log of vm {uuid}")));
    }
    tracing::info!(vm = uuid, disk = disk.target, top = cmd.top, base = cmd.base, "layers committed");
    Ok(())
}

/// Until the disk's job is over; `pivot`: until it waits at its end, and is told to end there.
async fn wait(cx: &Cx<Host>, uuid: &str, disk: &LiveDisk, pivot: bool) -> Result<(), Fault> {
    let (mut seen, mut since) = (0, Instant::now());
    while let Some(job) = cx.libvirt.block_job(uuid, &disk.target).await? {
        // Once no more is left, QEMU may still need a moment until it is ready.
        if pivot && job.is_ready() && job.total > 0 {
            match cx.libvirt.pivot(uuid, &disk.target).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(vm = uuid, %error, "not ready to pivot"),
            }
        }
        if cx.superseded().is_cancelled() {
            cx.libvirt.cancel_block_job(uuid, &disk.target).await?;
            return Err(cx.stopped());
        }
        if job.done != seen {
            (seen, since) = (job.done, Instant::now());
        }
        if since.elapsed() > STANDSTILL {
            cx.libvirt.cancel_block_job(uuid, &disk.target).await?;
            let (file, seconds) = (disk.file.as_deref().unwrap_or_default(), STANDSTILL.as_secs());
            return Err(Fault::new(format!("merging {file:?} made no progress for {seconds} s: given up")));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn chain(cx: &Cx<Host>, disk: &LiveDisk) -> Result<Vec<PathBuf>, Fault> {
    let (storages, file) = (cx.storages.all().await, disk.file.clone().unwrap_or_default());
    tokio::task::spawn_blocking(move || disks::chain(&storages, &file)).await?
}

fn busy(uuid: &str, disk: &LiveDisk, kind: JobKind) -> Fault {
    let (target, kind) = (&disk.target, kind.as_str());
    Fault::new(format!("disk {target} of vm {uuid} is busy with a {kind}: wait for its end"))
}
