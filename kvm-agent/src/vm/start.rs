//! Starts a VM.

use std::time::Instant;

use host::netlink::Kind;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::host::VirtualizerInfo;
use wire::calls::vm::{CleanFirmware, DeviceInfo, Nic, NicInfo, Start, Started};

use super::{checked, disks, end, limits};
use crate::host::virtualizer_name;
use crate::state::Host;
use crate::sys::domain_xml::{Live, Setting, domain};
use crate::sys::firmware;
use crate::sys::libvirt::State;

pub async fn start(cx: Cx<Host>, cmd: Start) -> Result<Started, Fault> {
    let uuid = checked(&cmd.vm_instance_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    if !is_up(&cx, &uuid, cmd.create_paused).await? {
        end::make_absent(&cx, &uuid).await?;
        disks::check(&cx, &cmd).await?;
        check_bridges(&cx, &cmd.nics).await?;
        let description = describe(&cx, &uuid, &cmd).await?;
        let asked = Instant::now();
        create(&cx, &uuid, description, cmd.create_paused).await?;
        tracing::info!(vm = uuid, libvirt_ms = asked.elapsed().as_millis(), "started");
        limits::apply_nic_qos(&cmd.addons, &cmd.nics).await?;
    }
    cx.restarts.forget(&uuid)?;
    confirm(&cx, &uuid).await
}

/// Starts a domain, if the leases of its storages are held. It does not run before it is certain that whoever takes
/// one from us finds it.
pub(super) async fn create(cx: &Cx<Host>, uuid: &str, definition: String, paused: bool) -> Result<(), Fault> {
    let claim = cx.fencing.claim(&definition).await?;
    cx.libvirt.create(definition, paused || claim.is_guarded()).await?;
    if let Err(refused) = claim.confirm(&cx.fencing).await {
        end::make_absent(cx, uuid).await?;
        return Err(refused);
    }
    if claim.is_guarded() && !paused {
        cx.libvirt.resume(uuid).await?;
    }
    Ok(())
}

/// Looks at a VM that was just started, marks its taps and tells its devices.
pub(super) async fn confirm(cx: &Cx<Host>, uuid: &str) -> Result<Started, Fault> {
    let state = cx.libvirt.find(uuid).await?.map(|domain| domain.state);
    if !matches!(state, Some(State::Running | State::Paused)) {
        return Err(Fault::new(format!("vm {uuid} ended right after it was started")));
    }
    let live = cx.libvirt.live(uuid).await?;
    mark_taps(cx, &live).await;
    Ok(Started {
        nic_infos: nics(&live),
        virtual_device_info_list: devices(&live),
        virtualizer_info: virtualizer(cx, uuid).await?,
    })
}

pub(super) async fn virtualizer(cx: &Cx<Host>, uuid: &str) -> Result<VirtualizerInfo, Fault> {
    let (_, version) = cx.libvirt.versions().await?;
    let virtualizer = virtualizer_name(cx.probe.verdict().await.virt).to_owned();
    Ok(VirtualizerInfo { uuid: uuid.to_owned(), virtualizer, version })
}

/// libvirt hears of a QEMU's death a moment after it.
async fn is_up(cx: &Cx<Host>, uuid: &str, paused: bool) -> Result<bool, Fault> {
    let state = cx.libvirt.find(uuid).await?.map(|domain| domain.state);
    let told = state == Some(State::Running) || (paused && state == Some(State::Paused));
    Ok(told && (cx.libvirt.is_test_driver() || end::has_process(uuid).await?))
}

async fn describe(cx: &Cx<Host>, uuid: &str, cmd: &Start) -> Result<String, Fault> {
    let virt = cx.probe.verdict().await.virt;
    let seed = cx.seeds.prepare(uuid, cmd.seed.as_ref()).await?;
    let setting = Setting { virt, console_log_dir: cx.console_log_dir.clone(), seed };
    Ok(domain(cmd, &setting)?)
}

pub(super) async fn check_bridges(cx: &Cx<Host>, nics: &[Nic]) -> Result<(), Fault> {
    for nic in nics {
        let bridge = cx.net.find(&nic.bridge_name).await?;
        if bridge.is_none_or(|bridge| bridge.kind != Kind::Bridge) {
            let (name, nic) = (&nic.bridge_name, &nic.uuid);
            return Err(Fault::new(format!(
                "can not find bridge[{name}] that nic {nic} needs: create it first"
            )));
        }
    }
    Ok(())
}

/// A tap without its mark works; it is only not known as ours once its VM is gone.
pub(super) async fn mark_taps(cx: &Cx<Host>, live: &Live) {
    for nic in live.nics() {
        let (Some(tap), Some(uuid)) = (nic.tap, nic.resource) else { continue };
        let marked = match cx.net.find(&tap).await {
            Ok(Some(link)) => cx.net.set_alias(&link, &uuid).await,
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = marked {
            tracing::warn!(%error, tap, "cannot mark a tap");
        }
    }
}

pub(super) fn nics(live: &Live) -> Vec<NicInfo> {
    let nics = live.nics().into_iter();
    nics.map(|nic| NicInfo { mac_address: nic.mac, device_address: nic.address }).collect()
}

pub(super) fn devices(live: &Live) -> Vec<DeviceInfo> {
    let marked = live.marked().into_iter();
    marked
        .map(|device| DeviceInfo { resource_uuid: device.resource, device_address: device.address })
        .collect()
}

/// Forgets what a VM's firmware and TPM remember, boot entries and keys, and its seed. Succeeds when there is
/// nothing.
pub async fn clean_firmware(cx: Cx<Host>, cmd: CleanFirmware) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    if cx.libvirt.find(&uuid).await?.is_some() {
        return Err(Fault::new(format!("vm {uuid} is here: stop it first")));
    }
    cx.seeds.forget(&uuid)?;
    tokio::task::spawn_blocking(move || firmware::forget(&uuid)).await??;
    Ok(Done {})
}
