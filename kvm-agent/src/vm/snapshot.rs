//! Snapshots of volumes, taken: what was the volume's file stays as it is, and the volume goes on in a new
//! file that stands on it.
//!
//! Of a running VM, the new file is made first, whole and durable, and then handed to QEMU. Whoever repeats
//! the command finds the VM in the new file (done), or still in the old one: then the new file holds nothing
//! that anybody has written, and is made again.

use std::collections::BTreeMap;
use std::path::Path;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::snapshot::{Check, Job, Take, TakeMany, Taken, TakenMany, TakenOne};
use wire::calls::vm::Volume;

use super::{checked, disks, layers, plug};
use crate::localstorage::{self, Format};
use crate::state::Host;
use crate::sys::domain_xml::{self, Live, LiveDisk};
use crate::sys::libvirt::State;

/// One volume and where it goes on.
struct Step {
    volume: Volume,
    previous: String,
    next: String,
}

pub async fn take(cx: Cx<Host>, cmd: Take) -> Result<Taken, Fault> {
    let vm = cmd.vm_uuid.as_deref().filter(|uuid| !uuid.is_empty()).map(checked).transpose()?;
    let Some(uuid) = vm else { return take_offline(&cx, &cmd).await };
    let _one = cx.vms.lock(uuid.clone()).await;
    if !is_up(&cx, &uuid).await? {
        return take_offline(&cx, &cmd).await;
    }
    let previous = cmd.volume_install_path.clone();
    if cmd.full_snapshot {
        let live = plug::live(&cx, &uuid).await?;
        let disk = disk(&live, &uuid, &cmd.volume)?;
        if disk.file.as_deref() == Some(previous.as_str()) {
            layers::flatten(&cx, &uuid, &disk).await?;
        }
    }
    let step = Step { volume: cmd.volume, previous, next: cmd.install_path };
    go_on(&cx, &uuid, std::slice::from_ref(&step)).await?;
    taken(&cx, step.previous, step.next).await
}

/// All volumes of one VM at one moment; those of VMs that are off one after another.
pub async fn take_many(cx: Cx<Host>, cmd: TakeMany) -> Result<TakenMany, Fault> {
    let mut vms: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    let mut snapshots = Vec::new();
    for job in cmd.snapshot_jobs {
        let vm = job.vm_instance_uuid.as_deref().filter(|uuid| !uuid.is_empty()).map(checked).transpose()?;
        let up = match &vm {
            Some(uuid) => is_up(&cx, uuid).await?,
            None => false,
        };
        match vm.filter(|_| up) {
            Some(uuid) => vms.entry(uuid).or_default().push(step_of(job)),
            None => snapshots.push(take_one_offline(&cx, job).await?),
        }
    }
    for (uuid, steps) in vms {
        let _one = cx.vms.lock(uuid.clone()).await;
        go_on(&cx, &uuid, &steps).await?;
        for step in steps {
            let volume = step.volume.volume_uuid;
            snapshots.push(told(volume, taken(&cx, step.previous, step.next).await?));
        }
    }
    Ok(TakenMany { snapshots })
}

/// Whether the chain of a volume is what the command says.
pub async fn check(cx: Cx<Host>, cmd: Check) -> Result<Done, Fault> {
    let storages = cx.storages.all().await;
    tokio::task::spawn_blocking(move || {
        let chain = disks::chain(&storages, &cmd.current_install_path)?;
        let holds = |path: &String| chain.iter().position(|layer| layer == Path::new(path));
        if let Some(path) = cmd.exclude_install_paths.iter().find(|path| holds(path).is_some()) {
            return Err(Fault::new(format!(
                "volume {} stands on {path:?}, which it must not",
                cmd.volume_uuid
            )));
        }
        let mut expected: Vec<(i64, String)> =
            cmd.volume_chain_to_check.into_iter().map(|(path, place)| (place, path)).collect();
        expected.sort_by(|a, b| b.cmp(a));
        let mut from = 0;
        for (_, path) in expected {
            match holds(&path).filter(|place| *place >= from) {
                Some(place) => from = place,
                None => {
                    let volume = &cmd.volume_uuid;
                    return Err(Fault::new(format!(
                        "{path:?} has not its place in the chain of volume {volume}"
                    )));
                }
            }
        }
        Ok(Done {})
    })
    .await?
}

