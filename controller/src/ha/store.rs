use std::time::Duration;

use engine::db::Tx;
use engine::{Id, Result, Stamp, args};
use serde_json::json;

use super::evidence::Proof;
use super::power::Control;
use super::{CAP, HostFencing, HostFencingInventory, WINDOW};
use crate::host::{Host, HostInventory};
use crate::primary_storage::PrimaryStorage;
use crate::vm::VmInstance;

const LEASES: &str = "SELECT f.primary_storage_uuid AS storage, p.name, p.mount_path, f.interval_seconds AS interval, \
     f.seconds, f.strategy \
     FROM ha_fencer f JOIN primary_storage p ON p.uuid = f.primary_storage_uuid \
     WHERE f.host_uuid = $1 ORDER BY p.uuid";
const SET_UP: &str = "INSERT INTO ha_fencer (host_uuid, primary_storage_uuid, interval_seconds, seconds, strategy) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (host_uuid, primary_storage_uuid) DO UPDATE \
     SET interval_seconds = excluded.interval_seconds, seconds = excluded.seconds, strategy = excluded.strategy";
/// The more careful of both.
const AT_LEAST: &str = "UPDATE ha_fencer SET \
     interval_seconds = CASE WHEN interval_seconds < $3 THEN $3 ELSE interval_seconds END, \
     seconds = CASE WHEN seconds < $4 THEN $4 ELSE seconds END, \
     strategy = CASE WHEN strategy <> $5 THEN 'Permissive' ELSE strategy END \
     WHERE host_uuid = $1 AND primary_storage_uuid = $2";
const CANCELLED: &str = "DELETE FROM ha_fencer WHERE host_uuid = $1 AND primary_storage_uuid = $2";
const NEEDED: &str = "SELECT DISTINCT v.primary_storage_uuid FROM vm_instance m \
     JOIN volume v ON v.vm_instance_uuid = m.uuid WHERE m.host_uuid = $1 AND v.host_uuid IS NULL \
     AND v.primary_storage_uuid IS NOT NULL ORDER BY v.primary_storage_uuid";
const NAME_OF: &str = "SELECT name FROM primary_storage WHERE uuid = $1";
const OBSERVERS: &str = "SELECT h.* FROM host_view h JOIN primary_storage_host s ON s.host_uuid = h.uuid \
     WHERE s.primary_storage_uuid = $1 AND h.status = 'Connected' AND h.uuid <> $2 \
     AND h.state NOT IN ('PreMaintenance', 'Maintenance') ORDER BY h.uuid";
/// Hosts that do not answer and have something to lose, and that were not given up since.
const LOST: &str = "SELECT h.uuid FROM host h WHERE h.status = 'Disconnected' \
     AND h.state NOT IN ('PreMaintenance', 'Maintenance') \
     AND EXISTS (SELECT 1 FROM vm_instance v WHERE v.host_uuid = h.uuid) \
     AND NOT EXISTS (SELECT 1 FROM ha_fencing f WHERE f.host_uuid = h.uuid AND f.state IN ('Fencing', 'Fenced') \
        AND f.connection = h.connections)";
const STANDS: &str = "SELECT * FROM ha_fencing WHERE host_uuid = $1";
const NOTE: &str = "INSERT INTO ha_fencing (uuid, host_uuid, state, reason, evidence, connection, create_date, last_op_date) \
     SELECT $1, h.uuid, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), h.connections, CAST($6 AS BIGINT), \
        CAST($6 AS BIGINT) FROM host h WHERE h.uuid = $2 \
     ON CONFLICT (host_uuid) DO UPDATE SET state = excluded.state, reason = excluded.reason, \
     evidence = CASE WHEN excluded.state = 'Returned' THEN ha_fencing.evidence ELSE excluded.evidence END, \
     connection = excluded.connection, last_op_date = excluded.last_op_date";
