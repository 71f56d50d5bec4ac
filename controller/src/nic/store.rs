use std::net::Ipv4Addr;

use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args};
use schemars::JsonSchema;
use serde::Serialize;

use super::{VmNic, VmNicInventory};
use crate::l3::{self, L3Network};

pub(super) const ON_L3: &str =
    "SELECT uuid, internal_name, l3_network_uuid FROM vm_nic WHERE l3_network_uuid IN ($*)";
pub(super) const IN_RANGE: &str = "SELECT n.uuid, n.internal_name, u.ip_range_uuid FROM vm_nic n \
     JOIN used_ip u ON u.vm_nic_uuid = n.uuid WHERE u.ip_range_uuid IN ($*)";
const INSERT: &str = "INSERT INTO vm_nic (uuid, vm_instance_uuid, l3_network_uuid, mac, hypervisor_type, \
     ip_version, driver_type, internal_name, device_id, type, state, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, 'KVM', 4, $5, $6, $7, 'VNIC', 'enable', $8, $8)";
const ADDRESS: &str = "UPDATE vm_nic SET ip = $2, netmask = $3, gateway = $4 WHERE uuid = $1";
const OF_VM: &str = "SELECT * FROM vm_nic WHERE vm_instance_uuid = $1 ORDER BY device_id";
const DELETE: &str = "DELETE FROM vm_nic WHERE uuid = $1";
const USED_IPS: &str = "SELECT vm_nic_uuid, uuid, ip_range_uuid, l3_network_uuid, ip_version, ip, netmask, \
     gateway, used_for, ip_in_long, create_date, last_op_date FROM used_ip WHERE vm_nic_uuid IN ($*)";

#[derive(Serialize, engine::db::Row, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsedIp {
    vm_nic_uuid: String,
    uuid: String,
    ip_range_uuid: String,
    l3_network_uuid: String,
    ip_version: i64,
    ip: String,
    netmask: String,
    gateway: String,
    used_for: Option<String>,
    ip_in_long: i64,
    create_date: Stamp,
    last_op_date: Stamp,
}

/// A NIC about to be added to a VM.
pub struct NewNic {
    pub uuid: Id<VmNic>,
    pub vm: Id<Any>,
    /// The VM's number, which names the tap.
    pub vm_number: i64,
    pub l3: Id<L3Network>,
    pub device_id: i64,
    pub virtio: bool,
    /// The address that the user wants.
    pub wanted: Option<Ipv4Addr>,
}

/// Adds a NIC with a MAC of its own and an address of its network.
pub async fn add(tx: &mut Tx, nic: NewNic) -> Result<()> {
    let driver = if nic.virtio { "virtio" } else { "e1000" };
    let tap = format!("vnic{}.{}", nic.vm_number, nic.device_id);
    let mut row = args![nic.uuid, nic.vm, nic.l3, mac(nic.uuid, nic.device_id), driver, tap];
    row.extend(args![nic.device_id, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    let address = l3::allocate(tx, nic.l3, nic.uuid.cast(), nic.wanted).await?;
    tx.exec(ADDRESS, args![nic.uuid, address.ip, address.netmask, address.gateway]).await?;
    Ok(())
}

/// ZStack's form: `fa:`, four random bytes, the device.
fn mac(nic: Id<VmNic>, device_id: i64) -> String {
    let [a, b, c, d, ..] = nic.bits().to_be_bytes();
    format!("fa:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{:02x}", device_id & 0xff)
}

pub async fn of_vm(tx: &mut Tx, vm: Id<Any>) -> Result<Vec<VmNicInventory>> {
    tx.all(OF_VM, args![vm]).await
}

/// Removes a NIC and gives its address back.
pub async fn remove(tx: &mut Tx, nic: Id<VmNic>) -> Result<()> {
    l3::release(tx, nic.cast()).await?;
    tx.exec(DELETE, args![nic]).await?;
    Ok(())
}

pub async fn remove_all(tx: &mut Tx, vm: Id<Any>) -> Result<()> {
    for nic in of_vm(tx, vm).await? {
        remove(tx, nic.uuid).await?;
    }
    Ok(())
}

pub(super) async fn used_ips(tx: &mut Tx, nics: Vec<Value>) -> Result<Vec<(String, UsedIp)>> {
    let rows: Vec<UsedIp> = tx.all_of(USED_IPS, nics).await?;
    Ok(rows.into_iter().map(|row| (row.vm_nic_uuid.clone(), row)).collect())
}
