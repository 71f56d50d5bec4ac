use engine::db::Tx;
use engine::{Id, Result, args};

use crate::ssh_key_pair::{SshKeyPair, SshKeyPairInventory};
use crate::vm::VmInstance;

/// The keys and the user data of a VM, each with what it is.
const KEPT: &str = "SELECT 'key' AS kind, k.public_key AS content FROM vm_ssh_key_pair r \
     JOIN ssh_key_pair k ON k.uuid = r.ssh_key_pair_uuid WHERE r.vm_instance_uuid = $1 \
     UNION ALL SELECT 'data' AS kind, d.user_data AS content FROM vm_user_data d WHERE d.vm_instance_uuid = $1";
const ATTACH: &str = "INSERT INTO vm_ssh_key_pair (vm_instance_uuid, ssh_key_pair_uuid) VALUES ($1, $2) \
     ON CONFLICT (vm_instance_uuid, ssh_key_pair_uuid) DO NOTHING";
const DETACH: &str = "DELETE FROM vm_ssh_key_pair WHERE vm_instance_uuid = $1 AND ssh_key_pair_uuid = $2";
const KEY_PAIRS: &str = "SELECT k.* FROM vm_ssh_key_pair r JOIN ssh_key_pair k ON k.uuid = r.ssh_key_pair_uuid \
     WHERE r.vm_instance_uuid = $1 ORDER BY k.name, k.uuid";
const USER_DATA: &str = "SELECT user_data FROM vm_user_data WHERE vm_instance_uuid = $1";
const SET_USER_DATA: &str = "INSERT INTO vm_user_data (vm_instance_uuid, user_data) VALUES ($1, $2) \
     ON CONFLICT (vm_instance_uuid) DO UPDATE SET user_data = excluded.user_data";
const DROP_USER_DATA: &str = "DELETE FROM vm_user_data WHERE vm_instance_uuid = $1";

/// The VM's keys, and its user data in base64.
pub(super) async fn kept(tx: &mut Tx, vm: Id<VmInstance>) -> Result<(Vec<String>, Option<String>)> {
    let rows: Vec<(String, String)> = tx.all(KEPT, args![vm]).await?;
    let (keys, data): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(kind, _)| kind == "key");
    Ok((keys.into_iter().map(|row| row.1).collect(), data.into_iter().next().map(|row| row.1)))
}

pub(super) async fn attach(tx: &mut Tx, vm: Id<VmInstance>, key: Id<SshKeyPair>) -> Result<()> {
    tx.exec(ATTACH, args![vm, key]).await.map(|_| ())
}

/// False when it was not attached.
pub(super) async fn detach(tx: &mut Tx, vm: Id<VmInstance>, key: Id<SshKeyPair>) -> Result<bool> {
    Ok(tx.exec(DETACH, args![vm, key]).await? == 1)
}

pub(super) async fn key_pairs(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<SshKeyPairInventory>> {
    tx.all(KEY_PAIRS, args![vm]).await
}

pub(super) async fn user_data(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(USER_DATA, args![vm]).await?.map(|row| row.0))
}

pub(super) async fn set_user_data(tx: &mut Tx, vm: Id<VmInstance>, text: &str) -> Result<()> {
    tx.exec(SET_USER_DATA, args![vm, text]).await.map(|_| ())
}

pub(super) async fn drop_user_data(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    tx.exec(DROP_USER_DATA, args![vm]).await.map(|_| ())
}
