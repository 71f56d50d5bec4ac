use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::inventory::{find, show};
use engine::{Id, Result, api, codes};
use serde_json::json;

use super::{Service, ServiceInventory, store};
use crate::validate;

const LONGEST_PREFIX: usize = 32;

api! {
    /// From now on calls under `/x/<prefix>` are the service's. The answer holds the secret that signs them; it
    /// is not shown again.
    RegisterService: POST "/services" "params" {
        name: String,
        description: Option<String>,
        prefix: String,
        url: String,
        resource_uuid: Option<Id<Service>>,
    }
}

impl Api for RegisterService {
    const ROUTE: Route = RegisterService::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        validate::url("url", &self.url)?;
        check_prefix(&self.prefix)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        let secret = hex::encode(rand::random::<[u8; 32]>());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self, &secret).await?;
                let mut answer = show::<ServiceInventory>(tx, uuid).await?;
                answer["inventory"]["secret"] = json!(secret);
                Ok(answer)
            })
        })
        .await
    }
}

/// It stands in paths as it is.
fn check_prefix(prefix: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match (1..=LONGEST_PREFIX).contains(&prefix.len()) && prefix.bytes().all(plain) {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "\"prefix\" must be lower-case letters, digits and dashes, at most {LONGEST_PREFIX}, not \"{prefix}\""
        ))),
    }
}

api! {
    UpdateService: PUT "/services/{uuid}/actions" "updateService" {
        uuid: Id<Service>,
        name: Option<String>,
        description: Option<String>,
        url: Option<String>,
    }
}

impl Api for UpdateService {
    const ROUTE: Route = UpdateService::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.url.as_deref().map_or(Ok(()), |url| validate::url("url", url))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<ServiceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteService: DELETE "/services/{uuid}" {
        uuid: Id<Service>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteService {
    const ROUTE: Route = DeleteService::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<ServiceInventory>(tx, self.uuid).await?;
                store::delete(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}
