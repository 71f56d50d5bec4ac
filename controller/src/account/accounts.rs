use engine::api::{Api, Job, Route, Settled};
use engine::boxed;
use engine::cascade::{Delete, DeleteMode, How, Kind, Root};
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::password::{self, Password};
use super::store::{self, NewAccount};
use super::{Account, AccountInventory, admin};
use crate::validate;

/// `type` of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AccountType {
    /// Sees and does everything.
    SystemAdmin,
    Normal,
}

api! {
    CreateAccount: POST "/accounts" "params" only admin secret ["password"] {
        name: String,
        password: Password,
        r#type: Option<AccountType>,
        description: Option<String>,
        resource_uuid: Option<Id<Account>>,
    }
}

impl Api for CreateAccount {
    const ROUTE: Route = CreateAccount::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        let hash = password::hash(self.password.0).await?;
        let kind = match self.r#type {
            Some(AccountType::SystemAdmin) => "SystemAdmin",
            _ => "Normal",
        };
        job.write(move |tx| {
            Box::pin(async move {
                if store::password(tx, &self.name).await?.is_some() {
                    let details = format!("there is an account \"{}\" already", self.name);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                let description = self.description.as_deref();
                store::insert(tx, NewAccount { uuid, name: &self.name, description, kind, hash: &hash })
                    .await?;
                show::<AccountInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    /// A new password ends the other sessions of the account.
    UpdateAccount: PUT "/accounts/{uuid}" "updateAccount" secret ["password", "oldPassword"] {
        uuid: Id<Account>,
        password: Option<Password>,
        name: Option<String>,
        description: Option<String>,
        old_password: Option<String>,
    }
}

impl Api for UpdateAccount {
    const ROUTE: Route = UpdateAccount::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        let mut tx = job.engine().db().read().await?;
        find::<AccountInventory>(&mut tx, self.uuid).await?;
        if self.uuid == admin() && self.name.is_some() {
            return Err(codes::INVALID_ARGUMENT.because("the administrator's account keeps its name"));
        }
        let known = store::password_of(&mut tx, self.uuid).await?;
        drop(tx);
        check_old(self.old_password, known).await?;
        let hash = password::hash_some(self.password).await?;
        let id = job.id();
        job.write(move |tx| {
            Box::pin(async move {
                let (name, description) = (self.name.as_deref(), self.description.as_deref());
                store::update(tx, self.uuid, name, description, hash.as_deref()).await?;
                if hash.is_some() {
                    store::close_others(tx, self.uuid, id).await?;
                }
                show::<AccountInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

/// An old password that is named must be right.
pub(super) async fn check_old(old: Option<String>, known: Option<String>) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    match password::matches(old, known).await? {
        true => Ok(()),
        false => Err(codes::AUTHENTICATION.because("\"oldPassword\" is wrong")),
    }
}

api! {
    /// With all that it owns.
    DeleteAccount: DELETE "/accounts/{uuid}" only admin {
        uuid: Id<Account>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteAccount {
    const ROUTE: Route = DeleteAccount::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let account: AccountInventory = find(tx, self.uuid).await?;
        if account.uuid == admin() {
            return Err(codes::STATE.because("the administrator's account cannot be deleted"));
        }
        Ok(Some(Delete::new(Root::new("Account", account.uuid.cast(), &account.name)).mode(self.delete_mode)))
    }
}

/// Nobody can log in any more before what it owns goes; the rest goes with its row.
pub(super) struct AccountKind;

#[boxed]
impl Kind for AccountKind {
    fn name(&self) -> &'static str {
        "Account"
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::close_account(tx, id.cast()).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::reopen_account(tx, id.cast()).await
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await?;
        tx.emit("/account/deleted", id, json!({})).await
    }
}
