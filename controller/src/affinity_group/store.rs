use engine::db::{Tx, Value};
use engine::{Any, Id, Result, Stamp, args};

use super::api::{CreateAffinityGroup, UpdateAffinityGroup};
use super::{AffinityGroup, AffinityGroupUsage, AffinityGroupUsageInventory};

pub(super) const OF_ACCOUNT: &str = "SELECT x.uuid, x.name, r.account_uuid FROM affinity_group x \
     JOIN account_resource_ref r ON r.resource_uuid = x.uuid WHERE r.account_uuid IN ($*)";
pub(super) const IN_ZONE: &str = "SELECT uuid, name, zone_uuid FROM affinity_group WHERE zone_uuid IN ($*)";
pub(super) const OWNED: &str = "SELECT count(*) FROM account_resource_ref \
     WHERE account_uuid = $1 AND resource_type = 'AffinityGroupVO'";
const INSERT: &str = "INSERT INTO affinity_group (uuid, name, description, policy, version, type, appliance, \
     zone_uuid, state, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, '1.0', 'host', 'CUSTOMER', $5, 'Enabled', $6, $6)";
const UPDATE: &str = "UPDATE affinity_group SET name = coalesce($2, name), \
     description = coalesce($3, description), last_op_date = $4 WHERE uuid = $1";
const STATE: &str = "UPDATE affinity_group SET state = $2, last_op_date = $3 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM affinity_group WHERE uuid = $1";
/// Its VMs say so of themselves.
const UNSAY: &str = "DELETE FROM system_tag WHERE tag = $1 AND resource_type = 'VmInstanceVO'";
const USAGES: &str = "SELECT * FROM affinity_group_usage WHERE affinity_group_uuid IN ($*) \
     ORDER BY create_date, uuid";
const ENTER: &str = "INSERT INTO affinity_group_usage (uuid, affinity_group_uuid, resource_uuid, resource_type, \
     create_date, last_op_date) VALUES ($1, $2, $3, 'VmInstanceVO', $4, $4) \
     ON CONFLICT (affinity_group_uuid, resource_uuid) DO NOTHING";
const LEAVE: &str = "DELETE FROM affinity_group_usage WHERE affinity_group_uuid = $1 AND resource_uuid = $2";
const OF_MEMBER: &str = "SELECT affinity_group_uuid FROM affinity_group_usage WHERE resource_uuid = $1 \
     ORDER BY affinity_group_uuid";
const OWNER: &str = "SELECT account_uuid FROM account_resource_ref WHERE resource_uuid = $1";

pub(super) async fn insert(tx: &mut Tx, uuid: Id<AffinityGroup>, new: &CreateAffinityGroup) -> Result<()> {
    let (name, description) = (&new.name, new.description.as_deref());
    let row = args![uuid, name, description, new.policy.name(), new.zone_uuid, Stamp::now()];
    tx.exec(INSERT, row).await.map(|_| ())
}

pub(super) async fn update(tx: &mut Tx, changed: &UpdateAffinityGroup) -> Result<()> {
    let (name, description) = (changed.name.as_deref(), changed.description.as_deref());
    tx.exec(UPDATE, args![changed.uuid, name, description, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn set_state(tx: &mut Tx, uuid: Id<AffinityGroup>, state: &str) -> Result<()> {
    tx.exec(STATE, args![uuid, state, Stamp::now()]).await.map(|_| ())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<AffinityGroup>) -> Result<()> {
    tx.exec(UNSAY, args![format!("affinityGroupUuid::{uuid}")]).await?;
    tx.exec(DELETE, args![uuid]).await.map(|_| ())
}

pub(super) async fn usages(tx: &mut Tx, groups: Vec<Value>) -> Result<Vec<AffinityGroupUsageInventory>> {
    tx.all_of(USAGES, groups).await
}

/// The VM is in the group from now on; false when it was before.
pub async fn enter(tx: &mut Tx, group: Id<AffinityGroup>, vm: Id<Any>) -> Result<bool> {
    let uuid = Id::<AffinityGroupUsage>::derived(&[&group.to_string(), &vm.to_string()]);
    Ok(tx.exec(ENTER, args![uuid, group, vm, Stamp::now()]).await? == 1)
}

/// It is in it no more; false when it was not.
pub async fn leave(tx: &mut Tx, group: Id<AffinityGroup>, vm: Id<Any>) -> Result<bool> {
    Ok(tx.exec(LEAVE, args![group, vm]).await? == 1)
}

/// The groups that the VM is in.
pub async fn of_member(tx: &mut Tx, vm: Id<Any>) -> Result<Vec<Id<AffinityGroup>>> {
    let groups: Vec<(Id<AffinityGroup>,)> = tx.all(OF_MEMBER, args![vm]).await?;
    Ok(groups.into_iter().map(|(group,)| group).collect())
}

/// Whose the group is.
pub async fn owner(tx: &mut Tx, group: Id<AffinityGroup>) -> Result<Option<Id<Any>>> {
    Ok(tx.opt::<(Id<Any>,)>(OWNER, args![group]).await?.map(|(account,)| account))
}
