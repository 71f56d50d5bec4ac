//! Accounts and sessions: who may talk to the cloud.
//!
//! A client presents the SHA-512 of its password, as ZStack's do; what is kept is its argon2 hash. A
//! session is 128 random bits; what is kept is their SHA-256. Each use prolongs it.

mod api;
mod password;
mod store;

use std::path::Path;
use std::time::Duration;

use engine::api::Session;
use engine::module::Module;
use engine::setting::{AnySetting, Setting, seconds};
use engine::sweep::{By, Sweep};
use engine::{Engine, Id, Result, Stamp, inventory};
use futures::future::BoxFuture;

pub use api::{AUTHENTICATION, SESSION};

/// Marks ids of accounts.
#[derive(Debug)]
pub enum Account {}

inventory! {
    /// An account as the API shows it.
    AccountInventory in "account" {
        uuid: Id<Account>,
        name: String,
        description: Option<String>,
        r#type: String,
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

const SETTINGS: &[AnySetting] = &[SESSION_TIMEOUT.entry(|text| SESSION_TIMEOUT.accepts(text))];

pub fn module() -> Module {
    Module::new("account")
        .query::<AccountInventory>("QueryAccount", "/accounts")
        .ask::<api::LogInByAccount>()
        .ask::<api::LogOut>()
        .ask::<api::ValidateSession>()
        .settings(SETTINGS)
        .sweep(Sweep {
            name: "session expiry",
            every: |_| Duration::from_secs(300),
            by: By::One,
            pass: |engine| {
                Box::pin(
                    async move { engine.db().write(|tx| Box::pin(store::expire(tx, Stamp::now()))).await },
                )
            },
        })
}

/// Finds the session that an `Authorization: OAuth <uuid>` header names.
pub fn gate(engine: Engine, header: String) -> BoxFuture<'static, Result<Session>> {
    Box::pin(api::authenticate(engine, header))
}

/// Makes the administrator at the first start, with the configured password or a random one.
pub async fn ensure_admin(engine: &Engine, configured: Option<String>, state_dir: &Path) -> Result<()> {
    let admin: Id<Account> = ADMIN.parse().expect("a uuid");
    if store::password(&mut engine.db().read().await?, "admin").await?.is_some() {
        return Ok(());
    }
    let password = match configured {
        Some(password) => password,
        None => password::make(&state_dir.join("admin-password"))?,
    };
    let hash = password::hash(password::sha512(&password)).await?;
    engine.db().write(move |tx| Box::pin(async move { store::insert_admin(tx, admin, &hash).await })).await?;
    tracing::info!("made the account \"admin\"");
    Ok(())
}
