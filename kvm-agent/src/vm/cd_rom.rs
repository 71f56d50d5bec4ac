//! Puts ISO images into a running VM's CD-ROM drives. Drives themselves come with the start: their bus takes
//! none later.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::device::{AttachIso, DetachIso};

use super::{checked, disks, plug};
use crate::state::Host;
use crate::sys::domain_xml::{LiveDisk, drive_alias, edit};
use crate::sys::libvirt::Error;

pub async fn attach_iso(cx: Cx<Host>, cmd: AttachIso) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let drive = drive(&cx, &uuid, cmd.iso.device_id).await?;
    if drive.file.as_deref() != Some(cmd.iso.path.as_str()) {
        disks::check_iso(&cx, cmd.iso.path.clone()).await?;
        load(&cx, &uuid, &drive, Some(&cmd.iso.path)).await?;
    }
    Ok(Done {})
}

pub async fn detach_iso(cx: Cx<Host>, cmd: DetachIso) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    if cx.libvirt.find(&uuid).await?.is_none() {
        return Ok(Done {});
    }
    let drive = drive(&cx, &uuid, cmd.device_id).await?;
    if drive.file.is_some() {
        load(&cx, &uuid, &drive, None).await?;
    }
    Ok(Done {})
}

/// The drive of that number; drives that carry no number are counted.
async fn drive(cx: &Cx<Host>, uuid: &str, number: u32) -> Result<LiveDisk, Fault> {
    let drives = plug::live(cx, uuid).await?.disks().into_iter().filter(|disk| disk.is_cd_rom);
    let drives: Vec<LiveDisk> = drives.collect();
    let named = drives.iter().find(|drive| drive.alias == drive_alias(number));
    let counted = drives.get(number as usize).filter(|drive| !drive.alias.starts_with("ua-cdrom-"));
    named.or(counted).cloned().ok_or_else(|| {
        Fault::new(format!(
            "vm {uuid} has no cd-rom drive {number}: drives are there from the start or not at all"
        ))
    })
}

/// The guest is asked to open the drive; one that has locked it is not asked twice.
async fn load(cx: &Cx<Host>, uuid: &str, drive: &LiveDisk, file: Option<&str>) -> Result<(), Fault> {
    let xml = cx.libvirt.live_xml(uuid).await?;
    let device = edit::device(&xml, "disk", &drive.alias)?;
    let device = device.ok_or_else(|| Fault::new("the cd-rom drive has just gone"))?;
    let attributes = file.map(|file| [("file", file)]);
    let device = edit::replace_child(&device, "source", attributes.as_ref().map(|pair| &pair[..]))?;
    let device = edit::replace_child(&device, "backingStore", None)?;
    const DOING: &str = "change the disk in the cd-rom drive";
    match cx.libvirt.update(uuid, DOING, device.clone(), false).await {
        Err(Error::Refused { text, .. }) => {
            tracing::info!(vm = uuid, text, "the guest does not open its drive: forced");
            cx.libvirt.update(uuid, DOING, device, true).await?;
        }
        outcome => outcome?,
    }
    tracing::info!(vm = uuid, drive = drive.target, ?file, "cd-rom changed");
    Ok(())
}
