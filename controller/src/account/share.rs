//! Who owns what, and whom it is shared with. The rows of owners are entered by the database itself, with
//! the rows that are owned.

use std::collections::BTreeMap;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Shown, find, present, shown};
use engine::{Any, Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::store::share as store;
use super::{Account, AccountInventory};
use crate::validate;

inventory! {
    /// Whose a resource is, as the API shows it. What belongs to another resource goes with that.
    AccountResourceRefInventory in "account_resource_ref" seen Accounts("account_uuid") {
        account_uuid: Id<Account>,
        resource_uuid: Id<Any>,
        resource_type: String,
        master_uuid: Option<Id<Any>>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

inventory! {
    /// A share as the API shows it.
    SharedResourceInventory in "shared_resource" seen Accounts("owner_account_uuid", "receiver_account_uuid") {
        owner_account_uuid: Id<Account>,
        receiver_account_uuid: Option<Id<Account>>,
        to_public: bool,
        resource_type: String,
        resource_uuid: Id<Any>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

/// An account that something is given to: who gives need not see it.
#[derive(Clone, Copy, Debug, JsonSchema)]
pub struct Receiver(Id<Account>);

impl<'de> Deserialize<'de> for Receiver {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Receiver).map_err(serde::de::Error::custom)
    }
}

api! {
    /// With some accounts, or with everybody; they may use it from now on, not change it.
    ShareResource: PUT "/accounts/resources/actions" "shareResource" changes ["resourceUuids"] {
        resource_uuids: Vec<Id<Any>>,
        account_uuids: Option<Vec<Receiver>>,
        to_public: Option<bool>,
    }
}

impl Api for ShareResource {
    const ROUTE: Route = ShareResource::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let receivers = receivers(self.account_uuids, self.to_public);
        if receivers.is_empty() {
            return Err(validate::missing("\"accountUuids\" or \"toPublic\" must say with whom"));
        }
        job.write(move |tx| {
            Box::pin(async move {
                for resource in self.resource_uuids {
                    for receiver in &receivers {
                        share(tx, resource, *receiver).await?;
                    }
                }
                Ok(json!({}))
            })
        })
        .await
    }
}

/// None is everybody.
fn receivers(accounts: Option<Vec<Receiver>>, to_public: Option<bool>) -> Vec<Option<Id<Account>>> {
    let named = accounts.unwrap_or_default().into_iter().map(|Receiver(account)| Some(account));
    named.chain((to_public == Some(true)).then_some(None)).collect()
}

async fn share(tx: &mut Tx, resource: Id<Any>, receiver: Option<Id<Account>>) -> Result<()> {
    if let Some(account) = receiver {
        find::<AccountInventory>(tx, account).await?;
    }
    match store::share(tx, resource, receiver).await? {
        true => Ok(()),
        false => Err(codes::NOT_FOUND.because(format!("there is nothing of uuid {resource} that is owned"))),
    }
}

api! {
    /// Takes shares back, of these accounts, of everybody, or all of them.
    RevokeResourceSharing: PUT "/accounts/resources/actions" "revokeResourceSharing" changes ["resourceUuids"] {
        resource_uuids: Vec<Id<Any>>,
        to_public: Option<bool>,
        account_uuids: Option<Vec<Receiver>>,
        all: Option<bool>,
    }
}

impl Api for RevokeResourceSharing {
    const ROUTE: Route = RevokeResourceSharing::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (all, receivers) = (self.all == Some(true), receivers(self.account_uuids, self.to_public));
        job.write(move |tx| {
            Box::pin(async move {
                for resource in self.resource_uuids {
                    if all {
                        store::revoke_all(tx, resource).await?;
                    }
                    for receiver in &receivers {
                        store::revoke(tx, resource, *receiver).await?;
                    }
                }
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// With all that belongs to it. Quotas are not asked.
    ChangeResourceOwner: POST "/account/{accountUuid}/resources" "params" only admin {
        account_uuid: Id<Account>,
        resource_uuid: Id<Any>,
    }
}

impl Api for ChangeResourceOwner {
    const ROUTE: Route = ChangeResourceOwner::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<AccountInventory>(tx, self.account_uuid).await?;
                if let Some(master) = store::master(tx, self.resource_uuid).await? {
                    let details = format!("it belongs to {master}: change the owner of that");
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                if !store::give(tx, self.resource_uuid, self.account_uuid).await? {
                    let details = format!("there is nothing of uuid {} that is owned", self.resource_uuid);
                    return Err(codes::NOT_FOUND.because(details));
                }
                let of = store::of(tx, self.resource_uuid).await?;
                let shown = present::<AccountResourceRefInventory>(tx, &of).await?;
                Ok(json!({ "inventory": shown.into_iter().next() }))
            })
        })
        .await
    }
}

api! {
    /// What resources are called.
    GetResourceNames: GET "/resources/names" {
        #[serde(deserialize_with = "validate::list")]
        uuids: Vec<Id<Any>>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct Names {
    inventories: Vec<Named>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResourceName")]
struct Named {
    uuid: String,
    resource_name: String,
    resource_type: String,
    concrete_resource_type: String,
}

impl Ask for GetResourceNames {
    const ROUTE: Route = GetResourceNames::ROUTE;
    type Reply = Names;

    async fn answer(self, asked: Asked) -> Result<Names> {
        let found = engine::query::names(&mut asked.engine.db().read().await?, &self.uuids).await?;
        let named = found.into_iter().map(|named| {
            let kind = format!("{}VO", named.kind);
            let (uuid, resource_name) = (named.uuid.to_string(), named.name);
            Named { uuid, resource_name, resource_type: kind.clone(), concrete_resource_type: kind }
        });
        Ok(Names { inventories: named.collect() })
    }
}

api! {
    /// The accounts that own these resources, by the resources' uuids.
    GetResourceAccount: GET "/resources/accounts" {
        #[serde(deserialize_with = "validate::list")]
        resource_uuids: Vec<Id<Any>>,
    }
}

/// By the uuids of resources.
#[derive(Serialize, JsonSchema)]
pub struct Owners {
    inventories: BTreeMap<String, Shown<AccountInventory>>,
}

impl Ask for GetResourceAccount {
    const ROUTE: Route = GetResourceAccount::ROUTE;
    type Reply = Owners;

    async fn answer(self, asked: Asked) -> Result<Owners> {
        let mut tx = asked.engine.db().read().await?;
        let mut found = BTreeMap::new();
        for resource in self.resource_uuids {
            let Some(account) = engine::scope::owner(&mut tx, resource).await? else { continue };
            let account = shown::<AccountInventory>(&mut tx, account).await?;
            found.insert(resource.to_string(), account);
        }
        Ok(Owners { inventories: found })
    }
}