const STATUS: &str = "SELECT status FROM host WHERE uuid = $1";
const IS_BEING: &str = "SELECT count(*) FROM ha_fencing f JOIN host h ON h.uuid = f.host_uuid \
     WHERE f.host_uuid = $1 AND f.state IN ('Fencing', 'Fenced') AND f.connection = h.connections";
/// Of one zone only one at a time is counted.
const ALONE: &str = "UPDATE zone SET last_op_date = last_op_date WHERE uuid = $1";
const LATELY: &str = "SELECT count(*) FROM ha_fencing f JOIN host h ON h.uuid = f.host_uuid \
     WHERE h.zone_uuid = $1 AND h.uuid <> $2 AND (f.state = 'Fencing' OR f.fenced_date > $3)";
const FENCED: &str = "UPDATE ha_fencing SET state = 'Fenced', fenced_date = $2, last_op_date = $2 \
     WHERE host_uuid = $1 AND state = 'Fencing'";
const FORGET_FENCED: &str = "DELETE FROM ha_fenced WHERE host_uuid = $1";
const ENTER_FENCED: &str = "INSERT INTO ha_fenced (host_uuid, primary_storage_uuid) VALUES ($1, $2)";
/// The host was given up and has not been connected since.
const IS_GIVEN_UP: &str = "SELECT count(*) FROM ha_fencing f JOIN host h ON h.uuid = f.host_uuid \
     WHERE f.host_uuid = $1 AND f.state = 'Fenced' AND f.connection = h.connections AND h.status <> 'Connected'";
const EVIDENCE: &str = "SELECT evidence FROM ha_fencing WHERE host_uuid = $1 AND evidence IS NOT NULL";
/// What keeps a VM of a fenced host from being known to be dead.
const UNFENCED: &str = "SELECT v.name, v.host_uuid IS NOT NULL AS local FROM volume v \
     WHERE v.vm_instance_uuid = $1 AND v.primary_storage_uuid IS NOT NULL AND (v.host_uuid IS NOT NULL \
        OR v.primary_storage_uuid NOT IN (SELECT primary_storage_uuid FROM ha_fenced WHERE host_uuid = $2)) \
     ORDER BY v.host_uuid IS NULL, v.name";
const MOVES: &str = "SELECT count(*) FROM vm_move WHERE vm_instance_uuid = $1";
const LEFT: &str = "SELECT v.uuid, v.name, v.state FROM vm_instance v WHERE v.host_uuid = $1 ORDER BY v.uuid";
/// VMs that may be written off now: of hosts that were given up, and that no flow works on.
const UNBURIED: &str = "SELECT v.uuid, v.name, v.host_uuid AS host FROM vm_instance v \
     JOIN host h ON h.uuid = v.host_uuid JOIN ha_fencing f ON f.host_uuid = h.uuid AND f.state = 'Fenced' \
        AND f.connection = h.connections LEFT JOIN ownership o ON o.resource = v.uuid \
     WHERE h.status <> 'Connected' AND v.state <> 'Unknown' AND o.flow IS NULL";
const BACK: &str = "SELECT f.host_uuid FROM ha_fencing f JOIN host h ON h.uuid = f.host_uuid \
     WHERE f.state <> 'Returned' AND f.state <> 'Fencing' AND h.status = 'Connected'";
const HAS_LEVEL: &str = "SELECT count(*) FROM vm_instance v JOIN system_tag t ON t.resource_uuid = v.uuid \
     WHERE v.host_uuid = $1 AND t.tag IN ('ha::NeverStop', 'ha::OnHostFailure')";
const OTHERS_LIVE: &str = "SELECT count(*) FROM host h JOIN host o ON o.zone_uuid = h.zone_uuid AND o.uuid <> h.uuid \
     WHERE h.uuid = $1 AND o.status = 'Connected'";
