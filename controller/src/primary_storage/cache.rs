//! Bringing an image into the cache of a storage on a host: a flow of its own, owned by what it makes, so
//! that what lies there is known whatever becomes of the VM that it was brought for.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::find;
use engine::{Any, ErrorCode, Id, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::driver::{Placed, Wanted};
use super::{PrimaryStorage, PrimaryStorageInventory, store};
use crate::host::{Host, HostInventory};

/// look whether it is there → fetch → remember
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cache {
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
    /// It is there for all hosts.
    #[serde(default)]
    shared: bool,
    wanted: Wanted,
    /// Volumes may stand on it already.
    known: bool,
    placed: Placed,
}

/// Has the image in the storage's cache on the host. Whether it was `known` to be there must have been
/// written down before: a step that is repeated does what it did.
pub async fn cached(
    cx: &Cx,
    host: &HostInventory,
    storage: &PrimaryStorageInventory,
    wanted: &Wanted,
    known: bool,
) -> Result<Placed> {
    // Two hosts must not bring one file.
    if known && !storage.shared {
        return storage.driver()?.cache(storage.through(cx, host), wanted).await;
    }
    // A step may bring several.
    let label = format!("cache {}", wanted.image);
    let (wanted, placed) = (wanted.clone(), Placed::default());
    let shared = storage.shared;
    let cache = Cache { storage: storage.uuid, host: host.uuid, shared, wanted, known: false, placed };
    Ok(serde_json::from_value(cx.sub(&label, cache).await?)?)
}

/// What the flows own that bring an image to a cache and take it away.
pub(super) fn id(storage: Id<PrimaryStorage>, host: Option<Id<Host>>, image: &str) -> Id<Any> {
    let host = host.map(|host| host.to_string()).unwrap_or_default();
    Id::derived(&[&storage.to_string(), &host, image, "cache"])
}

/// Whether an agent could not make a volume because its template is not in the cache, in ZStack's words.
pub fn says_uncached(error: &ErrorCode) -> bool {
    error.details().contains("unable to find image in cache")
}

impl Cache {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        self.known = store::is_cached(tx, &self.wanted.image, self.storage, self.host).await?;
        Ok(())
    }

    async fn place(&self, cx: &Cx) -> Result<(HostInventory, PrimaryStorageInventory)> {
        let mut tx = cx.read().await?;
        Ok((find(&mut tx, self.host).await?, find(&mut tx, self.storage).await?))
    }

    async fn fetch(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        self.placed = storage.driver()?.cache(storage.through(cx, &host), &self.wanted).await?;
        Ok(())
    }

    async fn discard(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let driver = storage.driver()?;
        match self.known {
            true => Ok(()),
            false => {
                let path = driver.cached_path(&storage, &self.wanted);
                driver.delete_volume(storage.through(cx, &host), &path).await
            }
        }
    }

    async fn remember(&mut self, tx: &mut Tx) -> Result<()> {
        store::remember_cached(tx, &self.wanted.image, self.storage, self.host, &self.placed).await
    }
}

impl Flow for Cache {
    const NAME: &'static str = "primary_storage.cache";

    fn resource(&self) -> Id<Any> {
        id(self.storage, (!self.shared).then_some(self.host), &self.wanted.image)
    }

    fn title(&self) -> String {
        format!("cache image {} on host {}", self.wanted.image, self.host)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act_undo("fetch", Self::fetch, Self::discard)
            .limit(std::time::Duration::from_secs(3600))
            .record("remember", Self::remember)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(serde_json::to_value(&self.placed)?)
    }
}
