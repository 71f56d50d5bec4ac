//! The tables of tags: the only SQL of this room.

use serde_json::Value;

use super::{SystemTag, Wanted, invalid, pattern, plain, types};
use crate::api;
use crate::args;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::id::{Any, Id, Stamp};
use crate::query::Schema;
use crate::tag::Hold;

/// The columns of both tables that conditions ask for.
pub(crate) const TEXT: &str = "tag";
pub(crate) const OWNER: &str = "resource_uuid";

const PUT_USER: &str = "INSERT INTO user_tag (uuid, resource_uuid, resource_type, tag, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (resource_uuid, tag) DO NOTHING";
const PUT_SYSTEM: &str = "INSERT INTO system_tag (uuid, resource_uuid, resource_type, tag, pattern, inherent, \
     create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (resource_uuid, tag) DO NOTHING";
const USER_TAG: &str = "SELECT uuid FROM user_tag WHERE resource_uuid = $1 AND tag = $2";
const SYSTEM_TAG: &str = "SELECT uuid FROM system_tag WHERE resource_uuid = $1 AND tag = $2";
const OF: &str = "SELECT tag FROM system_tag WHERE resource_uuid = $1 AND pattern = $2 ORDER BY tag";
const ALL_OF: &str = "SELECT resource_uuid, tag FROM system_tag WHERE resource_uuid IN ($*) ORDER BY tag";
const DROP_PATTERN: &str =
    "DELETE FROM system_tag WHERE resource_uuid = $1 AND pattern = $2 AND inherent AND tag <> $3";
const DROP_FREE: &str = "DELETE FROM system_tag WHERE resource_uuid = $1 AND pattern = $2 AND NOT inherent";
const FORGET_USER: &str = "DELETE FROM user_tag WHERE resource_uuid = $1";
const FORGET_SYSTEM: &str = "DELETE FROM system_tag WHERE resource_uuid = $1";
const DELETE_USER: &str = "DELETE FROM user_tag WHERE uuid = $1";
const DELETE_SYSTEM: &str = "DELETE FROM system_tag WHERE uuid = $1";
const CALL: &str = "SELECT api, params FROM job WHERE uuid = $1";
const BIRTH: &str = "SELECT api, params, EXISTS (SELECT 1 FROM user_tag WHERE resource_uuid IN ($2, job.resource)) \
     OR EXISTS (SELECT 1 FROM system_tag WHERE resource_uuid IN ($2, job.resource)) AS tagged \
     FROM job WHERE uuid = $1";

/// So many tags without a resource are taken at a time.
const ORPHANS: usize = 1000;

/// The table behind a pseudo-field of queries.
pub(crate) fn table(name: &str) -> Option<&'static str> {
    match name {
        "__userTag__" => Some("user_tag"),
        "__systemTag__" => Some("system_tag"),
        _ => None,
    }
}

/// Whether a path ends in tags.
pub(crate) fn ends(path: &str) -> bool {
    table(path.rsplit('.').next().unwrap_or_default()).is_some()
}

/// What stands behind FROM to read the tags of `table` whose resources are there. A tag of another kind than
/// its resource, or whose resource is gone, is shown to nobody.
pub fn shown(schema: &Schema, table: &str) -> String {
    format!("(SELECT g.* FROM {table} g WHERE {})", there(schema, "g"))
}

fn there(schema: &Schema, alias: &str) -> String {
    let is_there = |(kind, table): &(&str, &str)| {
        format!("WHEN '{kind}VO' THEN EXISTS (SELECT 1 FROM {table} o WHERE o.uuid = {alias}.resource_uuid)")
    };
    let cases: Vec<_> = types(schema).iter().map(is_there).collect();
    format!("CASE {alias}.resource_type {} ELSE FALSE END", cases.join(" "))
}

/// Puts a user's tag on a resource of `kind`, once; the tag's uuid.
pub async fn put_user(
    tx: &mut Tx,
    kind: &str,
    resource: Id<Any>,
    text: &str,
    uuid: Id<Any>,
) -> Result<Id<Any>> {
    plain(text)?;
    must_be_there(tx, kind, resource).await?;
    let row = args![uuid, resource, format!("{kind}VO"), text, Stamp::now()];
    tx.exec(PUT_USER, row).await?;
    Ok(tx.one::<(Id<Any>,)>(USER_TAG, args![resource, text]).await?.0)
}

/// Puts a system tag on a resource that is there already; the tag's uuid.
pub async fn put_system(
    tx: &mut Tx,
    kind: &str,
    resource: Id<Any>,
    text: &str,
    uuid: Id<Any>,
) -> Result<Id<Any>> {
    let tag = fits(tx, kind, resource, text, None).await?;
    insert(tx, kind, resource, (&tag, text), uuid).await?;
    Ok(tx.one::<(Id<Any>,)>(SYSTEM_TAG, args![resource, text]).await?.0)
}

