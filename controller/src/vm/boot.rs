//! What a VM needs to run on a host, put together from the rows: its networks served, its command.

use engine::flow::Cx;
use engine::inventory::find;
use engine::{Id, Result, tag};
use futures::future::try_join_all;
use wire::calls::vm as call;

use super::{VmInstance, VmInstanceInventory};
use crate::host::HostInventory;
use crate::l3::{self, L3Network, Lease};
use crate::nic::{self, VmNicInventory};
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

async fn leases(cx: &Cx, vm: Id<VmInstance>) -> Result<Vec<(Id<L3Network>, Lease)>> {
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = find(&mut tx, vm).await?;
    let nics = nic::of_vm(&mut tx, vm.uuid.cast()).await?;
    let tags = tag::of(&mut tx, &l3::HOSTNAME, vm.uuid.cast()).await?;
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
    host.hypervisor()?.start_vm(cx, host, command).await
}

async fn command(cx: &Cx, host: &HostInventory, vm: Id<VmInstance>) -> Result<call::Start> {
    let mut tx = cx.read().await?;
    let vm: VmInstanceInventory = find(&mut tx, vm).await?;
    let root = volume::root_of(&mut tx, vm.uuid.cast()).await?;
    let mut nics = Vec::new();
    for nic in nic::of_vm(&mut tx, vm.uuid.cast()).await? {
        let bridge = l3::attachment(&mut tx, nic.l3_network_uuid).await?;
        nics.push(call::Nic {
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
            ..Default::default()
        });
    }
    let cpus = u32::try_from(vm.cpu_num).unwrap_or(1);
    Ok(call::Start {
        vm_instance_uuid: vm.uuid.to_string(),
        vm_internal_id: vm.internal_id.unsigned_abs(),
        vm_name: vm.name,
        image_platform: vm.platform,
        image_architecture: vm.architecture.unwrap_or_else(|| "x86_64".into()),
        memory: vm.memory_size.unsigned_abs(),
        max_memory: vm.memory_size.unsigned_abs(),
        cpu_num: cpus,
        max_vcpu_num: cpus,
        cpu_speed: vm.cpu_speed.unsigned_abs(),
        boot_dev: vec!["hd".into()],
        root_volume: call::Volume {
            install_path: root.install_path.unwrap_or_default(),
            device_id: 0,
            device_type: "file".into(),
            volume_uuid: root.uuid.to_string(),
            use_virtio: vm.virtio,
            cache_mode: "none".into(),
            boot_order: 1,
            format: root.format,
            primary_storage_type: Some("LocalStorage".into()),
            ..Default::default()
        },
        nics,
        console_mode: "vnc".into(),
        video_type: "cirrus".into(),
        clock: if vm.guest_os_type.is_some_and(|os| os.contains("Windows")) { "localtime" } else { "utc" }
            .into(),
        nested_virtualization: "none".into(),
        host_management_ip: host.management_ip.clone(),
        ..Default::default()
    })
}
