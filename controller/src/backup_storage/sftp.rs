//! ZStack's sftp backup storage, as our storage-agent serves it: its commands, but the bits travel by HTTP.

use std::time::Duration;

use engine::boxed;
use engine::flow::{Agent, Cx};
use engine::{Any, Engine, Id, Result};
use wire::calls::imagestore as call;

use super::BackupStorageInventory;
use super::driver::{Driver, Order, Progress, Space, Stored};
use crate::config::Ports;
use crate::machine::Agents;

pub(super) const TYPE: &str = "SftpBackupStorage";

/// How long a storage may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) struct Sftp;

fn base(engine: &Engine, storage: &BackupStorageInventory) -> String {
    let port = engine.of::<Ports>().storage_agent;
    engine.of::<Agents>().url(storage.machine_uuid, &storage.hostname, port)
}

pub(crate) fn agent(engine: &Engine, storage: &BackupStorageInventory) -> Agent {
    let name = format!("the storage-agent of backup storage \"{}\"", storage.name);
    Agent { url: base(engine, storage), name }
}

fn space(total: Option<u64>, available: Option<u64>) -> Space {
    Space { total: total.map(bytes), available: available.map(bytes) }
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[boxed]
impl Driver for Sftp {
    async fn connect(&self, cx: &Cx, storage: &BackupStorageInventory) -> Result<Space> {
        let connect = call::Connect {
            uuid: storage.uuid.to_string(),
            storage_path: storage.url.clone(),
            send_command_url: cx.engine().caller().callback_url().to_owned(),
        };
        let told = cx.call(&agent(cx.engine(), storage), &connect).await?;
        Ok(space(told.total_capacity, told.available_capacity))
    }

    async fn reach(&self, engine: &Engine, storage: &BackupStorageInventory) -> Result<()> {
        engine.ask(&agent(engine, storage), &call::Echo {}, ANSWER).await.map(|_| ())
    }

    async fn disconnect(&self, cx: &Cx, storage: &BackupStorageInventory) -> Result<()> {
        let disconnect = call::Disconnect { uuid: storage.uuid.to_string() };
        cx.call(&agent(cx.engine(), storage), &disconnect).await.map(|_| ())
    }

    async fn ping(&self, engine: &Engine, storage: &BackupStorageInventory) -> Result<Space> {
        let ping = call::Ping { uuid: storage.uuid.to_string() };
        let pong = engine.ask(&agent(engine, storage), &ping, ANSWER).await?;
        Ok(space(pong.total_capacity, pong.available_capacity))
    }

    fn install_path(&self, image: Id<Any>) -> String {
        format!("images/{image}/image")
    }

    async fn download(&self, cx: &Cx, storage: &BackupStorageInventory, order: &Order) -> Result<Stored> {
        let download = call::Download {
            uuid: storage.uuid.to_string(),
            image_uuid: order.image.to_string(),
            install_path: self.install_path(order.image),
            url: order.url.clone(),
            timeout: order.limit.as_secs(),
            url_scheme: order.url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()),
            upload_token: order.upload_token.clone(),
            format: order.format.clone(),
        };
        let there = cx.call(&agent(cx.engine(), storage), &download).await?;
        Ok(Stored {
            size: bytes(there.size),
            actual_size: bytes(there.actual_size),
            md5_sum: there.md5_sum,
            sha256: there.sha256,
            format: there.format,
        })
    }

    async fn delete(&self, cx: &Cx, storage: &BackupStorageInventory, image: Id<Any>) -> Result<()> {
        let (uuid, install_url) = (storage.uuid.to_string(), self.install_path(image));
        cx.call(&agent(cx.engine(), storage), &call::Delete { uuid, install_url }).await.map(|_| ())
    }

    async fn image_size(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
    ) -> Result<(i64, i64)> {
        let question = call::GetImageSize {
            uuid: storage.uuid.to_string(),
            image_uuid: image.to_string(),
            install_path: self.install_path(image),
        };
        let told = engine.ask(&agent(engine, storage), &question, ANSWER).await?;
        Ok((bytes(told.size), bytes(told.actual_size)))
    }

    async fn progress(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
    ) -> Result<Progress> {
        let question = call::GetProgress { image_uuid: image.to_string() };
        let told = engine.ask(&agent(engine, storage), &question, ANSWER).await?;
        Ok(Progress { done: told.done, total: told.total })
    }

    fn bits_url(&self, engine: &Engine, storage: &BackupStorageInventory, image: Id<Any>) -> String {
        format!("{}/images/{image}", base(engine, storage))
    }

    fn bring_url(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
        token: &str,
    ) -> String {
        format!("{}/images/{image}?token={token}", base(engine, storage))
    }

    fn upload_url(
        &self,
        engine: &Engine,
        storage: &BackupStorageInventory,
        image: Id<Any>,
        token: &str,
    ) -> String {
        // Clients have no certificates; what lets them in is the token.
        let base = match engine.of::<Agents>() {
            Agents::Plain => base(engine, storage),
            Agents::Certified(_) => Agents::Plain.url(None, &storage.hostname, engine.of::<Ports>().uploads),
        };
        format!("{base}/images/{image}?token={token}")
    }
}