/// Of which pattern a tag is that a user wants on a resource which is there already, perhaps in place of
/// `instead`; refused when it cannot be put there.
pub async fn fits(
    tx: &mut Tx,
    kind: &str,
    resource: Id<Any>,
    text: &str,
    instead: Option<&str>,
) -> Result<SystemTag> {
    let engine = tx.engine();
    let (tag, tokens) = pattern::recognised(engine.system_tags(), kind, text)?;
    match tag.hold {
        Hold::Inherent => return Err(super::inherent(text)),
        Hold::Birth | Hold::Kept => {
            let text = tag.told(text);
            let details =
                format!("system tag \"{text}\" steers how a {kind} is made: give it with that call");
            return Err(codes::STATE.because(details));
        }
        Hold::Free => {}
    }
    must_be_there(tx, kind, resource).await?;
    let place = tag.place(&tokens);
    for other in of(tx, &tag, resource).await? {
        let there = tag.read(&other).map(|tokens| tag.place(&tokens));
        if other != text && Some(other.as_str()) != instead && there.as_ref() == Some(&place) {
            return Err(
                codes::STATE.because(format!("there is the system tag \"{other}\" already: update it"))
            );
        }
    }
    Ok(tag)
}

/// The resource has exactly this tag of an inherent pattern from now on.
pub async fn enter_inherent(tx: &mut Tx, tag: &SystemTag, resource: Id<Any>, tokens: &[&str]) -> Result<()> {
    let text = tag.text(tokens);
    tx.exec(DROP_PATTERN, args![resource, tag.pattern, &text]).await?;
    insert(tx, tag.resource, resource, (tag, &text), Id::random()).await
}

/// The resource has exactly this tag of a pattern that users may put on, or none of it.
pub async fn replace(tx: &mut Tx, tag: &SystemTag, resource: Id<Any>, text: Option<&str>) -> Result<()> {
    replace_all(tx, tag, resource, text.as_slice()).await
}

/// The resource has exactly these tags of a pattern that users may put on.
pub async fn replace_all(tx: &mut Tx, tag: &SystemTag, resource: Id<Any>, texts: &[&str]) -> Result<()> {
    tx.exec(DROP_FREE, args![resource, tag.pattern]).await?;
    let engine = tx.engine();
    for text in texts {
        let (tag, _) = pattern::recognised(engine.system_tags(), tag.resource, text)?;
        insert(tx, tag.resource, resource, (&tag, text), Id::random()).await?;
    }
    Ok(())
}

/// The resource has no tag of this inherent pattern.
pub async fn drop_inherent(tx: &mut Tx, tag: &SystemTag, resource: Id<Any>) -> Result<()> {
    tx.exec(DROP_PATTERN, args![resource, tag.pattern, ""]).await.map(|_| ())
}

async fn insert(
    tx: &mut Tx,
    kind: &str,
    resource: Id<Any>,
    (tag, text): (&SystemTag, &str),
    uuid: Id<Any>,
) -> Result<()> {
    let inherent = tag.hold == Hold::Inherent;
    let row = args![uuid, resource, format!("{kind}VO"), text, tag.pattern, inherent, Stamp::now()];
    tx.exec(PUT_SYSTEM, row).await.map(|_| ())
}

async fn must_be_there(tx: &mut Tx, kind: &str, resource: Id<Any>) -> Result<()> {
    let engine = tx.engine();
    let table = engine.schema().entity(kind).map(|entity| entity.table);
    let table = table.ok_or_else(|| invalid(format!("there is no kind {kind}")))?;
    let sql = format!("SELECT count(*) FROM {table} WHERE uuid = $1");
    let found = tx.composed::<(i64,)>(sql, args![resource]).await?;
    match found.first() {
        Some((1,)) => Ok(()),
        _ => Err(codes::NOT_FOUND
            .because(format!("there is no {kind} of uuid {resource}; it may have been deleted"))),
    }
}

/// The tags of one pattern on a resource.
pub async fn of(tx: &mut Tx, tag: &SystemTag, resource: Id<Any>) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = tx.all(OF, args![resource, tag.pattern]).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// All system tags of these resources.
pub async fn all_of(tx: &mut Tx, resources: Vec<crate::db::Value>) -> Result<Vec<(String, String)>> {
    tx.all_of(ALL_OF, resources).await
}

/// Takes a tag away, whoever's it is; false when there is none.
pub async fn delete(tx: &mut Tx, uuid: Id<Any>) -> Result<bool> {
    Ok(tx.exec(DELETE_USER, args![uuid]).await? + tx.exec(DELETE_SYSTEM, args![uuid]).await? > 0)
}

