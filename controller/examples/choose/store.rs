//! The rows of a crowd of hosts, and of VMs that are only to be somewhere.

use engine::db::{Tx, Value};
use engine::{Any, Id, Result, args};

const ZONE: &str = "INSERT INTO zone (uuid, name, state, type, is_default, create_date, last_op_date) \
     VALUES ($1, 'z', 'Enabled', 'zstack', FALSE, 0, 0)";
const CLUSTER: &str = "INSERT INTO cluster (uuid, name, state, hypervisor_type, zone_uuid, type, create_date, \
     last_op_date) VALUES ($1, 'c', 'Enabled', 'KVM', $2, 'zstack', 0, 0)";
const HOST: &str = "INSERT INTO host (uuid, name, zone_uuid, cluster_uuid, management_ip, hypervisor_type, state, \
     status, username, ssh_port, cpu_num, cpu_sockets, cpu_speed, total_memory, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, 'KVM', 'Enabled', 'Connected', 'root', 22, 64, 2, 0, $6, 0, 0)";
const VM: &str = "INSERT INTO vm_instance (uuid, internal_id, name, platform, type, hypervisor_type, cpu_num, \
     cpu_speed, memory_size, reserved_memory_size, allocator_strategy, virtio, state, create_date, \
     last_op_date) VALUES ($1, $2, 'v', 'Linux', 'UserVm', 'KVM', 1, 0, 1, 0, 's', TRUE, 'Running', 0, 0)";
const EMPTY: &str = "DELETE FROM host_claim";

/// A zone with so many hosts that nobody asks.
pub async fn furnish(tx: &mut Tx, hosts: usize) -> Result<()> {
    let (zone, cluster) = (Id::<Any>::random(), Id::<Any>::random());
    tx.exec(ZONE, args![zone]).await?;
    tx.exec(CLUSTER, args![cluster, zone]).await?;
    for number in 0..hosts {
        let ip = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        let row: Vec<Value> = args![Id::<Any>::random(), ip.as_str(), zone, cluster, &ip, 256_i64 << 30];
        tx.exec(HOST, row).await?;
    }
    Ok(())
}

pub async fn enter_vm(tx: &mut Tx, vm: Id<Any>, number: i64) -> Result<()> {
    tx.exec(VM, args![vm, number]).await?;
    Ok(())
}

/// No VM is anywhere.
pub async fn empty(tx: &mut Tx) -> Result<()> {
    tx.exec(EMPTY, Vec::new()).await?;
    Ok(())
}
