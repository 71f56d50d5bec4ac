use engine::api::{Ask, Asked, Route};
use engine::queue::{self, UserView, View};
use engine::{Any, Engine, Id, Result, api};
use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::validate;
use crate::vm::VmInstance;

fn chain(view: &View) -> Value {
    let shown = |users: &[UserView], time: &str| -> Vec<Value> {
        let told = users.iter().enumerate();
        told.map(|(index, user)| json!({ "name": user.who, "index": index, time: user.seconds })).collect()
    };
    json!({
        "runningTask": shown(&view.holders, "executionTime"),
        "pendingTask": shown(&view.waiting, "pendingTime"),
    })
}

/// The chain of each key, an empty one where nothing is being done. A resource has one queue, at the
/// controller that its flow runs at.
async fn chains(engine: &Engine, keys: Vec<String>) -> Result<Value> {
    let all = queue::everywhere(engine).await?;
    let idle = View { key: String::new(), width: 1, holders: Vec::new(), waiting: Vec::new() };
    let found = keys.into_iter().map(|key| {
        let view = all.iter().map(|(_, view)| view).find(|view| view.key == key);
        (key, chain(view.unwrap_or(&idle)))
    });
    Ok(json!({ "results": found.collect::<Map<_, _>>() }))
}

/// What else than its own queue may be asked for is not kept for a resource.
fn resources(ids: &[Id<Any>], signatures: Option<Vec<String>>) -> Vec<String> {
    ids.iter().map(ToString::to_string).chain(signatures.unwrap_or_default()).collect()
}

api! {
    /// The queues of these names, or all that are in use.
    GetChainTask: GET "/core/task-details" {
        #[serde(default, deserialize_with = "validate::list")]
        sync_signatures: Vec<String>,
    }
}

impl Ask for GetChainTask {
    const ROUTE: Route = GetChainTask::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let keys = match self.sync_signatures.is_empty() {
            false => self.sync_signatures,
            true => queue::everywhere(&asked.engine).await?.into_iter().map(|(_, view)| view.key).collect(),
        };
        chains(&asked.engine, keys).await
    }
}

api! {
    GetHostTask: GET "/hosts/task-details" {
        #[serde(deserialize_with = "validate::list")]
        host_uuids: Vec<Id<Host>>,
        #[serde(default, deserialize_with = "validate::list")]
        sync_signatures: Vec<String>,
    }
}

impl Ask for GetHostTask {
    const ROUTE: Route = GetHostTask::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let ids: Vec<Id<Any>> = self.host_uuids.into_iter().map(Id::cast).collect();
        chains(&asked.engine, resources(&ids, Some(self.sync_signatures))).await
    }
}

api! {
    GetVmTask: GET "/vm-instances/task-details" {
        #[serde(deserialize_with = "validate::list")]
        vm_instance_uuids: Vec<Id<VmInstance>>,
    }
}

impl Ask for GetVmTask {
    const ROUTE: Route = GetVmTask::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let ids: Vec<Id<Any>> = self.vm_instance_uuids.into_iter().map(Id::cast).collect();
        chains(&asked.engine, resources(&ids, None)).await
    }
}
