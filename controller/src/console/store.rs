use engine::db::Tx;
use engine::{Any, Id, Result, args};

use crate::host::Host;

const VM: &str = "SELECT name, state, host_uuid FROM vm_instance WHERE uuid = $1";

/// What is to be known of a VM.
#[derive(engine::db::Row)]
pub(super) struct Vm {
    pub name: String,
    pub state: String,
    pub host_uuid: Option<Id<Host>>,
}

pub(super) async fn vm(tx: &mut Tx, uuid: Id<Any>) -> Result<Option<Vm>> {
    tx.opt(VM, args![uuid]).await
}
