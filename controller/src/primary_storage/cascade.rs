use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde_json::{Value, json};

use super::{PrimaryStorageInventory, attach, host_hook, store};

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "Zone", child: "PrimaryStorage", action: Action::Delete, find: store::IN_ZONE }];

pub(super) const ATTACHMENT: &str = "PrimaryStorageClusterRef";

pub(super) struct PrimaryStorageKind;

/// A storage's place in a cluster. VMs that run on it there are stopped before it goes.
pub(super) struct AttachmentKind;

#[boxed]
impl Kind for AttachmentKind {
    fn name(&self) -> &'static str {
        ATTACHMENT
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        match store::change(tx, id.cast(), "Attached", "Detaching").await? {
            true => Ok(()),
            false => {
                Err(codes::STATE.because("the storage is being attached, or detached already: wait for that"))
            }
        }
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::change(tx, id.cast(), "Detaching", "Attached").await.map(|_| ())
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let attachment = store::attachment(&mut cx.read().await?, id.cast()).await?;
        match attachment {
            Some(there) => attach::leave_all(cx, there.storage, there.cluster).await,
            None => Ok(()),
        }
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        let Some(there) = store::attachment(tx, id.cast()).await? else { return Ok(()) };
        store::detach(tx, there.storage, there.cluster).await
    }

    async fn answer(&self, tx: &mut Tx, shown: Option<Id<Any>>) -> Result<Value> {
        match shown {
            Some(storage) => show::<PrimaryStorageInventory>(tx, storage).await,
            None => Ok(json!({})),
        }
    }
}

#[boxed]
impl Kind for PrimaryStorageKind {
    fn name(&self) -> &'static str {
        "PrimaryStorage"
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_state(tx, id.cast(), "Deleting").await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::set_state(tx, id.cast(), "Enabled").await
    }

    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let storage: PrimaryStorageInventory = find(&mut tx, id).await?;
        let hosts = store::hosts_of(&mut tx, storage.uuid).await?;
        drop(tx);
        if let Some(one) = hosts.iter().find(|host| storage.shared && host.is_connected()) {
            host_hook::clear(cx, one, &storage).await?;
        }
        for host in hosts.iter().filter(|host| host.is_connected()) {
            host_hook::leave(cx, host, &storage).await?;
        }
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