const LET_LIE: &str = "UPDATE vm_instance SET fallen = NULL WHERE uuid = $1 AND state = 'Stopped'";
const DUE: &str = "SELECT v.uuid, v.name, coalesce(r.attempts, 0) AS attempts, \
     coalesce(r.last_op_date, 0) AS tried FROM vm_instance v JOIN system_tag t ON t.resource_uuid = v.uuid \
        AND (t.tag = 'ha::NeverStop' OR (t.tag = 'ha::OnHostFailure' AND v.fallen = 'Host')) \
     LEFT JOIN ha_restart r ON r.vm_instance_uuid = v.uuid LEFT JOIN ownership o ON o.resource = v.uuid \
     WHERE v.fallen IS NOT NULL AND v.state = 'Stopped' AND (r.due IS NULL OR r.due <= $1) AND o.flow IS NULL";
const TRIES: &str = "INSERT INTO ha_restart (vm_instance_uuid, attempts, due, last_op_date) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (vm_instance_uuid) DO UPDATE SET attempts = excluded.attempts, due = excluded.due, error = NULL, \
     last_op_date = excluded.last_op_date";
const FAILED: &str = "UPDATE ha_restart SET error = $2 WHERE vm_instance_uuid = $1";
const RESTARTS: &str = "SELECT v.uuid, v.name, r.attempts, r.due, r.error FROM ha_restart r \
     JOIN vm_instance v ON v.uuid = r.vm_instance_uuid \
     WHERE v.last_host_uuid = $1 AND v.state = 'Stopped' AND v.fallen IS NOT NULL ORDER BY r.vm_instance_uuid";
const POWER: &str =
    "SELECT type AS kind, url, username, password, authority FROM host_power WHERE host_uuid = $1";
const SET_POWER: &str = "INSERT INTO host_power (host_uuid, type, url, username, password, authority) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (host_uuid) DO UPDATE SET type = excluded.type, \
     url = excluded.url, username = excluded.username, password = excluded.password, authority = excluded.authority";
const NO_POWER: &str = "DELETE FROM host_power WHERE host_uuid = $1";

/// A lease that a host renews.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Lease {
    pub storage: Id<PrimaryStorage>,
    pub name: String,
    pub mount_path: String,
    /// Seconds between two renewals.
    pub interval: i64,
    /// After so many without a renewal its VMs there are killed.
    pub seconds: i64,
    pub strategy: String,
}

/// What a fencer was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub interval: i64,
    pub seconds: i64,
    pub strategy: &'static str,
}

pub(super) async fn leases(tx: &mut Tx, host: Id<Host>) -> Result<Vec<Lease>> {
    tx.all(LEASES, args![host]).await
}

pub(super) async fn set_up(
    tx: &mut Tx,
    host: Id<Host>,
    storage: Id<PrimaryStorage>,
    terms: Terms,
) -> Result<()> {
    let Terms { interval, seconds, strategy } = terms;
    tx.exec(SET_UP, args![host, storage, interval, seconds, strategy]).await?;
    Ok(())
}

pub(super) async fn set_up_at_least(
    tx: &mut Tx,
    host: Id<Host>,
    storage: Id<PrimaryStorage>,
    terms: Terms,
) -> Result<()> {
    let Terms { interval, seconds, strategy } = terms;
    tx.exec(AT_LEAST, args![host, storage, interval, seconds, strategy]).await?;
    Ok(())
}

pub(super) async fn cancelled(tx: &mut Tx, host: Id<Host>, storage: Id<PrimaryStorage>) -> Result<()> {
    tx.exec(CANCELLED, args![host, storage]).await?;
    Ok(())
}

/// The shared storages on which VMs of the host have disks.
pub(super) async fn needed(tx: &mut Tx, host: Id<Host>) -> Result<Vec<Id<PrimaryStorage>>> {
    let found: Vec<(Id<PrimaryStorage>,)> = tx.all(NEEDED, args![host]).await?;
    Ok(found.into_iter().map(|(storage,)| storage).collect())
}

pub(super) async fn name_of(tx: &mut Tx, storage: Id<PrimaryStorage>) -> Result<String> {
    Ok(tx.one::<(String,)>(NAME_OF, args![storage]).await?.0)
}

