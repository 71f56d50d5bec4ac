//! How far an image is on its way, in the shape of ZStack's task progress.

use engine::api::{Ask, Asked, Route};
use engine::flow::{Flow, FlowView};
use engine::inventory::find;
use engine::query::Query;
use engine::{Any, Engine, Id, Result, Stamp, api, codes};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::add::Add;
use super::store;
use crate::backup_storage::driver::Progress;
use crate::backup_storage::{BackupStorage, BackupStorageInventory};

api! {
    /// The progress of the job `apiId`: a list of one, or of none when the job brings no image, has not
    /// begun or has failed. `all` changes nothing, for there are no parts.
    GetTaskProgress: GET "/task-progresses/{apiId}" {
        api_id: Id<Any>,
        all: Option<String>,
    }
}

#[derive(Default, Serialize, JsonSchema)]
pub struct Progresses {
    inventories: Vec<TaskProgressInventory>,
}

/// How far a task is, as the API shows it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TaskProgressInventory {
    task_uuid: Id<Any>,
    task_name: String,
    r#type: &'static str,
    /// Per cent.
    content: String,
    opaque: Opaque,
    time: u64,
}

/// Bytes; the total only when it is known.
#[derive(Serialize, JsonSchema)]
struct Opaque {
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

impl Ask for GetTaskProgress {
    const ROUTE: Route = GetTaskProgress::ROUTE;
    type Reply = Progresses;

    async fn answer(self, asked: Asked) -> Result<Progresses> {
        if let Some(all) = self.all.filter(|all| !["true", "false"].contains(&all.as_str())) {
            return Err(
                codes::INVALID_ARGUMENT.because(format!("\"all\" must be true or false, not \"{all}\""))
            );
        }
        let flow = flow_of(&asked.engine, self.api_id).await?;
        let progress = match (flow["state"].as_str(), flow["direction"].as_str()) {
            (Some("done"), _) => Progress { done: 1, total: Some(1) },
            (Some("running"), Some("forward")) => match flow["resource"].as_str().map(str::parse) {
                Some(Ok(image)) => measure(&asked.engine, image).await?,
                _ => return Ok(Progresses::default()),
            },
            _ => return Ok(Progresses::default()),
        };
        let inventory = TaskProgressInventory {
            task_uuid: self.api_id,
            task_name: flow["title"].as_str().unwrap_or_default().to_owned(),
            r#type: "Progress",
            content: percent(progress).to_string(),
            opaque: Opaque { done: progress.done, total: progress.total },
            time: Stamp::now().millis(),
        };
        Ok(Progresses { inventories: vec![inventory] })
    }
}

/// The flow of the job, when it brings an image; null otherwise.
async fn flow_of(engine: &Engine, job: Id<Any>) -> Result<Value> {
    let conditions = vec![format!("job={job}"), format!("name={}", Add::NAME)];
    let query = Query { conditions, ..Query::default() };
    let answer = query.run::<FlowView>(&mut engine.db().read().await?).await?;
    Ok(serde_json::to_value(answer.first())?)
}

/// All copies together.
async fn measure(engine: &Engine, image: Id<super::Image>) -> Result<Progress> {
    let copies = store::copies(&mut engine.db().read().await?, image).await?;
    let parts = copies.iter().map(|copy| part(engine, copy.backup_storage_uuid, image.cast()));
    let whole = join_all(parts)
        .await
        .into_iter()
        .reduce(|a, b| Progress { done: a.done + b.done, total: a.total.zip(b.total).map(|(a, b)| a + b) });
    Ok(whole.unwrap_or_default())
}

/// What a storage says; nothing has come as long as it says nothing.
async fn part(engine: &Engine, storage: Id<BackupStorage>, image: Id<Any>) -> Progress {
    let asked = async {
        let storage: BackupStorageInventory = find(&mut engine.db().read().await?, storage).await?;
        storage.driver()?.progress(engine, &storage, image).await
    };
    asked.await.unwrap_or_else(|error| {
        tracing::debug!(%image, %error, "no progress to tell");
        Progress::default()
    })
}

/// Only what is done is 100; what has no known end stays at 0.
fn percent(progress: Progress) -> u64 {
    match progress.total {
        Some(total) if total > 0 => (progress.done.min(total) as u128 * 100 / u128::from(total)) as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_stays_within_its_bounds() {
        for (done, total, expected) in
            [(0, Some(10), 0), (199, Some(200), 99), (10, Some(10), 100), (20, Some(10), 100), (5, None, 0)]
        {
            assert_eq!(percent(Progress { done, total }), expected, "{done} of {total:?}");
        }
        assert_eq!(percent(Progress { done: u64::MAX, total: Some(u64::MAX) }), 100);
    }
}
