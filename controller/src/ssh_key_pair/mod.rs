//! An SSH key: the public half, kept under a name. The private half is its owner's alone and never comes here.

mod api;
mod store;

use engine::cascade::{Action, Edge};
use engine::module::Module;
use engine::{Id, Stamp, inventory};

pub(crate) use self::api::must_be_key;
use crate::account::Possession;

/// Marks ids of SSH keys.
#[derive(Debug)]
pub enum SshKeyPair {}

inventory! {
    /// An SSH key as the API shows it.
    SshKeyPairInventory in "ssh_key_pair" seen Owned("uuid") {
        uuid: Id<SshKeyPair>,
        name: String,
        description: Option<String>,
        public_key: String,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

static KIND: Possession = Possession { name: "SshKeyPair", delete: store::DELETE };

const EDGES: &[Edge] =
    &[Edge { parent: "Account", child: "SshKeyPair", action: Action::Delete, find: store::OF_ACCOUNT }];

pub fn module() -> Module {
    Module::new("ssh key pair")
        .category("sshKeyPair")
        .query::<SshKeyPairInventory>("QuerySshKeyPair", "/ssh-key-pair")
        .api::<api::CreateSshKeyPair>()
        .api::<api::UpdateSshKeyPair>()
        .api::<api::DeleteSshKeyPair>()
        .cascade(&KIND, EDGES)
}

#[cfg(test)]
mod tests;