/// The hosts that can watch the lease of `host`.
pub(super) async fn observers(
    tx: &mut Tx,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
) -> Result<Vec<HostInventory>> {
    tx.all(OBSERVERS, args![storage, host]).await
}

pub(super) async fn lost(tx: &mut Tx) -> Result<Vec<Id<Host>>> {
    Ok(tx.all::<(Id<Host>,)>(LOST, args![]).await?.into_iter().map(|(host,)| host).collect())
}

pub(super) async fn stands(tx: &mut Tx, host: Id<Host>) -> Result<Option<HostFencingInventory>> {
    tx.opt(STANDS, args![host]).await
}

/// Writes down how it stands, and tells when that is another state than before.
pub(super) async fn note(
    tx: &mut Tx,
    host: Id<Host>,
    state: &str,
    reason: &str,
    evidence: Option<&str>,
) -> Result<()> {
    let before = stands(tx, host).await?;
    if before.as_ref().is_some_and(|one| one.state == state && one.reason == reason) {
        return Ok(());
    }
    let uuid = Id::<HostFencing>::random();
    tx.exec(NOTE, args![uuid, host, state, reason, evidence, Stamp::now()]).await?;
    if before.is_none_or(|one| one.state != state) {
        let told = json!({ "state": state, "reason": reason });
        tx.emit("/ha/host/changed", host.cast(), told).await?;
    }
    Ok(())
}

/// As [`note`], of a host that is lost, or of one that is back; not when it has changed meanwhile.
pub(super) async fn note_if(tx: &mut Tx, host: Id<Host>, state: &str, reason: &str) -> Result<()> {
    let known: Option<(String,)> = tx.opt(STATUS, args![host]).await?;
    let Some((status,)) = known else { return Ok(()) };
    let given_up = tx.number(IS_BEING, args![host]).await? > 0;
    match state {
        "Returned" if status == "Connected" => note(tx, host, state, reason, None).await,
        "Returned" => Ok(()),
        _ if status == "Connected" || given_up => Ok(()),
        _ => note(tx, host, state, reason, None).await,
    }
}

/// Whether as many hosts of its zone were given up lately as may be.
pub(super) async fn seems_capped(tx: &mut Tx, host: &HostInventory) -> Result<bool> {
    let most = tx.engine().setting(&CAP);
    lately(tx, host).await.map(|count| count >= most)
}

/// The same for who gives one up then: nobody else counts at the same time.
pub(super) async fn is_capped(tx: &mut Tx, host: &HostInventory) -> Result<bool> {
    tx.exec(ALONE, args![host.zone_uuid]).await?;
    seems_capped(tx, host).await
}

/// How many others of its zone were given up lately.
pub(super) async fn lately(tx: &mut Tx, host: &HostInventory) -> Result<i64> {
    let since = Stamp::now().minus(tx.engine().setting(&WINDOW));
    tx.number(LATELY, args![host.zone_uuid, host.uuid, since]).await
}

/// From now on it is known not to write to the storages of the proof.
pub(super) async fn fenced(tx: &mut Tx, host: Id<Host>, proof: &Proof) -> Result<()> {
    tx.exec(FENCED, args![host, Stamp::now()]).await?;
    tx.exec(FORGET_FENCED, args![host]).await?;
    for lease in &proof.leases {
        tx.exec(ENTER_FENCED, args![host, lease.storage]).await?;
    }
    Ok(())
}

pub(super) async fn is_given_up(tx: &mut Tx, host: Id<Host>) -> Result<bool> {
    Ok(tx.number(IS_GIVEN_UP, args![host]).await? > 0)
}

/// By which evidence the host was given up.
pub(super) async fn evidence(tx: &mut Tx, host: Id<Host>) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(EVIDENCE, args![host]).await?.map(|(evidence,)| evidence))
}

/// A disk that keeps its VM from being known to be dead.
#[derive(Debug, engine::db::Row)]
pub(super) struct Unfenced {
    pub name: String,
    /// It lies on the host.
    pub local: bool,
}

