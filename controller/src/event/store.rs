use engine::db::Tx;
use engine::event::Event;
use engine::{Any, Id, Result, Stamp, args};

use super::api::{CreateWebhook, UpdateWebhook};
use super::{DeadLetter, WebHook};

const INSERT: &str = "INSERT INTO web_hook (uuid, name, description, url, type, opaque, secret, seq, failures, \
     not_before, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT coalesce(max(seq), 0) FROM event), 0, 0, $8, $8)";
const UPDATE: &str = "UPDATE web_hook SET name = coalesce($2, name), description = coalesce($3, description), \
     url = coalesce($4, url), type = coalesce($5, type), opaque = coalesce($6, opaque), failures = 0, \
     not_before = 0, last_op_date = $7 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM web_hook WHERE uuid = $1";
const BEHIND: &str = "SELECT uuid, url, type, opaque, secret, seq, failures FROM web_hook \
     WHERE seq < (SELECT coalesce(max(seq), 0) FROM event) AND not_before <= $1";
const HOOK: &str = "SELECT uuid, url, type, opaque, secret, seq, failures FROM web_hook WHERE uuid = $1";
const HEARD: &str =
    "UPDATE web_hook SET seq = $3, failures = 0, last_error = NULL WHERE uuid = $1 AND seq = $2";
const FAILED: &str = "UPDATE web_hook SET failures = failures + 1, last_error = $3, not_before = $4 \
     WHERE uuid = $1 AND seq = $2";
const GIVEN_UP: &str =
    "UPDATE web_hook SET seq = $3, failures = 0, last_error = $4 WHERE uuid = $1 AND seq = $2";
const BURY: &str = "INSERT INTO dead_letter (uuid, web_hook_uuid, seq, name, resource, payload, event_date, error, \
     create_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const LETTER: &str =
    "SELECT web_hook_uuid, seq, name, resource, payload, event_date FROM dead_letter WHERE uuid = $1";
const FORGET_LETTER: &str = "DELETE FROM dead_letter WHERE uuid = $1";
const CURSOR: &str = "SELECT seq FROM event_cursor WHERE name = $1";
const SET_CURSOR: &str = "INSERT INTO event_cursor (name, seq) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET seq = excluded.seq";

/// A web hook that is to be told of something.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Hook {
    pub uuid: Id<WebHook>,
    pub url: String,
    pub r#type: String,
    pub opaque: Option<String>,
    pub secret: String,
    pub seq: i64,
    pub failures: i64,
}

#[derive(Debug, engine::db::Row)]
struct Letter {
    web_hook_uuid: Id<WebHook>,
    seq: i64,
    name: String,
    resource: Id<Any>,
    payload: String,
    event_date: Stamp,
}

pub(super) async fn insert(tx: &mut Tx, uuid: Id<WebHook>, hook: &CreateWebhook, secret: &str) -> Result<()> {
    let mut row = args![uuid, &hook.name, hook.description.as_deref(), &hook.url, &hook.r#type];
    row.extend(args![hook.opaque.as_deref(), secret, Stamp::now()]);
    tx.exec(INSERT, row).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, hook: &UpdateWebhook) -> Result<()> {
    let mut row = args![hook.uuid, hook.name.as_deref(), hook.description.as_deref(), hook.url.as_deref()];
    row.extend(args![hook.r#type.as_deref(), hook.opaque.as_deref(), Stamp::now()]);
    tx.exec(UPDATE, row).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<WebHook>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

/// Those that have not been told everything, and whose pause is over.
pub(super) async fn behind(tx: &mut Tx) -> Result<Vec<Hook>> {
    tx.all(BEHIND, args![Stamp::now()]).await
}

pub(super) async fn hook(tx: &mut Tx, uuid: Id<WebHook>) -> Result<Option<Hook>> {
    tx.opt(HOOK, args![uuid]).await
}

/// The hook has come from `hook.seq` to `seq`; false when it was elsewhere.
pub(super) async fn heard(tx: &mut Tx, hook: &Hook, seq: i64) -> Result<bool> {
    Ok(tx.exec(HEARD, args![hook.uuid, hook.seq, seq]).await? == 1)
}

pub(super) async fn failed(tx: &mut Tx, hook: &Hook, error: &str, not_before: Stamp) -> Result<()> {
    tx.exec(FAILED, args![hook.uuid, hook.seq, error, not_before]).await?;
    Ok(())
}

/// The event becomes a dead letter, and the next one has its turn.
pub(super) async fn give_up(tx: &mut Tx, hook: &Hook, event: &Event, error: &str) -> Result<()> {
    if tx.exec(GIVEN_UP, args![hook.uuid, hook.seq, event.seq, error]).await? == 0 {
        return Ok(());
    }
    let mut row = args![Id::<DeadLetter>::random(), hook.uuid, event.seq, &event.name, event.resource];
    row.extend(args![&event.payload, event.create_date, error, Stamp::now()]);
    tx.exec(BURY, row).await?;
    Ok(())
}

/// The event of a dead letter, and whose it is.
pub(super) async fn letter(tx: &mut Tx, uuid: Id<DeadLetter>) -> Result<Option<(Id<WebHook>, Event)>> {
    let Some(letter) = tx.opt::<Letter>(LETTER, args![uuid]).await? else { return Ok(None) };
    let Letter { web_hook_uuid, seq, name, resource, payload, event_date } = letter;
    let payload = serde_json::from_str(&payload)?;
    Ok(Some((web_hook_uuid, Event { seq, name, resource, payload, create_date: event_date })))
}

pub(super) async fn forget_letter(tx: &mut Tx, uuid: Id<DeadLetter>) -> Result<()> {
    tx.exec(FORGET_LETTER, args![uuid]).await?;
    Ok(())
}

/// How far `listener` has come; `None` when it never listened.
pub(super) async fn cursor(tx: &mut Tx, listener: &str) -> Result<Option<i64>> {
    Ok(tx.opt::<(i64,)>(CURSOR, args![listener]).await?.map(|row| row.0))
}

pub(super) async fn set_cursor(tx: &mut Tx, listener: &str, seq: i64) -> Result<()> {
    tx.exec(SET_CURSOR, args![listener, seq]).await?;
    Ok(())
}
