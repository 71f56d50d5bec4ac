//! An image that is made of something there is: brought to its storages by a host instead of fetched by them.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Id, Result};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Image;
use super::add::{Add, DOWNLOAD_LIMIT};
use super::media::{Format, MediaType};
use crate::backup_storage::driver::{Order, Stored};
use crate::backup_storage::{BackupStorage, BackupStorageInventory};

pub use super::add::ANSWER_LIMIT;

/// How long a storage may need to notice that what it awaits does not come.
const NOTICE: Duration = Duration::from_secs(10);

/// What a new image is like.
#[derive(Debug)]
pub struct NewImage {
    pub uuid: Id<Image>,
    pub name: String,
    pub description: Option<String>,
    /// `volume://…`, for people.
    pub url: String,
    /// Otherwise of data volumes.
    pub of_root: bool,
    pub guest_os_type: Option<String>,
    pub platform: String,
    pub architecture: String,
    pub system: bool,
    pub virtio: bool,
    pub storages: Vec<Id<BackupStorage>>,
}

/// A part of the flow that makes it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Made {
    add: Add,
    /// What who brings it must present.
    token: String,
}

impl Made {
    pub fn new(new: NewImage) -> Made {
        let add = Add {
            uuid: new.uuid,
            name: new.name,
            description: new.description,
            url: new.url,
            media_type: match new.of_root {
                true => MediaType::RootVolumeTemplate,
                false => MediaType::DataVolumeTemplate,
            },
            guest_os_type: new.guest_os_type,
            platform: new.platform,
            architecture: new.architecture,
            format: Some(Format::Qcow2),
            system: new.system,
            virtio: new.virtio,
            storages: new.storages,
            token: None,
            found: Vec::new(),
        };
        Made { add, token: String::new() }
    }

    pub fn uuid(&self) -> Id<Image> {
        self.add.uuid
    }

    pub fn name(&self) -> &str {
        &self.add.name
    }

    pub async fn enter(&mut self, tx: &mut Tx) -> Result<()> {
        self.token = hex::encode(rand::random::<[u8; 32]>());
        self.add.enter(tx).await
    }

    pub async fn forget(&mut self, tx: &mut Tx) -> Result<()> {
        self.add.forget(tx).await
    }

    pub async fn reach(&mut self, cx: &Cx) -> Result<()> {
        self.add.reach(cx).await
    }

    /// Its storages take it while `bring` brings it to each of the addresses.
    pub async fn take<F>(&mut self, cx: &Cx, bring: impl Fn(String) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let order = Order {
            image: self.add.uuid.cast(),
            url: "upload://made".into(),
            format: Some(Format::Qcow2.name().into()),
            upload_token: Some(self.token.clone()),
            limit: DOWNLOAD_LIMIT,
        };
        let taken = self.add.storages.iter().map(async |uuid| {
            let storage: BackupStorageInventory = find(&mut cx.read().await?, *uuid).await?;
            let driver = storage.driver()?;
            let url = driver.bring_url(cx.engine(), &storage, order.image, &self.token);
            both(driver.download(cx, &storage, &order), bring(url)).await
        });
        self.add.found = try_join_all(taken).await?;
        Ok(())
    }

    pub async fn discard(&mut self, cx: &Cx) -> Result<()> {
        self.add.discard(cx).await
    }

    pub async fn ready(&mut self, tx: &mut Tx) -> Result<()> {
        self.token = String::new();
        self.add.ready(tx).await
    }
}

/// What is not brought is not awaited any longer; what was taken before is not brought again.
async fn both(
    taking: impl Future<Output = Result<Stored>>,
    bringing: impl Future<Output = Result<()>>,
) -> Result<Stored> {
    let (mut taking, mut bringing) = (pin!(taking), pin!(bringing));
    tokio::select! {
        taken = &mut taking => {
            let taken = taken?;
            if let Err(error) = bringing.await {
                tracing::info!(%error, "it was there already");
            }
            Ok(taken)
        }
        brought = &mut bringing => match brought {
            Ok(()) => taking.await,
            Err(error) => timeout(NOTICE, taking).await.unwrap_or(Err(error)),
        },
    }
}
