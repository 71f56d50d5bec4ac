//! What is asked about a running VM's devices.

use std::collections::BTreeMap;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::device::{
    AddressTold, AddressesTold, CheckVolumes, DevicesTold, FirstBootDevice, GetDeviceAddress, GetDeviceInfo,
    GetFirstBootDevice, GetVirtualizerInfo, SyncVolumes, VirtualizersTold, VolumesTold,
};
use wire::calls::vm::{DeviceAddress, DeviceInfo};

use super::{checked, plug, start};
use crate::state::Host;
use crate::sys::image_lock;

pub async fn device_info(cx: Cx<Host>, cmd: GetDeviceInfo) -> Result<DevicesTold, Fault> {
    let uuid = checked(&cmd.vm_instance_uuid)?;
    let live = plug::live(&cx, &uuid).await?;
    // Those of a VM that has come from another host were never marked.
    start::mark_taps(&cx, &live).await;
    let balloon =
        live.balloon().map(|device_address| DeviceInfo { resource_uuid: uuid.clone(), device_address });
    Ok(DevicesTold {
        nic_infos: start::nics(&live),
        virtual_device_info_list: start::devices(&live),
        mem_balloon_info: balloon,
        virtualizer_info: start::virtualizer(&cx, &uuid).await?,
    })
}

pub async fn device_address(cx: Cx<Host>, cmd: GetDeviceAddress) -> Result<AddressesTold, Fault> {
    let live = plug::live(&cx, &checked(&cmd.uuid)?).await?;
    let mut addresses = BTreeMap::new();
    for (kind, volumes) in cmd.device_tos {
        let disks = volumes.iter().filter_map(|volume| live.volume(&volume.volume_uuid));
        let told = disks.map(|disk| AddressTold {
            uuid: disk.resource.unwrap_or_default(),
            device_type: "disk".into(),
            address_type: disk.address.kind.clone(),
            address: written(&disk.address),
            device_address: disk.address,
        });
        addresses.insert(kind, told.collect());
    }
    Ok(AddressesTold { addresses })
}

pub async fn first_boot_device(cx: Cx<Host>, cmd: GetFirstBootDevice) -> Result<FirstBootDevice, Fault> {
    let live = plug::live(&cx, &checked(&cmd.uuid)?).await?;
    Ok(FirstBootDevice { first_boot_device: live.first_boot_device().unwrap_or("HardDisk").to_owned() })
}

pub async fn virtualizer_info(cx: Cx<Host>, cmd: GetVirtualizerInfo) -> Result<VirtualizersTold, Fault> {
    let host = cx.introduction.get().await.host_uuid;
    let host_info = start::virtualizer(&cx, &host).await?;
    let mut vm_info_list = Vec::new();
    for uuid in cmd.vm_uuids {
        if cx.libvirt.find(&checked(&uuid)?).await?.is_some() {
            vm_info_list.push(start::virtualizer(&cx, &uuid).await?);
        }
    }
    Ok(VirtualizersTold { host_info, vm_info_list })
}

/// Whether each volume is where the command says.
pub async fn check_volumes(cx: Cx<Host>, cmd: CheckVolumes) -> Result<Done, Fault> {
    let uuid = checked(&cmd.uuid)?;
    let live = plug::live(&cx, &uuid).await?;
    for volume in cmd.volumes {
        let file = live.volume(&volume.volume_uuid).and_then(|disk| disk.file);
        if file.as_deref() != Some(volume.install_path.as_str()) {
            let (volume, path) = (volume.volume_uuid, volume.install_path);
            let file = file.unwrap_or_else(|| "nowhere".into());
            return Err(Fault::new(format!("volume {volume} of vm {uuid} is at {file:?}, not at {path:?}")));
        }
    }
    Ok(Done {})
}

/// The files of storages that no QEMU has open.
pub async fn sync_volumes(cx: Cx<Host>, cmd: SyncVolumes) -> Result<VolumesTold, Fault> {
    let storages = cmd.storage_paths.iter().map(|path| Ok((path.clone(), cx.storage(path)?)));
    let storages = storages.collect::<Result<Vec<_>, Fault>>()?;
    tokio::task::spawn_blocking(move || {
        let mut told = VolumesTold::default();
        for (path, storage) in storages {
            let mut idle = Vec::new();
            for file in storage.files()? {
                if !image_lock::is_in_use(&file)? {
                    idle.push(file.to_string_lossy().into_owned());
                }
            }
            told.inactive_volume_paths.insert(path, idle);
        }
        Ok(told)
    })
    .await?
}

/// As the guest writes it: `0000:04:00.0`, `0:0:1:0`.
fn written(address: &DeviceAddress) -> String {
    let DeviceAddress { domain, bus, slot, function, controller, target, unit, .. } = address;
    let hex = |text: &str| text.trim_start_matches("0x").to_owned();
    match address.kind.as_str() {
        "pci" => format!("{}:{}:{}.{}", hex(domain), hex(bus), hex(slot), hex(function)),
        "drive" => format!("{controller}:{bus}:{target}:{unit}"),
        _ => String::new(),
    }
}
