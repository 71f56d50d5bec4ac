//! Accounts and sessions: who may talk to the cloud, and what each may do and have.
//!
//! A client presents the SHA-512 of its password, as ZStack's do; what is kept is its argon2 hash. A
//! session is 128 random bits; what is kept is their SHA-256. Each use prolongs it.

mod access_key;
mod accounts;
mod login;
mod password;
mod policy;
mod possession;
mod quota;
mod role;
mod session;
mod share;
mod signature;
mod store;
mod user;

use std::path::Path;
use std::time::Duration;

use engine::api::{Credentials, Session};
use engine::module::Module;
use engine::setting::{AnySetting, Setting, number, seconds};
use engine::sweep::{By, Sweep};
use engine::{Engine, Id, Result, Stamp, inventory};
use futures::future::BoxFuture;

use store::NewAccount;

pub use possession::Possession;
pub use session::{CROWDED, acting};

/// Marks ids of accounts.
#[derive(Debug)]
pub enum Account {}

inventory! {
    /// An account as the API shows it.
    AccountInventory in "account" seen Accounts("uuid") {
        uuid: Id<Account>,
        name: String,
        description: Option<String>,
        r#type: String,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

/// ZStack's administrator, whose uuid clients know.
const ADMIN: &str = "36c27e8ff05c4780bf6d2fa65700f22e";

const SESSION_TIMEOUT: Setting<Duration> = Setting {
    category: "identity",
    name: "session.timeout",
    default: "7200",
    help: "how long a session lives after its last use, seconds",
    read: seconds,
};

const SESSIONS: Setting<i64> = Setting {
    category: "identity",
    name: "session.maxConcurrent",
    default: "500",
    help: "how many sessions an account and its users have at once",
    read: number::<1, 100_000>,
};

const SETTINGS: &[AnySetting] = &[
    SESSION_TIMEOUT.entry(|text| SESSION_TIMEOUT.accepts(text)).seconds(),
    SESSIONS.entry(|text| SESSIONS.accepts(text)).within(1, 100_000),
    login::ATTEMPTS.entry(|text| login::ATTEMPTS.accepts(text)).within(1, 1000),
];

const EVENTS: &[(&str, &str)] = &[("/account/deleted", "it is gone, with what it owned")];

pub fn module() -> Module {
    let module = Module::new("account")
        .category("identity")
        .query::<AccountInventory>("QueryAccount", "/accounts")
        .api::<accounts::CreateAccount>()
        .api::<accounts::UpdateAccount>()
        .api::<accounts::DeleteAccount>()
        .ask::<session::LogInByAccount>()
        .ask::<session::LogInByUser>()
        .ask::<session::LogIn>()
        .ask::<session::LogOut>()
        .ask::<session::ValidateSession>()
        .ask::<session::RenewSession>();
    shares(rights(users(module)))
        .cascade(&accounts::AccountKind, &[])
        .settings(SETTINGS)
        .sweep(EXPIRY)
        .events(EVENTS)
}

const EXPIRY: Sweep = Sweep {
    name: "session expiry",
    every: |_| Duration::from_secs(300),
    by: By::One,
    pass: |engine| {
        Box::pin(async move { engine.db().write(|tx| Box::pin(store::expire(tx, Stamp::now()))).await })
    },
};

fn users(module: Module) -> Module {
    module
        .query::<user::UserInventory>("QueryUser", "/accounts/users")
        .api::<user::CreateUser>()
        .api::<user::UpdateUser>()
        .api::<user::DeleteUser>()
        .query::<user::UserGroupInventory>("QueryUserGroup", "/accounts/groups")
        .api::<user::CreateUserGroup>()
        .api::<user::UpdateUserGroup>()
        .api::<user::DeleteUserGroup>()
        .api::<user::AddUserToGroup>()
        .api::<user::RemoveUserFromGroup>()
        .query::<access_key::AccessKeyInventory>("QueryAccessKey", "/access-keys")
        .ask::<access_key::CreateAccessKey>()
        .api::<access_key::ChangeAccessKeyState>()
        .api::<access_key::DeleteAccessKey>()
}

fn rights(module: Module) -> Module {
    module
        .query::<policy::PolicyInventory>("QueryPolicy", "/accounts/policies")
        .api::<policy::CreatePolicy>()
        .api::<policy::DeletePolicy>()
        .api::<policy::AttachPolicyToUser>()
        .api::<policy::AttachPoliciesToUser>()
        .api::<policy::DetachPolicyFromUser>()
        .api::<policy::DetachPoliciesFromUser>()
        .api::<policy::AttachPolicyToUserGroup>()
        .api::<policy::DetachPolicyFromUserGroup>()
        .ask::<policy::CheckApiPermission>()
        .ask::<policy::CheckResourcePermission>()
        .query::<role::RoleInventory>("QueryRole", "/identities/roles")
        .api::<role::CreateRole>()
        .api::<role::UpdateRole>()
        .api::<role::ChangeRoleState>()
        .api::<role::DeleteRole>()
        .api::<role::AddPolicyStatementsToRole>()
        .api::<role::RemovePolicyStatementsFromRole>()
        .api::<role::AttachPolicyToRole>()
        .api::<role::DetachPolicyFromRole>()
        .api::<role::AttachRoleToAccount>()
        .api::<role::DetachRoleFromAccount>()
}

fn shares(module: Module) -> Module {
    module
        .query::<share::AccountResourceRefInventory>("QueryAccountResourceRef", "/accounts/resources/refs")
        .query::<share::SharedResourceInventory>("QuerySharedResource", "/accounts/resources")
        .api::<share::ShareResource>()
        .api::<share::RevokeResourceSharing>()
        .api::<share::ChangeResourceOwner>()
        .ask::<share::GetResourceAccount>()
        .ask::<share::GetResourceNames>()
        .query::<quota::QuotaInventory>("QueryQuota", "/accounts/quotas")
        .api::<quota::UpdateQuota>()
        .ask::<quota::GetAccountQuotaUsage>()
}

/// Finds the session that a request proves, by a session's uuid or by a signature.
pub fn gate(engine: Engine, credentials: Credentials) -> BoxFuture<'static, Result<Session>> {
    Box::pin(session::authenticate(engine, credentials))
}

fn admin() -> Id<Account> {
    ADMIN.parse().expect("a uuid")
}

/// Makes the administrator at the first start, with the configured password or a random one; gives accounts
/// the quotas that are new since the last.
pub async fn ensure_admin(engine: &Engine, configured: Option<String>, state_dir: &Path) -> Result<()> {
    if store::password_of(&mut engine.db().read().await?, admin()).await?.is_some() {
        return enter_quotas(engine).await;
    }
    let password = match configured {
        Some(password) => password,
        None => password::make(&state_dir.join("admin-password"))?,
    };
    let hash = password::hash(password::sha512(&password)).await?;
    let made = engine.db().write(move |tx| {
        Box::pin(async move {
            if store::password_of(tx, admin()).await?.is_some() {
                return Ok(());
            }
            let new = NewAccount {
                uuid: admin(),
                name: "admin",
                description: None,
                kind: "SystemAdmin",
                hash: &hash,
            };
            store::insert(tx, new).await
        })
    });
    made.await?;
    tracing::info!("made the account \"admin\"");
    Ok(())
}

async fn enter_quotas(engine: &Engine) -> Result<()> {
    let unit = engine.db().write(|tx| {
        Box::pin(async move {
            for (account,) in store::quota::accounts(tx).await? {
                store::quota::enter_defaults(tx, account).await?;
            }
            Ok(())
        })
    });
    unit.await
}

#[cfg(test)]
mod tests;
