//! An agent in this process, with a connected store, and images to feed it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use host::qcow2::Format;
use host::qemu_img;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use storage_agent::config::{Bytes, Config};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::call::{TASK_UUID, from_body, to_body};
use wire::calls::imagestore::{Connect, Delete, Download, Downloaded, GetProgress, Progress};
use wire::{Call, Fault, TaskId};

pub const STORE: &str = "6f1d2c3b4a5968778695a4b3c2d1e0f1";
pub const IMAGE: &str = "11112222333344445555666677778888";
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub struct Lab {
    pub dir: TempDir,
    pub peer: Peer,
    _stop: DropGuard,
}

/// Somebody who talks to an agent.
pub struct Peer {
    pub http: Client,
    pub base: String,
}

impl Lab {
    pub async fn new() -> Self {
        Lab::with(|_, _| {}).await
    }

    /// An agent that may import from 127.0.0.1.
    pub async fn with(configure: impl FnOnce(&mut Config, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            state_dir: dir.path().join("state"),
            max_image_size: Bytes(64 << 20),
            allow_private: vec!["127.0.0.1/32".parse().unwrap()],
            ..Config::default()
        };
        configure(&mut config, dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(storage_agent::serve(config, listener, None, shutdown.clone()));
        let lab = Lab { peer: Peer::of(base), dir, _stop: shutdown.drop_guard() };
        lab.peer.connect(&lab.store()).await.unwrap();
        lab
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Whether anything of any image is left in the store.
    pub fn is_empty(&self) -> bool {
        ["images", "incoming"].iter().all(|dir| self.store().join(dir).read_dir().unwrap().next().is_none())
    }
}

impl Peer {
    pub fn of(base: String) -> Self {
        Peer { http: Client::builder().no_proxy().build().unwrap(), base }
    }

    pub async fn connect(&self, store: &Path) -> Result<(), Fault> {
        let storage_path = store.to_str().unwrap().to_owned();
        self.ask(Connect { uuid: STORE.into(), storage_path, ..Connect::default() }).await.map(|_| ())
    }

    /// A synchronous call.
    pub async fn ask<C: Call>(&self, command: C) -> Result<C::Reply, Fault> {
        let url = format!("{}{}", self.base, C::PATH);
        let answer = self.http.post(url).json(&command).send().await?;
        from_body(answer.json().await?)
    }

    /// Starts an asynchronous call.
    pub async fn start<C: Call>(&self, command: C) -> TaskId {
        let (id, url) = (TaskId::random(), format!("{}{}", self.base, C::PATH));
        let request = self.http.post(url).header(TASK_UUID, id.as_str()).json(&command);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
        id
    }

    /// Waits for its outcome.
    pub async fn outcome<C: Call>(&self, id: &TaskId) -> Result<C::Reply, Fault> {
        let url = format!("{}/tasks/{id}", self.base);
        for _ in 0..3000 {
            let task: Value = self.http.get(&url).send().await?.json().await?;
            if task["state"] == "done" {
                return from_body(task["outcome"].clone());
            }
            assert_ne!(task["state"], "unknown");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("task {id} does not end");
    }

    pub async fn run<C: Call>(&self, command: C) -> Result<C::Reply, Fault> {
        let id = self.start(command).await;
        self.outcome::<C>(&id).await
    }

    pub async fn import(&self, url: &str) -> Result<Downloaded, String> {
        self.run(download(url)).await.map_err(|fault| fault.error)
    }

    pub async fn delete(&self) -> Result<(), Fault> {
        let install_url = format!("images/{IMAGE}/image");
        self.run(Delete { uuid: STORE.into(), install_url }).await.map(|_| ())
    }

    pub async fn progress(&self) -> Result<Progress, Fault> {
        self.ask(GetProgress { image_uuid: IMAGE.into() }).await
    }

    /// Waits until so many bytes came.
    pub async fn received(&self, bytes: u64) {
        for _ in 0..1000 {
            if self.progress().await.is_ok_and(|progress| progress.done == bytes) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{bytes} bytes do not come: {:?}", self.progress().await);
    }

    /// A task that waits for an upload, once it does.
    pub async fn await_upload(&self) -> TaskId {
        let id = self.start(upload()).await;
        self.received(0).await;
        id
    }

    pub async fn put(
        &self,
        token: &str,
        range: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        let url = format!("{}/images/{IMAGE}?token={token}", self.base);
        let mut request = self.http.put(url).body(body);
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

pub fn download(url: &str) -> Download {
    Download {
        uuid: STORE.into(),
        image_uuid: IMAGE.into(),
        install_path: format!("images/{IMAGE}/image"),
        url: url.into(),
        timeout: 60,
        ..Download::default()
    }
}

pub fn upload() -> Download {
    Download { upload_token: Some(TOKEN.into()), ..download("upload://disk.qcow2") }
}

/// An error as its body tells it.
pub fn error(body: &Value) -> &str {
    assert_eq!(body["success"], false, "{body}");
    body["error"].as_str().unwrap()
}

/// A qcow2 disk of 32 MiB.
pub async fn qcow2() -> Vec<u8> {
    made(async |path, _| qemu_img::create(path, Format::Qcow2, 32 << 20).await.unwrap()).await
}

/// A qcow2 disk upon another.
pub async fn overlay() -> Vec<u8> {
    made(async |path, base| {
        qemu_img::create(base, Format::Qcow2, 32 << 20).await.unwrap();
        qemu_img::create_overlay(path, base, Format::Qcow2, None).await.unwrap();
    })
    .await
}

pub async fn made(make: impl AsyncFnOnce(&Path, &Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    make(&path, &dir.path().join("other")).await;
    std::fs::read(path).unwrap()
}

/// Bytes that no two places of have in common.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).flatten().take(length).collect();
    bytes[..4].copy_from_slice(b"raw:");
    bytes
}

/// The body of a success, to compare with.
pub fn told<R: serde::Serialize>(reply: R) -> Value {
    to_body(&Ok(reply))
}
