//! What a call is, whoever makes it: its path, its nature, its answer, and what may accompany it.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// 32 hex digits that name one task; the same for every repetition, whoever sends it.
pub const TASK_UUID: &str = "taskuuid";
/// Where the outcome of an asynchronous call is POSTed.
pub const CALLBACK_URL: &str = "callbackurl";
/// Ours: where else the outcome may be told when nobody takes it there; URLs separated by spaces.
pub const CALLBACKS: &str = "x-cumulet-callbacks";
/// Selects the receiver of an unsolicited message of an agent.
pub const COMMAND_PATH: &str = "commandpath";
/// The resource a command acts upon: tasks of one resource run one after another.
pub const RESOURCE: &str = "x-cumulet-resource";
/// Which flow of the resource this is; decimal, unsigned 64 bit.
pub const GENERATION: &str = "x-cumulet-generation";
/// Who may act; decimal, unsigned 64 bit. Lower than the highest seen is refused.
pub const EPOCH: &str = "x-cumulet-epoch";
/// Unix time in milliseconds after which the command must not start.
pub const DEADLINE: &str = "x-cumulet-deadline";

/// Which [`Trust`](crate::tls::Trust) the controller has: an agent with another one asks for it.
pub const TRUST: &str = "x-cumulet-trust";

/// Code of a [`Fault`]: a later owner has been seen for this resource.
pub const STALE: &str = "STALE";
/// Code of a [`Fault`]: the deadline had passed before the task could start.
pub const EXPIRED: &str = "EXPIRED";
/// Code of a [`Fault`]: the host was rebooted between acceptance and completion.
pub const REBOOTED: &str = "REBOOTED";

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The reply is the body of the HTTP response.
    Sync,
    /// The HTTP response acknowledges; the reply comes to the callback URL.
    Async,
}

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks: not journalled, may be asked again freely.
    Reads,
    /// It changes something: journalled, never run twice under one task id.
    Acts,
}

/// One command of the protocol. The type names the call; the path stands nowhere else.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    const PATH: &'static str;
    const MODE: Mode;
    const EFFECT: Effect;
    type Reply: Serialize + DeserializeOwned + Default + Send + Sync + 'static;
}

/// Names one task. 32 lower-case hex digits on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(Arc<str>);

impl TaskId {
    pub fn random() -> Self {
        TaskId::from(Uuid::new_v4())
    }

    /// The id of what `parts` describe: the same parts give the same id on every machine, for ever.
    pub fn derived(parts: &[&str]) -> Self {
        const SPACE: Uuid = Uuid::from_u128(0x6375_6d75_6c65_7420_7461_736b_2069_6473);
        TaskId::from(Uuid::new_v5(&SPACE, parts.join("\u{1f}").as_bytes()))
    }

    /// Takes any non-empty printable text of at most 64 characters, as ZStack's peers do.
    pub fn parse(text: &str) -> Option<Self> {
        let sound = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| TaskId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        let mut digits = Uuid::encode_buffer();
        TaskId((*uuid.simple().encode_lower(&mut digits)).into())
    }
}

impl TryFrom<String> for TaskId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        TaskId::parse(&text).ok_or_else(|| format!("{text:?} is not a task id"))
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> String {
        id.as_str().to_owned()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who sends a command and until when it may start. Absent on commands of an unmodified ZStack peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    pub resource: String,
    pub generation: u64,
    pub epoch: u64,
    /// Unix time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// A failed outcome: `{"success":false,"error":…}` with an optional code and the call's own members
/// (`inUse`, `failedInterfaceNames`, …).
///
/// It takes any error by `?`; therefore it is not itself a [`std::error::Error`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl Fault {
    pub fn new(error: impl Into<String>) -> Self {
        Fault { error: error.into(), ..Fault::default() }
    }

    pub fn coded(code: &str, error: impl Into<String>) -> Self {
        Fault { code: Some(code.to_owned()), ..Fault::new(error) }
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Fault::new(text)
    }
}

/// An outcome as it stands in a body: the reply's members beside `success` and `error`.
pub fn to_body<R: Serialize>(outcome: &Result<R, Fault>) -> Value {
    let (success, value) = match outcome {
        Ok(reply) => (true, serde_json::to_value(reply)),
        Err(fault) => (false, serde_json::to_value(fault)),
    };
    let mut members = match value {
        Ok(Value::Object(members)) => members,
        Ok(Value::Null) => Map::new(),
        Ok(_) | Err(_) => return failure_body("the reply is not a JSON object"),
    };
    members.retain(|_, value| !value.is_null());
    members.insert("success".into(), success.into());
    Value::Object(members)
}

fn failure_body(error: &str) -> Value {
    serde_json::json!({ "success": false, "error": error })
}

/// Reads a body back. A missing `success` means true, as in ZStack's Java defaults; an `error` text
/// forces failure there, so it does here.
pub fn from_body<R: DeserializeOwned>(mut body: Value) -> Result<R, Fault> {
    let Some(members) = body.as_object_mut() else {
        return Err(Fault::new("the peer's answer is not a JSON object"));
    };
    let success = members.remove("success").and_then(|s| s.as_bool());
    let error = members.get("error").and_then(Value::as_str).filter(|e| !e.is_empty());
    if success.unwrap_or(error.is_none()) {
        members.remove("error");
        return Ok(serde_json::from_value(body)?);
    }
    if error.is_none() {
        members.insert("error".into(), "the peer failed without a reason".into());
    }
    Err(serde_json::from_value(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_stable_and_distinct() {
        let id = TaskId::derived(&["flow", "3", "do"]);
        assert_eq!(id, TaskId::derived(&["flow", "3", "do"]));
        assert_ne!(id, TaskId::derived(&["flow", "3", "undo"]));
        assert_ne!(TaskId::derived(&["ab", "c"]), TaskId::derived(&["a", "bc"]));
        assert_eq!(id.as_str().len(), 32);
    }

    #[test]
    fn a_fault_keeps_its_code_and_members_across_the_wire() {
        let fault = Fault::coded("STALE", "superseded").with("inUse", true);
        let body = to_body::<()>(&Err(fault.clone()));
        assert_eq!(body["success"], false);
        assert_eq!(from_body::<Value>(body), Err(fault));
    }

    #[test]
    fn a_body_without_success_is_judged_by_its_error() {
        assert!(from_body::<Value>(serde_json::json!({})).is_ok());
        assert!(from_body::<Value>(serde_json::json!({"success": true, "error": ""})).is_ok());
        assert!(from_body::<Value>(serde_json::json!({"error": "no"})).is_err());
        assert!(from_body::<Value>(serde_json::json!([1])).is_err());
    }
}