/// Those of the VM when leases are all that was fenced of its host.
pub(super) async fn unfenced(tx: &mut Tx, vm: Id<VmInstance>, host: Id<Host>) -> Result<Vec<Unfenced>> {
    tx.all(UNFENCED, args![vm, host]).await
}

/// Whether it is, or was, on its way to another host.
pub(super) async fn moves(tx: &mut Tx, vm: Id<VmInstance>) -> Result<bool> {
    Ok(tx.number(MOVES, args![vm]).await? > 0)
}

/// A VM that its host has still, by the records.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Left {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub state: String,
}

pub(super) async fn left(tx: &mut Tx, host: Id<Host>) -> Result<Vec<Left>> {
    tx.all(LEFT, args![host]).await
}

pub(super) async fn unburied(tx: &mut Tx) -> Result<Vec<(Id<VmInstance>, String, Id<Host>)>> {
    tx.all(UNBURIED, args![]).await
}

/// Hosts that are connected again.
pub(super) async fn back(tx: &mut Tx) -> Result<Vec<Id<Host>>> {
    Ok(tx.all::<(Id<Host>,)>(BACK, args![]).await?.into_iter().map(|(host,)| host).collect())
}

/// Whether some of its VMs are to be started elsewhere.
pub(super) async fn has_level(tx: &mut Tx, host: Id<Host>) -> Result<bool> {
    Ok(tx.number(HAS_LEVEL, args![host]).await? > 0)
}

/// Whether any other host of its zone is connected.
pub(super) async fn others_live(tx: &mut Tx, host: Id<Host>) -> Result<bool> {
    Ok(tx.number(OTHERS_LIVE, args![host]).await? > 0)
}

/// What has fallen and is stopped is not raised.
pub(super) async fn let_lie(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    tx.exec(LET_LIE, args![vm]).await?;
    Ok(())
}

/// A VM that has fallen and is to be started again now.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Due {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub attempts: i64,
    pub tried: Stamp,
}

pub(super) async fn due(tx: &mut Tx) -> Result<Vec<Due>> {
    tx.all(DUE, args![Stamp::now()]).await
}

/// It is tried now for the `attempts`th time, and not again before `pause` is over.
pub(super) async fn tries(tx: &mut Tx, vm: Id<VmInstance>, attempts: i64, pause: Duration) -> Result<()> {
    let now = Stamp::now();
    tx.exec(TRIES, args![vm, attempts, now.plus(pause), now]).await?;
    tx.emit("/ha/vm/restarting", vm.cast(), json!({ "attempt": attempts })).await
}

pub(super) async fn failed(tx: &mut Tx, vm: Id<VmInstance>, error: &str) -> Result<()> {
    if tx.exec(FAILED, args![vm, error]).await? == 1 {
        tx.emit("/ha/vm/restartFailed", vm.cast(), json!({ "error": error })).await?;
    }
    Ok(())
}

/// A VM that waits for being started again.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Restart {
    pub uuid: Id<VmInstance>,
    pub name: String,
    pub attempts: i64,
    pub due: Stamp,
    pub error: Option<String>,
}

pub(super) async fn restarts(tx: &mut Tx, host: Id<Host>) -> Result<Vec<Restart>> {
    tx.all(RESTARTS, args![host]).await
}

pub(super) async fn power(tx: &mut Tx, host: Id<Host>) -> Result<Option<Control>> {
    tx.opt(POWER, args![host]).await
}

pub(super) async fn set_power(tx: &mut Tx, host: Id<Host>, control: &Control) -> Result<()> {
    let Control { kind, url, username, password, authority } = control;
    tx.exec(SET_POWER, args![host, kind, url, username, password, authority.as_deref()]).await?;
    Ok(())
}

pub(super) async fn no_power(tx: &mut Tx, host: Id<Host>) -> Result<()> {
    tx.exec(NO_POWER, args![host]).await?;
    Ok(())
}
