//! What a VM needs to run on a host, put together from the rows: its networks served, its command.

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Id, Result, codes, tag};
use futures::future::try_join_all;
use wire::calls::vm as call;

use super::facet::{self, Facets};
use super::volume::told;
use super::{VmInstance, VmInstanceInventory, cd_rom, life, priority, seed};
use crate::host::{self, HostInventory};
use crate::l3::{self, L3Network, Lease};
use crate::nic::{self, VmNic, VmNicInventory};
use crate::volume;

/// DHCP and DNS of its networks know the VM.
pub(super) async fn serve(cx: &Cx, host: &HostInventory, vm: Id<VmInstance>) -> Result<()> {
    let leases = leases(cx, vm).await?;
    try_join_all(leases.iter().map(|(l3, lease)| l3::serve(cx, host, *l3, std::slice::from_ref(lease))))
        .await
        .map(|_| ())
}

/// They know it no longer.
pub(super) async fn unserve(cx: &Cx, host: &HostInventory, vm: Id<VmInstance>) -> Result<()> {
    let leases = leases(cx, vm).await?;
    try_join_all(leases.iter().map(|(l3, lease)| l3::unserve(cx, host, *l3, std::slice::from_ref(lease))))
        .await
        .map(|_| ())
}

/// DHCP and DNS of one of its networks know the VM.
pub(super) async fn serve_nic(
    cx: &Cx,
    host: &HostInventory,
    vm: Id<VmInstance>,
    nic: Id<VmNic>,
) -> Result<()> {
    let l3 = network_of(cx, nic).await?;
    let lease = leases(cx, vm).await?.into_iter().find(|(network, _)| *network == l3);
    match lease {
        Some((l3, lease)) => l3::serve(cx, host, l3, &[lease]).await,
        None => Ok(()),
    }
}

/// They know it no longer.
pub(super) async fn unserve_nic(
    cx: &Cx,
    host: &HostInventory,
    vm: Id<VmInstance>,
    nic: Id<VmNic>,
) -> Result<()> {
    let l3 = network_of(cx, nic).await?;
    let lease = leases(cx, vm).await?.into_iter().find(|(network, _)| *network == l3);
    match lease {
        Some((l3, lease)) => l3::unserve(cx, host, l3, &[lease]).await,
        None => Ok(()),
    }
}

/// What a NIC's guest is told, if anything.
pub(super) async fn lease_of(tx: &mut Tx, vm: Id<VmInstance>, nic: Id<VmNic>) -> Result<Option<Told>> {
    let l3 = find::<VmNicInventory>(tx, nic).await?.l3_network_uuid;
    Ok(leases_in(tx, vm).await?.into_iter().find(|(network, _)| *network == l3))
}

/// In which network, and what.
pub(super) type Told = (Id<L3Network>, Lease);

async fn network_of(cx: &Cx, nic: Id<VmNic>) -> Result<Id<L3Network>> {
    Ok(find::<VmNicInventory>(&mut cx.read().await?, nic).await?.l3_network_uuid)
}

/// Plugs a NIC into the running VM.
pub(super) async fn plug_nic(cx: &Cx, vm: Id<VmInstance>, nic: Id<VmNic>) -> Result<()> {
    let host = life::host_of(cx, vm).await?;
    let told = read_nic(cx, nic).await?;
    host.hypervisor()?.attach_nic(cx, &host, &vm.to_string(), told).await
}

/// Takes a NIC out of the running VM.
pub(super) async fn unplug_nic(cx: &Cx, vm: Id<VmInstance>, nic: Id<VmNic>) -> Result<()> {
    let host = life::host_of(cx, vm).await?;
    let told = read_nic(cx, nic).await?;
    host.hypervisor()?.detach_nic(cx, &host, &vm.to_string(), told).await
}

pub(super) async fn read_nic(cx: &Cx, nic: Id<VmNic>) -> Result<call::Nic> {
    let mut tx = cx.read().await?;
    let nic = find(&mut tx, nic).await?;
    nic_told(&mut tx, nic).await
}

/// The NIC as if it were in that network.
pub(super) async fn read_nic_in(cx: &Cx, nic: Id<VmNic>, l3: Id<L3Network>) -> Result<call::Nic> {
    let mut tx = cx.read().await?;
    let nic: VmNicInventory = find(&mut tx, nic).await?;
    nic_told(&mut tx, VmNicInventory { l3_network_uuid: l3, ..nic }).await
}

/// What a start and a plugging tell the host of a NIC.
async fn nic_told(tx: &mut Tx, nic: VmNicInventory) -> Result<call::Nic> {
    let bridge = l3::attachment(tx, nic.l3_network_uuid).await?;
    Ok(call::Nic {
        uuid: nic.uuid.to_string(),
        use_virtio: nic.driver_type == "virtio",
        mac: nic.mac,
        ips: nic.ip.into_iter().collect(),
        bridge_name: bridge.bridge_name,
        physical_interface: Some(bridge.physical_interface),
        nic_internal_name: nic.internal_name,
        device_id: u32::try_from(nic.device_id).unwrap_or(0),
        driver_type: Some(nic.driver_type),
        state: Some(nic.state),
        l2_network_uuid: Some(bridge.l2_network_uuid.to_string()),
        mtu: bridge.mtu,
        ..Default::default()
    })
}

