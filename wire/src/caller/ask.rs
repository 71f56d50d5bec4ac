//! One call as it is sent, as often as it is sent.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};

use super::CallError;
use crate::call::{
    CALLBACK_URL, CALLBACKS, Call, DEADLINE, EPOCH, Effect, Fault, Fence, GENERATION, Mode, RESOURCE,
    TASK_UUID, TRUST, TaskId,
};
use crate::tls::{Http, MachineId, name};

pub struct Ask {
    pub agent: String,
    pub path: &'static str,
    pub effect: Effect,
    pub task: TaskId,
    /// The only one that may tell the outcome; anybody when the agent is addressed by its address.
    pub machine: Option<MachineId>,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// Where the outcome shall be told.
pub struct Ears<'a> {
    pub callback: &'a str,
    /// Where else, separated by spaces.
    pub others: Option<String>,
}

impl Ask {
    pub fn new<C: Call>(
        base_url: &str,
        task: &TaskId,
        fence: Option<&Fence>,
        ears: &Ears<'_>,
        command: &C,
    ) -> Result<Self, CallError> {
        let agent = base_url.trim_end_matches('/').to_owned();
        let unsendable = |fault: Fault| CallError::Refused { status: 0, error: format!("{agent}: {fault}") };
        let url = Url::parse(&format!("{agent}{}", C::PATH)).map_err(|e| unsendable(e.into()))?;
        let machine = url.host_str().and_then(name::machine);
        let body = serde_json::to_vec(command).map_err(|e| unsendable(e.into()))?.into();
        let headers = headers(task, C::MODE, fence, ears).map_err(unsendable)?;
        Ok(Ask { agent, path: C::PATH, effect: C::EFFECT, task: task.clone(), machine, url, headers, body })
    }

    /// The command itself.
    pub fn command(&self, http: &Http) -> RequestBuilder {
        let command = http.client().post(self.url.clone()).headers(self.headers.clone());
        let command = command.body(self.body.clone());
        match http.trust() {
            Some(trust) => command.header(TRUST, trust),
            None => command,
        }
    }

    /// The question what became of it.
    pub fn question(&self, client: &Client) -> RequestBuilder {
        let mut url = self.url.clone();
        url.set_path(self.url.path().strip_suffix(self.path).unwrap_or_default());
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["tasks", self.task.as_str()]);
        }
        client.get(url)
    }

    pub fn unknown(&self, last: String) -> CallError {
        CallError::Unknown { agent: self.agent.clone(), path: self.path, task: self.task.clone(), last }
    }
}

fn headers(task: &TaskId, mode: Mode, fence: Option<&Fence>, ears: &Ears<'_>) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut set = |name: &'static str, value: &str| -> Result<(), Fault> {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(())
    };
    if mode == Mode::Async {
        set(TASK_UUID, task.as_str())?;
        set(CALLBACK_URL, ears.callback)?;
        ears.others.as_deref().map_or(Ok(()), |others| set(CALLBACKS, others))?;
    }
    if let Some(fence) = fence {
        set(RESOURCE, &fence.resource)?;
        set(GENERATION, &fence.generation.to_string())?;
        set(EPOCH, &fence.epoch.to_string())?;
    }
    if let Some(deadline) = fence.and_then(|fence| fence.deadline) {
        set(DEADLINE, &deadline.to_string())?;
    }
    Ok(headers)
}
