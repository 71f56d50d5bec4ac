//! Fetches an image from a storage-agent into a storage's cache.
//!
//! The image appears under its name only when it is whole: its size and SHA-256 are those that the
//! controller named, and our own reading of its header found nothing that would lead QEMU elsewhere.
//! Several commands for one image fetch it once; one that is superseded meanwhile stops and leaves nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use host::qcow2::{self, Format};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use url::Url;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{Download, Downloaded};
use wire::tls::name::Names;
use wire::tls::{Http, Live};

use super::Storage;
use super::capacity::size_of;
use crate::state::Host;

const CONNECT: Duration = Duration::from_secs(10);
/// How long the sender may stay silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Room that a download leaves on the disk.
const RESERVE: u64 = 64 << 20;

pub async fn download(cx: Cx<Host>, cmd: Download) -> Result<Downloaded, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let target = storage.resolve(&cmd.primary_storage_install_path)?;
    let wanted = Wanted::of(&cmd)?;
    let _one = cx.unless_superseded(async { Ok(cx.files.lock(target.clone()).await) }).await?;
    if !target.try_exists()? {
        check_room(&storage, wanted.size)?;
        let bench = storage.workbench()?;
        let made = bench.path().join("image");
        let sink = Sink::create(&made).await?;
        cx.unless_superseded(fetch(&cx.http.client(), &wanted, sink)).await?;
        accept(&storage, &made, &target).await?;
        tracing::info!(image = cmd.image_uuid, path = %target.display(), "image cached");
    }
    report(storage, target).await
}

/// What is to be fetched, and how it is known to be right.
struct Wanted {
    url: Url,
    sha256: Vec<u8>,
    size: u64,
}

impl Wanted {
    fn of(cmd: &Download) -> Result<Self, Fault> {
        let url = Url::parse(&cmd.url).map_err(|error| Fault::new(format!("url {:?}: {error}", cmd.url)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Fault::new(format!("url {:?} is not http or https", cmd.url)));
        }
        let sha256 = hex::decode(&cmd.sha256).ok().filter(|sum| sum.len() == 32);
        let sha256 =
            sha256.ok_or_else(|| Fault::new("an image is fetched with its sha256: 64 hex digits"))?;
        if cmd.size == 0 {
            return Err(Fault::new("an image is fetched with its size: give the bytes of the file"));
        }
        Ok(Wanted { url, sha256, size: cmd.size })
    }
}

/// No proxy and no redirects: an image store is asked where the controller says it is, or not at all.
pub fn http(live: Option<Live>) -> reqwest::Result<Http> {
    Http::new(live, || {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
        let builder = builder.no_proxy().redirect(reqwest::redirect::Policy::none());
        builder.pool_max_idle_per_host(0).dns_resolver(Names)
    })
}

fn check_room(storage: &Storage, size: u64) -> Result<(), Fault> {
    let available = storage.space()?.available;
    if size.saturating_add(RESERVE) <= available {
        return Ok(());
    }
    Err(Fault::new(format!(
        "no room for an image of {size} bytes in {:?}: {available} are left",
        storage.root()
    )))
}

async fn fetch(client: &reqwest::Client, wanted: &Wanted, mut sink: Sink) -> Result<(), Fault> {
    let response = client.get(wanted.url.clone()).send().await?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(Fault::new(format!("the image store answered {} to {}", response.status(), wanted.url)));
    }
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        sink.take(chunk?, wanted.size).await?;
    }
    sink.finish(wanted).await
}

/// Counts and hashes what it writes.
struct Sink {
    file: BufWriter<File>,
    hash: Sha256,
    count: u64,
}

impl Sink {
    async fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path).await?);
        Ok(Sink { file, hash: Sha256::new(), count: 0 })
    }

    async fn take(&mut self, chunk: Bytes, most: u64) -> Result<(), Fault> {
        self.count += chunk.len() as u64;
        if self.count > most {
            return Err(Fault::new(format!("the image is longer than the {most} bytes that were announced")));
        }
        self.hash.update(&chunk);
        Ok(self.file.write_all(&chunk).await?)
    }

    async fn finish(mut self, wanted: &Wanted) -> Result<(), Fault> {
        self.file.flush().await?;
        if self.count != wanted.size {
            return Err(Fault::new(format!(
                "the image broke off: {} of {} bytes came",
                self.count, wanted.size
            )));
        }
        let found = self.hash.finalize();
        if found.as_slice() != wanted.sha256 {
            let found = hex::encode(found);
            return Err(Fault::new(format!("the image was changed on its way: its sha256 is {found}")));
        }
        Ok(())
    }
}

async fn accept(storage: &Storage, made: &Path, target: &Path) -> Result<(), Fault> {
    let (storage, made, target) = (storage.clone(), made.to_owned(), target.to_owned());
    tokio::task::spawn_blocking(move || {
        qcow2::inspect(&made)?;
        Ok(storage.publish(&made, &target)?)
    })
    .await?
}

async fn report(storage: Storage, target: PathBuf) -> Result<Downloaded, Fault> {
    tokio::task::spawn_blocking(move || {
        let header = qcow2::inspect(&target)?;
        let (size, space) = (size_of(&target)?, storage.space()?);
        let format = if header.format == Format::Qcow2 { "qcow2" } else { "raw" };
        Ok(Downloaded {
            format: format.to_owned(),
            size: size.size,
            actual_size: size.actual_size,
            total_capacity: Some(space.total),
            available_capacity: Some(space.available),
        })
    })
    .await?
}
