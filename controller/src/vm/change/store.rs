use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};
use serde::{Deserialize, Serialize};

use crate::l3::{Address, L3Network};
use crate::nic::VmNic;
use crate::vm::VmInstance;
use crate::volume::{Volume, VolumeInventory};

const SIZE: &str = "SELECT cpu_num, memory_size, next_cpu_num, next_memory_size, cpu_speed, \
     instance_offering_uuid, allocator_strategy FROM vm_instance WHERE uuid = $1";
const RESIZE: &str = "UPDATE vm_instance SET cpu_num = $2, memory_size = $3, next_cpu_num = $4, \
     next_memory_size = $5, cpu_speed = $6, instance_offering_uuid = $7, allocator_strategy = $8, \
     last_op_date = $9 WHERE uuid = $1";
const REIMAGE: &str = "UPDATE volume SET install_path = $2, size = $3, actual_size = $4, last_op_date = $5 \
     WHERE uuid = $1";
const PLACE_OF_DISK: &str = "UPDATE volume SET type = $2, device_id = $3, last_op_date = $4 WHERE uuid = $1";
const ROOT: &str = "UPDATE vm_instance SET root_volume_uuid = $2, image_uuid = $3, last_op_date = $4 \
     WHERE uuid = $1";
const READDRESS: &str = "UPDATE vm_nic SET l3_network_uuid = $2, ip = $3, netmask = $4, gateway = $5, \
     last_op_date = $6 WHERE uuid = $1";
const NIC_STATE: &str = "UPDATE vm_nic SET state = $2, last_op_date = $3 WHERE uuid = $1";
const NIC_DRIVER: &str = "UPDATE vm_nic SET driver_type = $2, last_op_date = $3 WHERE uuid = $1";
/// What a VM has, and is to have once it was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, engine::db::Row)]
pub(super) struct Size {
    pub cpu_num: i64,
    /// Bytes.
    pub memory_size: i64,
    pub next_cpu_num: Option<i64>,
    pub next_memory_size: Option<i64>,
    pub cpu_speed: i64,
    pub instance_offering_uuid: Option<Id<Any>>,
    pub allocator_strategy: String,
}

pub(super) async fn size(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Size> {
    tx.one(SIZE, args![vm]).await
}

pub(super) async fn resize(tx: &mut Tx, vm: Id<VmInstance>, size: &Size) -> Result<()> {
    let mut row = args![vm, size.cpu_num, size.memory_size, size.next_cpu_num, size.next_memory_size];
    row.extend(args![size.cpu_speed, size.instance_offering_uuid, &size.allocator_strategy, Stamp::now()]);
    tx.exec(RESIZE, row).await?;
    Ok(())
}

/// The volume lies there from now on.
pub(super) async fn reimage(
    tx: &mut Tx,
    volume: Id<Volume>,
    path: &str,
    size: i64,
    actual_size: Option<i64>,
) -> Result<()> {
    tx.exec(REIMAGE, args![volume, path, size, actual_size, Stamp::now()]).await?;
    Ok(())
}

/// The two change places, and the VM shows the image of the one that it boots from.
pub(super) async fn swap(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    root: &VolumeInventory,
    data: &VolumeInventory,
) -> Result<()> {
    let now = Stamp::now();
    tx.exec(PLACE_OF_DISK, args![root.uuid, &data.r#type, data.device_id, now]).await?;
    tx.exec(PLACE_OF_DISK, args![data.uuid, &root.r#type, root.device_id, now]).await?;
    tx.exec(ROOT, args![vm, data.uuid, data.root_image_uuid, now]).await?;
    Ok(())
}

/// The NIC is in this network, and has this address.
pub(super) async fn readdress(
    tx: &mut Tx,
    nic: Id<VmNic>,
    l3: Id<L3Network>,
    address: &Address,
) -> Result<()> {
    let mut row = args![nic, l3, &address.ip, &address.netmask, &address.gateway];
    row.extend(args![Stamp::now()]);
    tx.exec(READDRESS, row).await?;
    Ok(())
}

pub(super) async fn set_nic_state(tx: &mut Tx, nic: Id<VmNic>, state: &str) -> Result<()> {
    tx.exec(NIC_STATE, args![nic, state, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn set_nic_driver(tx: &mut Tx, nic: Id<VmNic>, driver: &str) -> Result<()> {
    tx.exec(NIC_DRIVER, args![nic, driver, Stamp::now()]).await?;
    Ok(())
}
