//! Plugs volumes and NICs into a running VM, and takes them out again.
//!
//! A device carries its resource's uuid as its alias: it is found by it, so that a repeated command finds
//! what the first one did. Taking out is a request to the guest: it is repeated, and waited for, until the
//! device is gone, [`RELEASE`] is over or a later owner of the VM has come; then nothing has changed but that the
//! guest was asked.

use std::time::Duration;

use tokio::time::Instant;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::device::{
    AttachNic, AttachVolume, Attached, ChangeNicState, DetachNic, DetachVolume, UpdateNic,
};
use wire::calls::vm::{DeviceInfo, Nic};

use super::{checked, disks, limits, not_here, start};
use crate::state::Host;
use crate::sys::domain_xml::{self, Live, LiveNic, alias_of, edit, is_uuid};
use crate::sys::libvirt::State;

/// How long a guest may take to let go of a device.
const RELEASE: Duration = Duration::from_secs(30);
/// A guest that was booting when it was asked has not heard.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

pub async fn attach_volume(cx: Cx<Host>, cmd: AttachVolume) -> Result<Attached, Fault> {
    let (uuid, volume) = (checked(&cmd.vm_instance_uuid)?, resource("volume", &cmd.volume.volume_uuid)?);
    let _one = cx.vms.lock(uuid.clone()).await;
    let live = live(&cx, &uuid).await?;
    match live.volume(&volume).map(|disk| disk.file.unwrap_or_default()) {
        Some(file) if file == cmd.volume.install_path => {}
        Some(file) => {
            let reason = format!("volume {volume} is attached to vm {uuid} already, from {file:?}");
            return Err(Fault::new(reason));
        }
        None => {
            disks::check_volumes(&cx, vec![cmd.volume.clone()]).await?;
            let claim = cx.fencing.claim(&cmd.volume.install_path).await?;
            let device = domain_xml::volume(&cmd.volume, &live, &cmd.addons)?;
            cx.libvirt.attach(&uuid, "attach the volume", device).await?;
            if let Err(refused) = claim.confirm(&cx.fencing).await {
                take_out(&cx, &uuid, &alias_of(&volume), &format!("volume {volume}")).await?;
                return Err(refused);
            }
            tracing::info!(vm = uuid, volume, "volume attached");
        }
    }
    attached(&cx, &uuid, &volume).await
}

pub async fn detach_volume(cx: Cx<Host>, cmd: DetachVolume) -> Result<Done, Fault> {
    let (uuid, volume) = (checked(&cmd.vm_instance_uuid)?, resource("volume", &cmd.volume.volume_uuid)?);
    let _one = cx.vms.lock(uuid.clone()).await;
    take_out(&cx, &uuid, &alias_of(&volume), &format!("volume {volume}")).await?;
    Ok(Done {})
}

pub async fn attach_nic(cx: Cx<Host>, cmd: AttachNic) -> Result<Attached, Fault> {
    let (uuid, nic) = (checked(&cmd.vm_uuid)?, resource("nic", &cmd.nic.uuid)?);
    let _one = cx.vms.lock(uuid.clone()).await;
    let live = live(&cx, &uuid).await?;
    if !live.has_alias(&alias_of(&nic)) {
        start::check_bridges(&cx, std::slice::from_ref(&cmd.nic)).await?;
        cx.libvirt.attach(&uuid, "attach the nic", domain_xml::interface(&cmd.nic)?).await?;
        tracing::info!(vm = uuid, nic, "nic attached");
    }
    start::mark_taps(&cx, &self::live(&cx, &uuid).await?).await;
    limits::apply_nic_qos(&cmd.addons, std::slice::from_ref(&cmd.nic)).await?;
    attached(&cx, &uuid, &nic).await
}

pub async fn detach_nic(cx: Cx<Host>, cmd: DetachNic) -> Result<Done, Fault> {
    let (uuid, nic) = (checked(&cmd.vm_uuid)?, resource("nic", &cmd.nic.uuid)?);
    let _one = cx.vms.lock(uuid.clone()).await;
    take_out(&cx, &uuid, &alias_of(&nic), &format!("nic {nic}")).await?;
    limits::tidy().await;
    Ok(Done {})
}

/// Moves live NICs to other bridges; those that are there already stay.
pub async fn update_nic(cx: Cx<Host>, cmd: UpdateNic) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_instance_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    start::check_bridges(&cx, &cmd.nics).await?;
    for nic in &cmd.nics {
        let now = live_nic(&cx, &uuid, nic).await?;
        if now.bridge.as_deref() != Some(nic.bridge_name.as_str()) {
            change(&cx, &uuid, &now, "source", &[("bridge", nic.bridge_name.as_str())]).await?;
        }
    }
    limits::apply_nic_qos(&cmd.addons, &cmd.nics).await?;
    Ok(Done {})
}