/// The disk of a volume, by its uuid or its file.
pub(super) fn disk(live: &Live, uuid: &str, volume: &Volume) -> Result<LiveDisk, Fault> {
    let by_file = || {
        let is_it = |disk: &LiveDisk| disk.file.as_deref() == Some(volume.install_path.as_str());
        live.disks().into_iter().find(is_it)
    };
    let missing = || Fault::new(format!("volume {} is not attached to vm {uuid}", volume.volume_uuid));
    live.volume(&volume.volume_uuid).or_else(by_file).ok_or_else(missing)
}

async fn is_up(cx: &Cx<Host>, uuid: &str) -> Result<bool, Fault> {
    match cx.libvirt.find(uuid).await?.map(|domain| domain.state) {
        None | Some(State::Off) => Ok(false),
        Some(State::Running | State::Paused) => Ok(true),
        Some(state) => Err(Fault::new(format!(
            "vm {uuid} is {}: a snapshot is taken of one that runs, is paused or is off",
            state.as_str()
        ))),
    }
}

async fn go_on(cx: &Cx<Host>, uuid: &str, steps: &[Step]) -> Result<(), Fault> {
    let live = plug::live(cx, uuid).await?;
    let mut pending = Vec::new();
    for step in steps {
        let disk = disk(&live, uuid, &step.volume)?;
        match disk.file.as_deref() {
            Some(file) if file == step.next => {}
            Some(file) if file == step.previous => {
                localstorage::fresh_overlay(cx, &step.next, &step.previous, format(&step.volume)?).await?;
                pending.push((disk.target, step.next.clone()));
            }
            file => {
                let (volume, previous) = (&step.volume.volume_uuid, &step.previous);
                let file = file.unwrap_or("nowhere");
                return Err(Fault::new(format!("volume {volume} is at {file:?}, not at {previous:?}")));
            }
        }
    }
    if pending.is_empty() {
        return Ok(());
    }
    cx.libvirt.snapshot_disks(uuid, domain_xml::snapshot(&live, &pending)?).await?;
    tracing::info!(vm = uuid, volumes = pending.len(), "snapshot taken");
    Ok(())
}

async fn take_offline(cx: &Cx<Host>, cmd: &Take) -> Result<Taken, Fault> {
    let (previous, format) = (&cmd.volume_install_path, format(&cmd.volume)?);
    let next = match cmd.new_volume_install_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => path.to_owned(),
        None => localstorage::sibling(&cmd.install_path, cx.task().id.as_str()),
    };
    let snapshot = match cmd.full_snapshot {
        true => {
            localstorage::copy(cx, previous, format, &cmd.install_path).await?;
            localstorage::overlay(cx, &next, &cmd.install_path, Format::Qcow2).await?;
            cmd.install_path.clone()
        }
        false => {
            localstorage::overlay(cx, &next, previous, format).await?;
            previous.clone()
        }
    };
    taken(cx, snapshot, next).await
}

async fn take_one_offline(cx: &Cx<Host>, job: Job) -> Result<TakenOne, Fault> {
    let volume = job.volume_uuid.clone();
    let next = job.new_volume_install_path.filter(|path| !path.is_empty());
    let cmd = Take {
        volume_uuid: job.volume_uuid,
        volume: job.volume,
        full_snapshot: job.full,
        volume_install_path: job.previous_install_path,
        new_volume_install_path: Some(next.unwrap_or_else(|| job.install_path.clone())).filter(|_| !job.full),
        install_path: job.install_path,
        ..Take::default()
    };
    Ok(told(volume, take_offline(cx, &cmd).await?))
}

fn step_of(job: Job) -> Step {
    Step { volume: job.volume, previous: job.previous_install_path, next: job.install_path }
}

fn told(volume_uuid: String, taken: Taken) -> TakenOne {
    TakenOne {
        volume_uuid,
        previous_install_path: taken.snapshot_install_path,
        install_path: taken.new_volume_install_path,
        size: taken.size,
    }
}

async fn taken(cx: &Cx<Host>, snapshot: String, next: String) -> Result<Taken, Fault> {
    let size = localstorage::allocated(cx, &snapshot).await?;
    Ok(Taken { new_volume_install_path: next, snapshot_install_path: snapshot, size })
}

fn format(volume: &Volume) -> Result<Format, Fault> {
    match volume.format.as_str() {
        "" | "qcow2" => Ok(Format::Qcow2),
        "raw" => Ok(Format::Raw),
        other => Err(Fault::new(format!("volume {} has format {other:?}", volume.volume_uuid))),
    }
}
