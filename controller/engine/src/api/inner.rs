//! Calls that the controller makes for an account: each is a job of its own, entered in the transaction of
//! what wants it, and begun when that is on disk.

use std::sync::Arc;

use serde_json::Value;

use super::job::{self, Job, NewJob, Who};
use super::{Entry, EntryKind, Session, access, portal, request};
use crate::args;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::flow::FlowView;
use crate::id::{Any, Id};

const STANDING: &str = "SELECT state, flow FROM job WHERE uuid = $1";

/// A call to be made.
pub struct Inner {
    /// Of its job.
    pub id: Id<Any>,
    /// `AddImage`
    pub api: &'static str,
    pub params: Value,
    pub account: Id<Any>,
    pub user: Option<Id<Any>>,
}

/// How far a job has come.
#[derive(Clone, Debug, crate::db::Row)]
pub struct Standing {
    /// `queued`, `running` by a flow, or `done`
    pub state: String,
    pub flow: Option<Id<FlowView>>,
}

impl Engine {
    /// The call that changes something and is of this name.
    pub fn call(&self, name: &str) -> Result<&Arc<Entry>> {
        let found = self.entries().iter().find(|entry| entry.route.name == name);
        found.filter(|entry| matches!(entry.kind, EntryKind::Job { .. })).ok_or_else(|| {
            codes::UNKNOWN_MESSAGE.because(format!("there is no call \"{name}\" that is done as a job"))
        })
    }

    /// Refuses what the session could not call itself, as the front door does.
    pub async fn admit(&self, session: &Session, entry: &Entry, params: &Value) -> Result<()> {
        access::permit(entry, session)?;
        let bare = portal::without_tags(self, entry, params.clone())?;
        access::admit(self, entry, session, &bare).await
    }
}

/// Enters the call; nothing happens when its job is there already.
pub async fn enter(tx: &mut Tx, call: Inner) -> Result<()> {
    let Inner { id, api, params, account, user } = call;
    let engine = tx.engine();
    let (era, entry, who) = (engine.era()?, Arc::clone(engine.call(api)?), Who { account, user });
    let new = NewJob {
        id,
        api,
        who,
        token: String::new(),
        address: None,
        resource: access::resource(&entry.route, &params, id),
        makes: access::makes(&entry.route),
        params: params.clone(),
        web_hook: None,
    };
    if job::enter(tx, new, era.id).await? {
        tx.after_commit(move || Job::new(&engine, &era, id, (api, who)).begin(params, None));
    }
    Ok(())
}

/// How a job stands; nothing when it is forgotten.
pub async fn standing(tx: &mut Tx, job: Id<Any>) -> Result<Option<Standing>> {
    tx.opt(STANDING, args![job]).await
}

/// The parameters of a call as text that a client sends: one JSON object.
pub fn object(text: &str) -> Result<serde_json::Map<String, Value>> {
    request::body(text.as_bytes())
}