pub async fn change_nic_state(cx: Cx<Host>, cmd: ChangeNicState) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let up = match cmd.state.as_str() {
        "enable" => true,
        "disable" => false,
        other => return Err(Fault::new(format!("nic state {other:?} is not known: use enable or disable"))),
    };
    let _one = cx.vms.lock(uuid.clone()).await;
    let now = live_nic(&cx, &uuid, &cmd.nic).await?;
    if now.link != up {
        let state = if up { "up" } else { "down" };
        change(&cx, &uuid, &now, "link", &[("state", state)]).await?;
    }
    Ok(Done {})
}

/// What runs now, or is paused.
pub(super) async fn live(cx: &Cx<Host>, uuid: &str) -> Result<Live, Fault> {
    match cx.libvirt.find(uuid).await?.map(|domain| domain.state) {
        Some(State::Running | State::Paused) => Ok(cx.libvirt.live(uuid).await?),
        _ => Err(not_here(uuid)),
    }
}

pub(super) fn resource(kind: &str, uuid: &str) -> Result<String, Fault> {
    let unsound =
        || Fault::new(format!("{kind} uuid {uuid:?} is not sound: it must be 32 lower-case hex digits"));
    is_uuid(uuid).then(|| uuid.to_owned()).ok_or_else(unsound)
}

async fn attached(cx: &Cx<Host>, uuid: &str, resource: &str) -> Result<Attached, Fault> {
    let marked = live(cx, uuid).await?.marked().into_iter().filter(|device| device.resource == resource);
    let told = |device: domain_xml::Marked| DeviceInfo {
        resource_uuid: device.resource,
        device_address: device.address,
    };
    Ok(Attached { virtual_device_info_list: marked.map(told).collect() })
}

/// Gone when it returns well. A VM that is not here has nothing plugged in.
async fn take_out(cx: &Cx<Host>, uuid: &str, alias: &str, what: &str) -> Result<(), Fault> {
    let until = Instant::now() + RELEASE;
    loop {
        if !is_in(cx, uuid, alias).await? {
            tracing::info!(vm = uuid, what, "detached");
            return Ok(());
        }
        // It may be on its way out already: then QEMU refuses to ask twice.
        let asked = cx.libvirt.detach(uuid, "detach the device", alias).await;
        let pause = Instant::now() + ASK_AGAIN;
        while Instant::now() < pause {
            if !is_in(cx, uuid, alias).await? {
                break;
            }
            if cx.superseded().is_cancelled() {
                return Err(cx.stopped());
            }
            if Instant::now() > until {
                return Err(held(cx, uuid, what, asked.err()).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn is_in(cx: &Cx<Host>, uuid: &str, alias: &str) -> Result<bool, Fault> {
    match cx.libvirt.live(uuid).await {
        Ok(live) => Ok(live.has_alias(alias)),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn held(cx: &Cx<Host>, uuid: &str, what: &str, last: Option<crate::sys::libvirt::Error>) -> Fault {
    let paused = matches!(cx.libvirt.find(uuid).await, Ok(Some(domain)) if domain.state == State::Paused);
    let way = if paused { "the vm is paused: resume it" } else { "unmount or disable it in the guest" };
    let last = last.map(|error| format!(" ({error})")).unwrap_or_default();
    let seconds = RELEASE.as_secs();
    Fault::new(format!("vm {uuid} did not let go of {what} within {seconds} s{last}: {way}, then try again"))
}

/// By its uuid, or by its address for one who does not know it.
async fn live_nic(cx: &Cx<Host>, uuid: &str, nic: &Nic) -> Result<LiveNic, Fault> {
    let nics = live(cx, uuid).await?.nics();
    let is_it = |live: &LiveNic| match live.resource.as_deref() {
        Some(resource) if !nic.uuid.is_empty() => resource == nic.uuid,
        _ => live.mac.eq_ignore_ascii_case(&nic.mac),
    };
    let missing = || Fault::new(format!("vm {uuid} has no nic {} ({}): attach it first", nic.uuid, nic.mac));
    nics.into_iter().find(is_it).ok_or_else(missing)
}

async fn change(
    cx: &Cx<Host>,
    uuid: &str,
    nic: &LiveNic,
    child: &str,
    attributes: &[(&str, &str)],
) -> Result<(), Fault> {
    let xml = cx.libvirt.live_xml(uuid).await?;
    let device = edit::device(&xml, "interface", &nic.alias)?;
    let device = device.ok_or_else(|| Fault::new(format!("nic {} has just gone", nic.mac)))?;
    let device = edit::replace_child(&device, child, Some(attributes))?;
    cx.libvirt.update(uuid, "change the nic", device, false).await?;
    tracing::info!(vm = uuid, nic = nic.mac, child, "nic changed");
    Ok(())
}
