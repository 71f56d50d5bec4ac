//! Access keys: what programs sign their requests with, instead of logging in.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::inventory::{Shown, find, show, shown};
use engine::{Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Account;
use super::store::key as store;
use super::user::User;
use crate::validate::StateEvent;

/// Marks ids of access keys.
#[derive(Debug)]
pub enum AccessKey {}

inventory! {
    /// An access key as the API shows it: never with its secret.
    AccessKeyInventory in "access_key" seen Accounts("account_uuid") {
        uuid: Id<AccessKey>,
        account_uuid: Id<Account>,
        user_uuid: Option<Id<User>>,
        description: Option<String>,
        #[serde(rename = "AccessKeyID")]
        access_key_id: String,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

api! {
    /// A key of who asks: the account or the user. The answer alone holds its secret, which nothing tells
    /// again; it is answered at once, so that no job's result keeps it.
    CreateAccessKey: POST "/access-keys" "params" {
        description: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct KeyMade {
    inventory: KeyAndSecret,
}

#[derive(Serialize, JsonSchema)]
struct KeyAndSecret {
    #[serde(flatten)]
    key: Shown<AccessKeyInventory>,
    #[serde(rename = "AccessKeySecret")]
    secret: String,
}

impl Ask for CreateAccessKey {
    const ROUTE: Route = CreateAccessKey::ROUTE;
    type Reply = KeyMade;

    async fn answer(self, asked: Asked) -> Result<KeyMade> {
        let session = asked.session.ok_or_else(|| codes::INTERNAL.because("asked without a session"))?;
        let new = store::NewKey {
            uuid: Id::random(),
            account: session.account.cast(),
            user: session.user.map(Id::cast),
            description: self.description,
            id: hex::encode(rand::random::<[u8; 10]>()),
            secret: hex::encode(rand::random::<[u8; 20]>()),
        };
        let (uuid, secret) = (new.uuid, new.secret.clone());
        let made = asked.engine.db().write(move |tx| {
            Box::pin(async move {
                store::insert(tx, new).await?;
                shown::<AccessKeyInventory>(tx, uuid).await
            })
        });
        let key = made.await?;
        tracing::info!(key = %uuid, account = %session.account, "access key made");
        Ok(KeyMade { inventory: KeyAndSecret { key, secret } })
    }
}

api! {
    ChangeAccessKeyState: PUT "/access-keys/{uuid}/actions" "changeAccessKeyState" {
        uuid: Id<AccessKey>,
        state_event: StateEvent,
    }
}

impl Api for ChangeAccessKeyState {
    const ROUTE: Route = ChangeAccessKeyState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<AccessKeyInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteAccessKey: DELETE "/access-keys/{uuid}" {
        uuid: Id<AccessKey>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteAccessKey {
    const ROUTE: Route = DeleteAccessKey::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<AccessKeyInventory>(tx, self.uuid).await?;
                store::delete(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}
