//! Who is who between controller and agents: mutual TLS from the controller's own authority.
//!
//! A certificate is of a *machine* (a uuid) and says in which [`Role`]s it may act. Machines are addressed
//! by name, never by address ([`name`]): the first label carries the address, the rest names the machine,
//! so that ordinary verification binds a connection to the machine and not to where it happens to be.
//!
//! ```text
//! https://10-0-0-1.<machine uuid>.machine.cumulet:7070     an agent of that machine
//! https://10-0-0-9.controller.cumulet:8081                 a controller
//! ```
//!
//! Invariants: a secret never leaves the machine that made it, except the authority's, which the
//! controllers share; nothing of an identity is in use that is not wholly on the disk; what is new is taken
//! over between connections, so that no request and no task notices; a revoked machine is refused at its
//! next request, also over a connection that it has already.

mod authority;
mod directory;
mod door;
mod enrol;
mod first_contact;
mod gate;
mod http;
mod identity;
mod keeper;
mod listener;
pub mod name;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use authority::{Authority, fingerprint, key_of};
pub use directory::Directory;
pub use door::{Door, Entrance};
pub use enrol::{Command, ENROL, Enrol, Enrolment, Issued, RENEW, Renewal, TRUST, Token, Trust};
pub use gate::{demand, only, only_or_neighbours};
pub use http::Http;
pub use identity::{Identity, Live};
pub use keeper::Keeper;
pub use listener::{Guest, Guests, TlsListener};

/// Where a machine's agents find its identity when they are not told otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/cumulet/tls";

/// Names one enrolled machine, or one controller process. 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Uuid);

/// What a machine may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sends commands; takes in outcomes.
    Controller,
    /// Runs VMs: fetches images.
    Host,
    /// Keeps images.
    Storage,
    /// Relays screens.
    ConsoleProxy,
    /// Reads what agents say of themselves (inventories, numbers) and commands nothing.
    Auditor,
}

/// Who is at the other end of a connection, as its certificate proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub machine: MachineId,
    pub roles: Vec<Role>,
}

/// What is wrong with an identity, or with getting one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {path:?}: {source}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path:?} {why}")]
    Unsound { path: PathBuf, why: String },
    #[error(
        "this machine is not enrolled: there is no identity in {dir:?}; get a token from the controller (POST \
         /v1/enrolment-tokens) and run {program} enrol --controller https://ADDRESS:8081 --token TOKEN, or set \
         plain-listen to serve without authentication"
    )]
    NotEnrolled { dir: PathBuf, program: String },
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error("{}", crate::Fault::from(.0).error)]
    Http(#[source] reqwest::Error),
}

impl MachineId {
    pub fn random() -> Self {
        MachineId(Uuid::new_v4())
    }
}

impl Role {
    pub const ALL: [Role; 5] =
        [Role::Controller, Role::Host, Role::Storage, Role::ConsoleProxy, Role::Auditor];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Host => "host",
            Role::Storage => "storage",
            Role::ConsoleProxy => "console-proxy",
            Role::Auditor => "auditor",
        }
    }
}

impl Peer {
    /// Whether it acts in one of `roles`.
    pub fn is_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MachineId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sound = text.len() == 32 && !text.bytes().any(|b| b.is_ascii_uppercase());
        let uuid = sound.then(|| Uuid::try_parse(text).ok()).flatten();
        uuid.map(MachineId).ok_or_else(|| format!("{text:?} names no machine: 32 lower-case hex digits do"))
    }
}

impl TryFrom<String> for MachineId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> String {
        id.to_string()
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no role: use host, storage, console-proxy or auditor"))
    }
}
