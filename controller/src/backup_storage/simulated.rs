//! A storage-agent without disks, on the real wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::Fault;
use wire::agent::{Cx, Routes};
use wire::calls::{Done, imagestore as call};

use crate::config::Ports;
use crate::testing::{Cloud, Serving, serve};

/// What the agent has and how it behaves.
pub struct World {
    pub stores: Mutex<BTreeMap<String, String>>,
    pub images: Mutex<BTreeSet<String>>,
    /// Every download command that came.
    pub orders: Mutex<Vec<call::Download>>,
    pub available: Mutex<u64>,
    /// Downloads are refused with this.
    refusal: Mutex<Option<String>>,
    sha256: Mutex<String>,
    format: Mutex<String>,
    open: watch::Sender<bool>,
    coming: Mutex<BTreeMap<String, CancellationToken>>,
}

/// A storage-agent and what is behind it.
pub struct Storage {
    pub world: Arc<World>,
    pub serving: Serving,
}

impl Storage {
    pub async fn start(address: SocketAddr) -> Storage {
        let world = Arc::new(World {
            stores: Mutex::default(),
            images: Mutex::default(),
            orders: Mutex::default(),
            available: Mutex::new(900),
            refusal: Mutex::default(),
            sha256: Mutex::new("5a".repeat(32)),
            format: Mutex::new("qcow2".into()),
            open: watch::channel(true).0,
            coming: Mutex::default(),
        });
        Storage::again(address, world).await
    }

    /// The same one, after it was away.
    pub async fn again(address: SocketAddr, world: Arc<World>) -> Storage {
        let routes = Routes::new(Arc::clone(&world))
            .on(echo)
            .on(connect)
            .on(disconnect)
            .on(ping)
            .on(download)
            .on(delete)
            .on(image_size)
            .on(progress);
        Storage { world, serving: serve(address, routes).await }
    }

    pub fn port(&self) -> u16 {
        self.serving.address.port()
    }
}

impl World {
    pub fn refuses(&self, error: &str) {
        *self.refusal.lock().unwrap() = Some(error.to_owned());
    }

    pub fn finds(&self, format: &str) {
        *self.format.lock().unwrap() = format.to_owned();
    }

    pub fn gets_other_bits(&self) {
        *self.sha256.lock().unwrap() = "b1".repeat(32);
    }

    /// Whether downloads come to their end.
    pub fn let_through(&self, open: bool) {
        self.open.send_replace(open);
    }

    pub fn has(&self, image: &str) -> bool {
        self.images.lock().unwrap().contains(image)
    }

    pub fn is_fetching(&self, image: &str) -> bool {
        self.coming.lock().unwrap().contains_key(image)
    }

    fn store(&self, uuid: &str) -> Result<(), Fault> {
        match self.stores.lock().unwrap().contains_key(uuid) {
            true => Ok(()),
            false => Err(Fault::new(format!("backup storage \"{uuid}\" is not connected here"))),
        }
    }
}

async fn connect(cx: Cx<World>, command: call::Connect) -> Result<call::Capacity, Fault> {
    cx.stores.lock().unwrap().insert(command.uuid, command.storage_path);
    Ok(call::Capacity { total_capacity: Some(1000), available_capacity: Some(*cx.available.lock().unwrap()) })
}

async fn echo(_: Cx<World>, _: call::Echo) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn disconnect(cx: Cx<World>, command: call::Disconnect) -> Result<Done, Fault> {
    cx.stores.lock().unwrap().remove(&command.uuid);
    Ok(Done {})
}

async fn ping(cx: Cx<World>, command: call::Ping) -> Result<call::Pong, Fault> {
    cx.store(&command.uuid)?;
    let available = *cx.available.lock().unwrap();
    Ok(call::Pong { uuid: command.uuid, total_capacity: Some(1000), available_capacity: Some(available) })
}

async fn download(cx: Cx<World>, command: call::Download) -> Result<call::Downloaded, Fault> {
    cx.store(&command.uuid)?;
    let (image, cancel) = (command.image_uuid.clone(), CancellationToken::new());
    cx.coming.lock().unwrap().insert(image.clone(), cancel.clone());
    cx.orders.lock().unwrap().push(command);
    let mut open = cx.open.subscribe();
    let brought = tokio::select! {
        opened = open.wait_for(|open| *open) => opened.map(|_| ()).map_err(Fault::from),
        () = cancel.cancelled() => Err(Fault::new("the import was given up because the image was deleted")),
        () = cx.superseded().cancelled() => Err(cx.stopped()),
    };
    cx.coming.lock().unwrap().remove(&image);
    brought?;
    if let Some(error) = cx.refusal.lock().unwrap().clone() {
        return Err(Fault::new(error));
    }
    cx.images.lock().unwrap().insert(image);
    Ok(call::Downloaded {
        md5_sum: "0f".repeat(16),
        sha256: cx.sha256.lock().unwrap().clone(),
        size: 1 << 30,
        actual_size: 1 << 20,
        format: cx.format.lock().unwrap().clone(),
        ..Default::default()
    })
}

async fn delete(cx: Cx<World>, command: call::Delete) -> Result<call::Capacity, Fault> {
    cx.store(&command.uuid)?;
    let image = command.install_url.strip_prefix("images/").and_then(|path| path.strip_suffix("/image"));
    let image = image.ok_or_else(|| Fault::new(format!("odd install path {:?}", command.install_url)))?;
    if let Some(coming) = cx.coming.lock().unwrap().get(image) {
        coming.cancel();
    }
    cx.images.lock().unwrap().remove(image);
    Ok(call::Capacity::default())
}

async fn image_size(cx: Cx<World>, command: call::GetImageSize) -> Result<call::ImageSize, Fault> {
    cx.store(&command.uuid)?;
    match cx.has(&command.image_uuid) {
        true => Ok(call::ImageSize { size: 2 << 30, actual_size: 2 << 20 }),
        false => Err(Fault::new(format!("there is no image {}", command.image_uuid))),
    }
}

async fn progress(cx: Cx<World>, command: call::GetProgress) -> Result<call::Progress, Fault> {
    match cx.is_fetching(&command.image_uuid) {
        true => Ok(call::Progress { done: 42, total: Some(100) }),
        false => Err(Fault::new(format!("image {} is neither here nor on its way", command.image_uuid))),
    }
}

/// A cloud whose storage-agents listen on `port`.
pub async fn cloud(port: u16) -> Cloud {
    Cloud::start(Ports { storage_agent: port, ..Ports::default() }).await
}

pub fn parameters(name: &str, hostname: &str) -> Value {
    json!({ "name": name, "hostname": hostname, "url": "/srv/images", "username": "root", "password": "word" })
}

/// A zone, and backup storages in it at these addresses: their uuids.
pub async fn storages(cloud: &Cloud, hostnames: &[&str]) -> (String, Vec<String>) {
    let zone = cloud.create("/zones", json!({ "name": "zone" })).await.unwrap();
    let zone = zone["uuid"].as_str().unwrap().to_owned();
    let mut storages = Vec::new();
    for hostname in hostnames {
        let storage = cloud.create("/backup-storage/sftp", parameters(hostname, hostname)).await.unwrap();
        let uuid = storage["uuid"].as_str().unwrap().to_owned();
        cloud.create(&format!("/zones/{zone}/backup-storage/{uuid}"), json!({})).await.unwrap();
        storages.push(uuid);
    }
    (zone, storages)
}
