use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::inventory::show;
use engine::{Id, Result, api, codes};
use serde_json::json;

use super::{DeadLetter, WebHook, WebhookInventory, store};
use crate::validate;

api! {
    /// From now on the URL is told of the events of this type. The answer holds the secret that signs them;
    /// it is not shown again.
    CreateWebhook: POST "/web-hooks" "params" {
        name: String,
        description: Option<String>,
        url: String,
        r#type: String,
        opaque: Option<String>,
        resource_uuid: Option<Id<WebHook>>,
    }
}

impl Api for CreateWebhook {
    const ROUTE: Route = CreateWebhook::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        validate::url("url", &self.url)?;
        check_type(job.engine(), &self.r#type)?;
        let uuid = self.resource_uuid.unwrap_or_else(Id::random);
        let secret = hex::encode(rand::random::<[u8; 32]>());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self, &secret).await?;
                let mut answer = show::<WebhookInventory>(tx, uuid).await?;
                answer["inventory"]["secret"] = json!(secret);
                Ok(answer)
            })
        })
        .await
    }
}

api! {
    UpdateWebhook: PUT "/web-hooks/{uuid}" "updateWebhook" {
        uuid: Id<WebHook>,
        name: Option<String>,
        description: Option<String>,
        url: Option<String>,
        r#type: Option<String>,
        opaque: Option<String>,
    }
}

impl Api for UpdateWebhook {
    const ROUTE: Route = UpdateWebhook::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if let Some(name) = &self.name {
            validate::name("name", name)?;
        }
        if let Some(url) = &self.url {
            validate::url("url", url)?;
        }
        if let Some(r#type) = &self.r#type {
            check_type(job.engine(), r#type)?;
        }
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<WebhookInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteWebhook: DELETE "/web-hooks/{uuid}" {
        uuid: Id<WebHook>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteWebhook {
    const ROUTE: Route = DeleteWebhook::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::delete(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// Sends the event again, at once; it stays a dead letter when it is not heard.
    RedeliverDeadLetter: PUT "/web-hooks/dead-letters/{uuid}/actions" "redeliverDeadLetter" {
        uuid: Id<DeadLetter>,
    }
}

impl Api for RedeliverDeadLetter {
    const ROUTE: Route = RedeliverDeadLetter::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        super::deliver::again(job.engine(), self.uuid).await?;
        job.write(move |tx| {
            Box::pin(async move {
                store::forget_letter(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    DeleteDeadLetter: DELETE "/web-hooks/dead-letters/{uuid}" {
        uuid: Id<DeadLetter>,
    }
}

impl Api for DeleteDeadLetter {
    const ROUTE: Route = DeleteDeadLetter::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::forget_letter(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

/// Some event must be of the type, or nothing would ever come.
fn check_type(engine: &engine::Engine, wanted: &str) -> Result<()> {
    let names = engine.event_names();
    if names.iter().any(|name| engine::event::is_of(name, wanted)) {
        return Ok(());
    }
    let details = format!(
        "no event is of the \"type\" \"{wanted}\"; there are {}; or write /vm/* or *",
        names.join(", ")
    );
    Err(codes::INVALID_ARGUMENT.because(details))
}
