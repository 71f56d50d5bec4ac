//! Taking cached images away that nobody needs. Each goes by a flow that owns it as the one does that brings it
//! ([`super::cache`]), so that neither meets the other's file.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::driver::Placed;
use super::store::Spare;
use super::{HOST_LIMIT, PrimaryStorage, PrimaryStorageInventory, cache, store};
use crate::host::{self, Host, HostInventory};

/// look what nobody needs → take it away, one after another
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Clean {
    storage: Id<PrimaryStorage>,
    name: String,
    /// Also those whose images are still there.
    force: bool,
    found: Vec<Spare>,
}

impl Clean {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        self.found = store::spare_images(tx, self.storage, self.force, None).await?;
        Ok(())
    }

    /// One that cannot be taken away does not keep the others.
    async fn take(&mut self, cx: &Cx) -> Result<()> {
        let mut failed = Ok(());
        for spare in &self.found {
            let label = format!("uncache {} {:?}", spare.image, spare.host);
            let uncache = Uncache {
                storage: self.storage,
                force: self.force,
                spare: spare.clone(),
                by: None,
                refused: None,
            };
            match cx.sub(&label, uncache).await {
                Err(error) if error.says_nothing() => return Err(error),
                Err(error) => failed = Err(error),
                Ok(_) => {}
            }
        }
        failed
    }
}

impl Flow for Clean {
    const NAME: &'static str = "primary_storage.clean";

    fn resource(&self) -> Id<Any> {
        Id::derived(&[&self.storage.to_string(), "clean"])
    }

    fn title(&self) -> String {
        format!("clean the image cache of primary storage \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record("look", Self::look).act("take", Self::take).limit(HOST_LIMIT)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<PrimaryStorageInventory>(tx, self.storage).await
    }
}

/// forget → delete → forgotten, unless the host says that it is in use
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Uncache {
    storage: Id<PrimaryStorage>,
    force: bool,
    spare: Spare,
    /// Who deletes it; nobody when it is needed by now, or gone.
    by: Option<Id<Host>>,
    /// Its host refuses to delete it.
    refused: Option<String>,
}

impl Uncache {
    async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        let storage: PrimaryStorageInventory = find(tx, self.storage).await?;
        if store::spare_images(tx, self.storage, self.force, Some(&self.spare)).await?.is_empty() {
            return Ok(());
        }
        let by = match self.spare.host {
            Some(host) => host,
            None => store::hand(tx, &storage, self.resource()).await?,
        };
        self.by = Some(host::usable(tx, by).await?.uuid);
        store::forget_cached(tx, self.storage, &self.spare).await
    }

    async fn delete(&mut self, cx: &Cx) -> Result<()> {
        let Some(by) = self.by else { return Ok(()) };
        let mut tx = cx.read().await?;
        let (host, storage): (HostInventory, PrimaryStorageInventory) =
            (find(&mut tx, by).await?, find(&mut tx, self.storage).await?);
        drop(tx);
        match storage.driver()?.delete_volume(storage.through(cx, &host), &self.spare.path).await {
            Err(error) if error.is(codes::OPERATION) => self.refused = Some(error.details().to_owned()),
            deleted => deleted?,
        }
        Ok(())
    }

    /// What stays may be of use: the next who needs it looks.
    async fn forgotten(&mut self, tx: &mut Tx) -> Result<()> {
        let (Some(by), Some(reason)) = (self.by, &self.refused) else { return Ok(()) };
        let Spare { image, path, size, .. } = &self.spare;
        tracing::info!(image, reason, "stays in the cache");
        let placed = Placed { path: path.clone(), format: String::new(), size: 0, actual_size: *size };
        store::remember_cached(tx, image, self.storage, by, &placed).await?;
        store::doubt_cached(tx, image, self.storage, by).await
    }
}

impl Flow for Uncache {
    const NAME: &'static str = "primary_storage.uncache";

    fn resource(&self) -> Id<Any> {
        cache::id(self.storage, self.spare.host, &self.spare.image)
    }

    fn title(&self) -> String {
        format!("uncache image {} of storage {}", self.spare.image, self.storage)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("forget", Self::forget)
            .act("delete", Self::delete)
            .onward()
            .limit(HOST_LIMIT)
            .record("forgotten", Self::forgotten)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(Value::Null)
    }
}

api! {
    /// Takes the cached images away whose images are gone and that nobody needs; with `force` also those whose
    /// images are still there.
    CleanUpImageCacheOnPrimaryStorage: PUT "/primary-storage/{uuid}/actions" "cleanUpImageCacheOnPrimaryStorage" {
        uuid: Id<PrimaryStorage>,
        force: Option<bool>,
    }
}

impl Api for CleanUpImageCacheOnPrimaryStorage {
    const ROUTE: Route = CleanUpImageCacheOnPrimaryStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let known: PrimaryStorageInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        let force = self.force.unwrap_or(false);
        job.flow(Clean { storage: known.uuid, name: known.name, force, found: Vec::new() }).await
    }
}
