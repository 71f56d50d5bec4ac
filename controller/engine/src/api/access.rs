//! Whether a session may make a call with these parameters: the one place where it is decided, before any
//! handler sees them.
//!
//! What an account does not see is refused exactly as what does not exist: both by the same question.

use serde_json::Value;

use super::{Entry, EntryKind, Route, Session};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id, named};
use crate::scope;

/// Refuses a call that is not for who makes it, whatever it is about.
pub fn permit(entry: &Entry, session: &Session) -> Result<()> {
    let call = entry.route.name;
    if entry.route.admin && !session.admin {
        return Err(codes::DENIED.because(format!("{call} is for the administrator alone")));
    }
    match &session.rights {
        Some(rights) if !rights.allow(entry) => {
            let action = entry.action();
            Err(codes::DENIED
                .because(format!("no policy allows {call} here: attach one that allows {action}")))
        }
        _ => Ok(()),
    }
}

/// Reads the parameters once, and refuses those that name what the session does not see, or would change
/// what is not its own.
pub(super) async fn admit(engine: &Engine, entry: &Entry, session: &Session, params: &Value) -> Result<()> {
    let (EntryKind::Job { check, .. } | EntryKind::Ask { check, .. }) = &entry.kind else { return Ok(()) };
    let (read, mut ids) = named(|| check(params.clone()));
    read?;
    if session.admin {
        return Ok(());
    }
    let new = id_at(params, "resourceUuid").next().filter(|_| makes(&entry.route));
    if let Some(at) = ids.iter().position(|id| Some(*id) == new) {
        ids.remove(at);
    }
    let (places, changed) = (engine.places(), changed(entry, params));
    let mut tx = engine.db().read().await?;
    for id in ids {
        let allowed = match changed.contains(&id) {
            true => scope::may_change(&mut tx, &places, session.account, id).await?,
            false => scope::sees(&mut tx, &places, session.account, id).await?,
        };
        if !allowed {
            return Err(missing(id));
        }
    }
    Ok(())
}

/// The resource that a call makes or is about, for its record.
pub(super) fn resource(route: &Route, params: &Value, job: Id<Any>) -> Option<Id<Any>> {
    if let Some(made) = made(route, params, job) {
        return Some(made);
    }
    let path = route.in_path().next();
    ["uuid"].into_iter().chain(path).find_map(|name| id_at(params, name).next())
}

/// The resource that a call makes, where who calls could have chosen its uuid.
pub(crate) fn made(route: &Route, params: &Value, job: Id<Any>) -> Option<Id<Any>> {
    makes(route).then(|| id_at(params, "resourceUuid").next().unwrap_or(job))
}

/// Whether the call makes a resource, whose uuid the client may choose: where one must be named, it is there.
pub(super) fn makes(route: &Route) -> bool {
    route.params.iter().any(|param| param.name == "resource_uuid" && param.kind.starts_with("Option"))
}

pub(super) fn missing(id: Id<Any>) -> ErrorCode {
    codes::NOT_FOUND.because(format!(
        "there is nothing of uuid {id} that you may use in this way; it may have been deleted, or belong to \
         somebody else"
    ))
}

fn changed(entry: &Entry, params: &Value) -> Vec<Id<Any>> {
    if entry.looks() {
        return Vec::new();
    }
    let names = entry.route.in_path().take(1).chain(["uuid"]).chain(entry.route.changes.iter().copied());
    names.flat_map(|name| id_at(params, name)).collect()
}

/// The ids that a parameter holds: one, or a list of them.
fn id_at(params: &Value, name: &str) -> impl Iterator<Item = Id<Any>> {
    let values = match params.get(name) {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    values.iter().filter_map(|one| one.as_str()?.parse().ok())
}
