use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{find, present, show};
use engine::{Any, Id, Result, api, codes, tag};
use serde_json::json;

use super::{SystemTagInventory, Tag, UserTagInventory, store};
use engine::cascade::DeleteMode;

/// So many system tags does one call put on.
const MOST: usize = 100;

api! {
    /// The same tag twice on a resource is one.
    CreateUserTag: POST "/user-tags" "params" changes ["resourceUuid"] {
        resource_type: String,
        resource_uuid: Id<Any>,
        tag: String,
    }
}

impl Api for CreateUserTag {
    const ROUTE: Route = CreateUserTag::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let uuid = job.id();
        job.write(move |tx| {
            Box::pin(async move {
                let kind = kind(tx, &self.resource_type)?;
                let uuid = tag::put_user(tx, kind, self.resource_uuid, &self.tag, uuid).await?;
                show::<UserTagInventory>(tx, uuid).await
            })
        })
        .await
    }
}

fn kind(tx: &Tx, resource_type: &str) -> Result<&'static str> {
    tag::kind_of(tx.engine().schema(), resource_type)
}

api! {
    CreateSystemTag: POST "/system-tags" "params" changes ["resourceUuid"] {
        resource_type: String,
        resource_uuid: Id<Any>,
        tag: String,
    }
}

impl Api for CreateSystemTag {
    const ROUTE: Route = CreateSystemTag::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let uuid = job.id();
        job.write(move |tx| {
            Box::pin(async move {
                let kind = kind(tx, &self.resource_type)?;
                let uuid = tag::put_system(tx, kind, self.resource_uuid, &self.tag, uuid).await?;
                show::<SystemTagInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    /// All of them, or none.
    CreateSystemTags: POST "/system-tags/{resourceUuid}/tags" "params" changes ["resourceUuid"] {
        resource_type: String,
        resource_uuid: Id<Any>,
        tags: Vec<String>,
    }
}

impl Api for CreateSystemTags {
    const ROUTE: Route = CreateSystemTags::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if self.tags.len() > MOST {
            return Err(codes::INVALID_ARGUMENT.because(format!("\"tags\" are at most {MOST}")));
        }
        job.write(move |tx| {
            Box::pin(async move {
                let kind = kind(tx, &self.resource_type)?;
                let mut made: Vec<SystemTagInventory> = Vec::new();
                for text in &self.tags {
                    let uuid = tag::put_system(tx, kind, self.resource_uuid, text, Id::random()).await?;
                    made.push(find(tx, uuid).await?);
                }
                Ok(json!({ "inventories": present(tx, &made).await? }))
            })
        })
        .await
    }
}

api! {
    UpdateSystemTag: PUT "/system-tags/{uuid}/actions" "updateSystemTag" {
        uuid: Id<Tag>,
        tag: String,
    }
}

impl Api for UpdateSystemTag {
    const ROUTE: Route = UpdateSystemTag::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let old: SystemTagInventory = find(tx, self.uuid).await?;
                if old.inherent {
                    return Err(tag::inherent(&old.tag));
                }
                let kind = kind(tx, &old.resource_type)?;
                let fits = tag::fits(tx, kind, old.resource_uuid, &self.tag, Some(&old.tag)).await?;
                if fits.read(&old.tag).is_none() {
                    let details = format!("\"{}\" can become another {} only", old.tag, fits.pattern);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                store::update(tx, self.uuid, &self.tag, fits.pattern).await?;
                show::<SystemTagInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// A tag of either type.
    DeleteTag: DELETE "/tags/{uuid}" {
        uuid: Id<Any>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteTag {
    const ROUTE: Route = DeleteTag::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                if let Some(text) = store::inherent(tx, self.uuid).await? {
                    return Err(tag::inherent(&text));
                }
                match tag::delete(tx, self.uuid).await? {
                    true => Ok(json!({})),
                    false => {
                        let details =
                            format!("there is no tag of uuid {}; it may have been deleted", self.uuid);
                        Err(codes::NOT_FOUND.because(details))
                    }
                }
            })
        })
        .await
    }
}
