//! A VM's network interface: its address lies in an L3 network, its tap on the host is named after it.

mod cascade;
mod store;

use engine::db::Tx;
use engine::inventory::{Members, Shown, attach, page_uuids};
use engine::module::Module;
use engine::query::Relation;
use engine::{Any, Id, Result, Stamp, inventory};

use crate::l3::address::UsedIpInventory;
use crate::l3::{L3Network, L3NetworkInventory};

pub use store::{NewNic, add, of_vm, remove, remove_all};

/// Marks ids of NICs.
#[derive(Debug)]
pub enum VmNic {}

inventory! {
    /// A NIC as the API shows it.
    VmNicInventory in "vm_nic" seen Owned("uuid") {
        uuid: Id<VmNic>,
        vm_instance_uuid: Id<Any>,
        l3_network_uuid: Id<L3Network>,
        ip: Option<String>,
        mac: String,
        hypervisor_type: String,
        netmask: Option<String>,
        gateway: Option<String>,
        ip_version: i64,
        driver_type: String,
        internal_name: String,
        device_id: i64,
        r#type: String,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { used_ips: Vec<Shown<UsedIpInventory>> } => [
        Relation::one::<L3NetworkInventory>("l3Network", "l3_network_uuid").back("vmNic"),
        Relation::many::<UsedIpInventory>("usedIps", "vm_nic_uuid").back("vmNic"),
    ]
}

impl VmNicInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let ips = store::used_ips(tx, page_uuids(page)).await?;
        attach(page, "usedIps", ips)
    }
}

pub fn module() -> Module {
    Module::new("nic")
        .category("instance")
        .query::<VmNicInventory>("QueryVmNic", "/vm-instances/nics")
        .cascade(&cascade::VmNicKind, cascade::EDGES)
}
