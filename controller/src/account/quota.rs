use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{find, show};
use engine::{Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::Serialize;

use super::store::quota as store;
use super::{Account, AccountInventory};
use crate::validate;

/// Marks ids of quotas.
#[derive(Debug)]
pub enum Quota {}

inventory! {
    /// How much of something an account may have.
    QuotaInventory in "quota" seen Accounts("identity_uuid") {
        uuid: Id<Quota>,
        name: String,
        identity_uuid: Id<Account>,
        identity_type: String,
        value: i64,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

api! {
    /// What an account has already it keeps.
    UpdateQuota: PUT "/accounts/quotas/actions" "updateQuota" only admin {
        identity_uuid: Id<Account>,
        name: String,
        value: Option<i64>,
    }
}

impl Api for UpdateQuota {
    const ROUTE: Route = UpdateQuota::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let value = self.value.unwrap_or(0);
        validate::within("value", value, 0..=i64::MAX)?;
        let known = job.engine().quotas().iter().map(|quota| quota.name).collect::<Vec<_>>();
        if !known.contains(&self.name.as_str()) {
            let details = format!("there is no quota \"{}\"; there are {}", self.name, known.join(", "));
            return Err(codes::NOT_FOUND.because(details));
        }
        job.write(move |tx| {
            Box::pin(async move {
                find::<AccountInventory>(tx, self.identity_uuid).await?;
                store::set(tx, self.identity_uuid, &self.name, value).await?;
                let id = store::quota_id(self.identity_uuid, &self.name);
                show::<QuotaInventory>(tx, id).await
            })
        })
        .await
    }
}

api! {
    /// What the account may have and what it has, by the names of quotas.
    GetAccountQuotaUsage: GET "/accounts/quota/{uuid}/usages" {
        uuid: Id<Account>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct Usages {
    usages: Vec<Usage>,
}

#[derive(Serialize, JsonSchema)]
struct Usage {
    name: &'static str,
    total: i64,
    used: i64,
}

impl Ask for GetAccountQuotaUsage {
    const ROUTE: Route = GetAccountQuotaUsage::ROUTE;
    type Reply = Usages;

    async fn answer(self, asked: Asked) -> Result<Usages> {
        let mut tx = asked.engine.db().read().await?;
        find::<AccountInventory>(&mut tx, self.uuid).await?;
        let mut usages = Vec::new();
        for quota in asked.engine.quotas() {
            let (total, used) =
                (quota.limit(&mut tx, self.uuid).await?, quota.used(&mut tx, self.uuid).await?);
            usages.push(Usage { name: quota.name, total, used });
        }
        Ok(Usages { usages })
    }
}
