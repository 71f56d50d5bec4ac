use async_trait::async_trait;
use engine::cascade::{Action, Edge, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};

use super::{PrimaryStorageInventory, host_hook, store};

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Zone", child: "PrimaryStorage", action: Action::Delete, find: store::IN_ZONE }];

pub(super) struct PrimaryStorageKind;

#[async_trait]
impl Kind for PrimaryStorageKind {
    fn name(&self) -> &'static str {
        "PrimaryStorage"
    }

    async fn begin(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::set_state(tx, id.cast(), "Deleting").await
    }

    async fn revert(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::set_state(tx, id.cast(), "Enabled").await
    }

    async fn act(&self, cx: &Cx, _action: Action, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let storage: PrimaryStorageInventory = find(&mut tx, id).await?;
        let hosts = store::hosts_of(&mut tx, storage.uuid).await?;
        drop(tx);
        for host in hosts.iter().filter(|host| host.is_connected()) {
            host_hook::leave(cx, host, &storage).await?;
        }
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, _action: Action, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
