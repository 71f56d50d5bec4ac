use std::net::IpAddr;

use engine::db::Tx;
use engine::inventory::find;
use engine::{Id, Result, Stamp, args, codes};
use wire::tls::MachineId;

use super::api::CreateEnrolmentToken;
use super::{EnrolmentToken, Machine, MachineInventory};

const SIGNING: &str = "SELECT certificate, private_key FROM certificate_authority WHERE signs";
const INSERT_AUTHORITY: &str = "INSERT INTO certificate_authority (fingerprint, certificate, private_key, signs, \
     create_date) VALUES ($1, $2, $3, TRUE, $4) ON CONFLICT DO NOTHING";
const AUTHORITIES: &str = "SELECT certificate FROM certificate_authority ORDER BY create_date, fingerprint";
const REVOKED: &str =
    "SELECT uuid FROM machine WHERE state = 'Revoked' AND certified_until > $1 ORDER BY uuid";

const INSERT: &str = "INSERT INTO machine (uuid, name, roles, address, state, certified_until, create_date, \
     last_op_date) VALUES ($1, $2, $3, $4, 'Enrolled', $5, $5, $5)";
const AT_ADDRESS: &str = "SELECT * FROM machine WHERE address = $1 AND state = 'Enrolled'";
const CERTIFY: &str = "UPDATE machine SET \
     certified_until = CASE WHEN certified_until > $2 THEN certified_until ELSE $2 END, last_op_date = $3 \
     WHERE uuid = $1 AND state = 'Enrolled'";
const REVOKE: &str =
    "UPDATE machine SET state = 'Revoked', last_op_date = $2 WHERE uuid = $1 AND state <> 'Revoked'";

const INSERT_TOKEN: &str = "INSERT INTO enrolment_token (uuid, name, roles, secret, expired_date, create_date) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const TOKEN: &str = "SELECT uuid, roles, secret, expired_date, machine_uuid, machine_key FROM enrolment_token \
     WHERE uuid = $1";
const USE_TOKEN: &str = "UPDATE enrolment_token SET machine_uuid = $2, machine_key = $3 \
     WHERE uuid = $1 AND machine_uuid IS NULL";
const DELETE_TOKEN: &str = "DELETE FROM enrolment_token WHERE uuid = $1";
const FORGET_TOKENS: &str = "DELETE FROM enrolment_token WHERE expired_date < $1";

/// A token as it is checked.
#[derive(engine::db::Row)]
pub(super) struct TokenRow {
    pub uuid: Id<EnrolmentToken>,
    pub roles: String,
    pub secret: String,
    pub expired_date: Stamp,
    pub machine_uuid: Option<Id<Machine>>,
    pub machine_key: Option<String>,
}

impl MachineInventory {
    pub(super) fn has(&self, role: &str) -> bool {
        self.roles.split(',').any(|has| has == role)
    }
}

/// Certificate and key.
pub(super) async fn signing(tx: &mut Tx) -> Result<Option<(String, String)>> {
    tx.opt(SIGNING, args![]).await
}

pub(super) async fn insert_authority(
    tx: &mut Tx,
    fingerprint: &str,
    certificate: &str,
    key: &str,
) -> Result<()> {
    tx.exec(INSERT_AUTHORITY, args![fingerprint, certificate, key, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn authorities(tx: &mut Tx) -> Result<Vec<String>> {
    let rows = tx.all::<(String,)>(AUTHORITIES, args![]).await?;
    Ok(rows.into_iter().map(|(certificate,)| certificate).collect())
}

/// Those of whom some certificate is still good.
pub(super) async fn revoked(tx: &mut Tx) -> Result<Vec<MachineId>> {
    let rows = tx.all::<(String,)>(REVOKED, args![Stamp::now()]).await?;
    let read = rows.into_iter().map(|(uuid,)| uuid.parse());
    read.collect::<std::result::Result<_, _>>().map_err(|error: String| codes::INTERNAL.because(error))
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<Machine>,
    name: &str,
    roles: &str,
    address: IpAddr,
) -> Result<()> {
    tx.exec(INSERT, args![uuid, name, roles, address.to_string(), Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn at_address(tx: &mut Tx, address: IpAddr) -> Result<Option<MachineInventory>> {
    tx.opt(AT_ADDRESS, args![address.to_string()]).await
}

/// Notes that the machine gets a certificate until then.
pub(super) async fn certify(tx: &mut Tx, uuid: Id<Machine>, until: Stamp) -> Result<MachineInventory> {
    let done = tx.exec(CERTIFY, args![uuid, until, Stamp::now()]).await?;
    let machine: MachineInventory = find(tx, uuid).await?;
    match done {
        0 => Err(codes::STATE.because(format!("machine \"{}\" is revoked: enrol it again", machine.name))),
        _ => Ok(machine),
    }
}

pub(super) async fn revoke(tx: &mut Tx, uuid: Id<Machine>) -> Result<()> {
    tx.exec(REVOKE, args![uuid, Stamp::now()]).await?;
    Ok(())
}

pub(super) async fn insert_token(
    tx: &mut Tx,
    uuid: Id<EnrolmentToken>,
    token: &CreateEnrolmentToken,
    secret: &str,
    until: Stamp,
) -> Result<()> {
    let row = args![uuid, &token.name, token.roles.join(","), secret, until, Stamp::now()];
    tx.exec(INSERT_TOKEN, row).await?;
    Ok(())
}

pub(super) async fn token(tx: &mut Tx, uuid: Id<EnrolmentToken>) -> Result<Option<TokenRow>> {
    tx.opt(TOKEN, args![uuid]).await
}

pub(super) async fn use_token(
    tx: &mut Tx,
    uuid: Id<EnrolmentToken>,
    machine: Id<Machine>,
    key: &str,
) -> Result<()> {
    match tx.exec(USE_TOKEN, args![uuid, machine, key]).await? {
        1 => Ok(()),
        _ => Err(codes::STATE.because("the token was used by another machine just now")),
    }
}

pub(super) async fn delete_token(tx: &mut Tx, uuid: Id<EnrolmentToken>) -> Result<()> {
    tx.exec(DELETE_TOKEN, args![uuid]).await?;
    Ok(())
}

pub(super) async fn forget_tokens(tx: &mut Tx, now: Stamp) -> Result<()> {
    tx.exec(FORGET_TOKENS, args![now]).await?;
    Ok(())
}
