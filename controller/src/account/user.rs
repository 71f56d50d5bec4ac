//! Users of an account, and groups of them. What a user makes belongs to its account.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Id, Result, Stamp, api, codes, inventory};
use serde_json::json;

use super::Account;
use super::accounts::check_old;
use super::password::{self, Password};
use super::store::{self, user};
use crate::validate;

/// Marks ids of users.
#[derive(Debug)]
pub enum User {}

/// Marks ids of groups of users.
#[derive(Debug)]
pub enum UserGroup {}

inventory! {
    /// A user as the API shows it.
    UserInventory in "account_user" seen Accounts("account_uuid") {
        uuid: Id<User>,
        account_uuid: Id<Account>,
        name: String,
        description: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

inventory! {
    /// A group of users as the API shows it.
    UserGroupInventory in "user_group" seen Accounts("account_uuid") {
        uuid: Id<UserGroup>,
        account_uuid: Id<Account>,
        name: String,
        description: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

api! {
    CreateUser: POST "/accounts/users" "params" secret ["password"] {
        name: String,
        password: Password,
        description: Option<String>,
        resource_uuid: Option<Id<User>>,
    }
}

impl Api for CreateUser {
    const ROUTE: Route = CreateUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let (uuid, account) = (self.resource_uuid.unwrap_or(job.id().cast()), job.account().cast());
        let hash = password::hash(self.password.0).await?;
        job.write(move |tx| {
            Box::pin(async move {
                let of: Id<Account> = account;
                if user::password(tx, &of.to_string(), &self.name).await?.is_some() {
                    let details = format!("there is a user \"{}\" already", self.name);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                user::insert(tx, uuid, account, (&self.name, self.description.as_deref()), &hash).await?;
                show::<UserInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    /// A user changes itself only; the account changes all its users. A new password ends the user's other
    /// sessions.
    UpdateUser: PUT "/accounts/users/actions" "updateUser" secret ["password", "oldPassword"] {
        uuid: Option<Id<User>>,
        password: Option<Password>,
        name: Option<String>,
        description: Option<String>,
        old_password: Option<String>,
    }
}

impl UpdateUser {
    fn whom(&self, job: &Job) -> Result<Id<User>> {
        match (job.user().map(Id::cast), self.uuid) {
            (Some(own), Some(named)) if own != named => {
                Err(codes::DENIED.because("a user may change itself only: leave \"uuid\" out"))
            }
            (Some(own), _) => Ok(own),
            (None, Some(named)) => Ok(named),
            (None, None) => Err(validate::missing("\"uuid\" must name a user")),
        }
    }
}

impl Api for UpdateUser {
    const ROUTE: Route = UpdateUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        let uuid = self.whom(&job)?;
        let mut tx = job.engine().db().read().await?;
        find::<UserInventory>(&mut tx, uuid).await?;
        let known = user::password_of(&mut tx, uuid).await?;
        drop(tx);
        check_old(self.old_password, known).await?;
        let hash = password::hash_some(self.password).await?;
        let id = job.id();
        job.write(move |tx| {
            Box::pin(async move {
                let (name, description) = (self.name.as_deref(), self.description.as_deref());
                user::update(tx, uuid, name, description, hash.as_deref()).await?;
                if hash.is_some() {
                    store::close_others_of_user(tx, uuid, id).await?;
                }
                show::<UserInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    /// Its sessions and access keys end with it.
    DeleteUser: DELETE "/accounts/users/{uuid}" {
        uuid: Id<User>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteUser {
    const ROUTE: Route = DeleteUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<UserInventory>(tx, self.uuid).await?;
                user::delete(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    CreateUserGroup: POST "/accounts/groups" "params" {
        name: String,
        description: Option<String>,
        resource_uuid: Option<Id<UserGroup>>,
    }
}

impl Api for CreateUserGroup {
    const ROUTE: Route = CreateUserGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let (uuid, account) = (self.resource_uuid.unwrap_or(job.id().cast()), job.account().cast());
        job.write(move |tx| {
            Box::pin(async move {
                user::insert_group(tx, uuid, account, &self.name, self.description.as_deref()).await?;
                show::<UserGroupInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateUserGroup: PUT "/accounts/groups/actions" "updateUserGroup" {
        uuid: Id<UserGroup>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateUserGroup {
    const ROUTE: Route = UpdateUserGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                user::update_group(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<UserGroupInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteUserGroup: DELETE "/accounts/groups/{uuid}" {
        uuid: Id<UserGroup>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteUserGroup {
    const ROUTE: Route = DeleteUserGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<UserGroupInventory>(tx, self.uuid).await?;
                user::delete_group(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    AddUserToGroup: POST "/accounts/groups/{groupUuid}/users" "params" changes ["userUuid"] {
        group_uuid: Id<UserGroup>,
        user_uuid: Id<User>,
    }
}

impl Api for AddUserToGroup {
    const ROUTE: Route = AddUserToGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| Box::pin(add(tx, self.group_uuid, self.user_uuid))).await
    }
}

async fn add(tx: &mut Tx, group: Id<UserGroup>, named: Id<User>) -> Result<serde_json::Value> {
    match user::join(tx, group, named).await? {
        true => Ok(json!({})),
        false => {
            Err(codes::NOT_FOUND
                .because(format!("there is no user {named} and group {group} of one account")))
        }
    }
}

api! {
    RemoveUserFromGroup: DELETE "/accounts/groups/{groupUuid}/users/{userUuid}" {
        group_uuid: Id<UserGroup>,
        user_uuid: Id<User>,
    }
}

impl Api for RemoveUserFromGroup {
    const ROUTE: Route = RemoveUserFromGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                user::leave(tx, self.group_uuid, self.user_uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}