/// What the job's call makes has just been written by its flow, which works on it, or on what it is a part of: so
/// are its tags, and no others.
pub(crate) async fn born_of_flow(tx: &mut Tx, job: Id<Any>, works_on: Id<Any>) -> Result<()> {
    match birth(tx, job, works_on).await? {
        Some((birth, tagged)) => give(tx, &birth, birth.uuid.unwrap_or(works_on), tagged).await,
        None => Ok(()),
    }
}

/// The same of what a unit has written that says what it made.
pub(crate) async fn born(tx: &mut Tx, job: Id<Any>, made: Id<Any>) -> Result<()> {
    match birth(tx, job, made).await? {
        Some((birth, tagged)) => give(tx, &birth, made, tagged).await,
        None => Ok(()),
    }
}

/// What the job's call makes, and whether it, or `about`, has tags.
async fn birth(tx: &mut Tx, job: Id<Any>, about: Id<Any>) -> Result<Option<(Birth, bool)>> {
    let call = tx.opt::<(String, String, bool)>(BIRTH, args![job, about]).await?;
    let Some((api, params, tagged)) = call else { return Ok(None) };
    Ok(made_by(&tx.engine(), job, &api, &params)?.map(|birth| (birth, tagged)))
}

async fn give(tx: &mut Tx, birth: &Birth, resource: Id<Any>, tagged: bool) -> Result<()> {
    let (engine, kind) = (tx.engine(), birth.kind);
    if tagged {
        forget(tx, resource).await?;
    }
    for text in &birth.wanted.user {
        let row = args![Id::<Any>::random(), resource, format!("{kind}VO"), text, Stamp::now()];
        tx.exec(PUT_USER, row).await?;
    }
    for text in &birth.wanted.system {
        let (tag, _) = pattern::recognised(engine.system_tags(), kind, text)?;
        if tag.hold != Hold::Kept {
            insert(tx, kind, resource, (&tag, text), Id::random()).await?;
        }
    }
    Ok(())
}

/// What the job's call had made by a flow was taken back.
pub(crate) async fn unborn(tx: &mut Tx, job: Id<Any>, works_on: Id<Any>) -> Result<()> {
    let Some((api, params)) = tx.opt::<(String, String)>(CALL, args![job]).await? else { return Ok(()) };
    match made_by(&tx.engine(), job, &api, &params)? {
        Some(birth) => forget_if_gone(tx, birth.kind, birth.uuid.unwrap_or(works_on)).await,
        None => Ok(()),
    }
}

/// Its tags go, unless the resource is there yet.
pub(crate) async fn forget_if_gone(tx: &mut Tx, kind: &str, resource: Id<Any>) -> Result<()> {
    let engine = tx.engine();
    let Some(entity) = engine.schema().entity(kind) else { return Ok(()) };
    let sql = format!("SELECT count(*) FROM {} WHERE uuid = $1", entity.table);
    let found = tx.composed::<(i64,)>(sql, args![resource]).await?;
    match found.first() {
        Some((0,)) => forget(tx, resource).await,
        _ => Ok(()),
    }
}

/// What a call makes, and the tags that came with it.
struct Birth {
    kind: &'static str,
    /// Where the call tells it.
    uuid: Option<Id<Any>>,
    wanted: Wanted,
}

fn made_by(engine: &Engine, job: Id<Any>, api: &str, params: &str) -> Result<Option<Birth>> {
    let Some(kind) = engine.makes(api) else { return Ok(None) };
    let mut params: Value = serde_json::from_str(params)?;
    let uuid = api::made(&engine.call(api)?.route, &params, job);
    Ok(Some(Birth { kind, uuid, wanted: Wanted::take(&mut params)? }))
}

/// The resource is gone, and its tags with it.
pub(crate) async fn forget(tx: &mut Tx, resource: Id<Any>) -> Result<()> {
    tx.exec(FORGET_USER, args![resource]).await?;
    tx.exec(FORGET_SYSTEM, args![resource]).await.map(|_| ())
}

/// Takes away tags whose resources went without saying so. They are looked for by reading, and looked at
/// again where they are taken.
pub async fn drop_orphans(engine: &Engine) -> Result<()> {
    for table in ["user_tag", "system_tag"] {
        let there = there(engine.schema(), table);
        let sql = format!("SELECT uuid FROM {table} WHERE NOT ({there}) LIMIT {ORPHANS}");
        let found: Vec<(Id<Any>,)> =
            engine.db().read_much(|tx| Box::pin(tx.composed(sql, Vec::new()))).await?;
        if found.is_empty() {
            continue;
        }
        tracing::info!(table, tags = found.len(), "tags without a resource go");
        let sql = format!("DELETE FROM {table} WHERE uuid = $1 AND NOT ({there}) RETURNING uuid");
        let taken = engine.db().write(move |tx| {
            Box::pin(async move {
                for (uuid,) in found {
                    tx.composed::<(Id<Any>,)>(sql.clone(), args![uuid]).await?;
                }
                Ok(())
            })
        });
        taken.await?;
    }
    Ok(())
}