async fn leases(cx: &Cx, vm: Id<VmInstance>) -> Result<Vec<Told>> {
    leases_in(&mut cx.read().await?, vm).await
}

async fn leases_in(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<Told>> {
    let vm: VmInstanceInventory = find(tx, vm).await?;
    let nics = nic::of_vm(tx, vm.uuid.cast()).await?;
    let tags = tag::of(tx, &l3::HOSTNAME, vm.uuid.cast()).await?;
    let name = l3::called(tags.first().map(String::as_str), &vm.name);
    Ok(nics.iter().filter_map(|nic| Some((nic.l3_network_uuid, lease(&vm, &name, nic)?))).collect())
}

fn lease(vm: &VmInstanceInventory, name: &Option<String>, nic: &VmNicInventory) -> Option<Lease> {
    Some(Lease {
        mac: nic.mac.clone(),
        ip: nic.ip.clone()?,
        netmask: nic.netmask.clone()?,
        gateway: nic.gateway.clone(),
        hostname: name.clone(),
        is_default: vm.default_l3_network_uuid == Some(nic.l3_network_uuid.cast()),
    })
}

/// Starts the VM on the host.
pub(super) async fn start(cx: &Cx, host: &HostInventory, vm: Id<VmInstance>) -> Result<()> {
    let command = command(cx, host, vm).await?;
    let has_isos = command.cd_roms.iter().any(|drive| !drive.is_empty);
    let started = host.hypervisor()?.start_vm(cx, host, command).await;
    if has_isos && started.as_ref().is_err_and(|error| error.is(codes::OPERATION)) {
        cd_rom::doubt(cx, vm).await?;
    }
    started
}

/// What the VM tries to boot from, in order: as was said of it, or its disk, and then the ISO in its drive.
pub(super) async fn order(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<String>> {
    let said = Facets::of(&facet::tags(tx, vm).await?)?.boot_dev;
    Ok(said.unwrap_or(usual(&cd_rom::told(tx, vm).await?)))
}

fn usual(drives: &[call::CdRom]) -> Vec<String> {
    let cd_rom = drives.iter().any(|drive| !drive.is_empty).then_some("cdrom");
    ["hd"].into_iter().chain(cd_rom).map(str::to_owned).collect()
}

async fn command(cx: &Cx, host: &HostInventory, vm: Id<VmInstance>) -> Result<call::Start> {
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = find(&mut tx, vm).await?;
    let root = volume::root_of(&mut tx, vm.uuid.cast()).await?;
    let (its_nics, tags) = (nic::of_vm(&mut tx, vm.uuid.cast()).await?, facet::tags(&mut tx, vm.uuid).await?);
    let facets = Facets::of(&tags)?;
    let seed = seed::told(&mut tx, &vm, &its_nics, &tags).await?;
    let mut nics = Vec::new();
    for nic in its_nics {
        nics.push(nic_told(&mut tx, nic).await?);
    }
    let mut data_volumes = Vec::new();
    for data in volume::data_of(&mut tx, vm.uuid.cast()).await? {
        if data.status != "Ready" {
            let details = format!("its volume \"{}\" is {}: recover or detach it", data.name, data.status);
            return Err(codes::STATE.because(details));
        }
        data_volumes.push(told(data, vm.virtio));
    }
    let cd_roms = cd_rom::told(&mut tx, vm.uuid).await?;
    let growth = host::growth(&mut tx, vm.uuid.cast()).await?;
    let (most_cpu, most_memory) = growth.unwrap_or((vm.cpu_num, vm.memory_size));
    let priority = priority::told(&mut tx, vm.uuid).await?;
    let cpus = |number| u32::try_from(number).unwrap_or(1);
    Ok(call::Start {
        vm_instance_uuid: vm.uuid.to_string(),
        vm_internal_id: vm.internal_id.unsigned_abs(),
        vm_name: vm.name,
        image_platform: vm.platform,
        image_architecture: vm.architecture.unwrap_or_else(|| "x86_64".into()),
        memory: vm.memory_size.unsigned_abs(),
        max_memory: most_memory.unsigned_abs(),
        cpu_num: cpus(vm.cpu_num),
        max_vcpu_num: cpus(most_cpu),
        use_numa: growth.is_some(),
        priority_config_struct: priority,
        cpu_speed: vm.cpu_speed.unsigned_abs(),
        boot_dev: facets.boot_dev.unwrap_or(usual(&cd_roms)),
        boot_mode: facets.boot_mode,
        console_password: facets.console_password,
        sound_type: facets.sound_type,
        clock_track: facets.clock_track,
        root_volume: told(root, vm.virtio),
        data_volumes,
        cd_roms,
        nics,
        seed,
        console_mode: "vnc".into(),
        video_type: "cirrus".into(),
        clock: if vm.guest_os_type.is_some_and(|os| os.contains("Windows")) { "localtime" } else { "utc" }
            .into(),
        nested_virtualization: "none".into(),
        host_management_ip: host.management_ip.clone(),
        ..Default::default()
    })
}
