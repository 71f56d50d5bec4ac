//! `image upload`: the API opens a door at each storage, the bits go there, the job ends.
//!
//! A transfer that breaks off goes on where the storage says it stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Client, Method, Response};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::time::sleep;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::client::{Api, Order};
use crate::command::{params, upload_options};
use crate::job::{self, Begun};
use crate::resources::Resource;

const PAUSE: Duration = Duration::from_millis(300);
/// How often a transfer may break off without a byte more having arrived.
const TRIES: usize = 8;
const AFTER_BREAK: Duration = Duration::from_secs(3);
/// How long the job is given to tell why its bits were refused.
const REASON: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(10);

/// A file on its way to one storage.
struct Transfer<'a> {
    http: Client,
    door: &'a str,
    path: &'a Path,
    total: u64,
    shown: ProgressBar,
}

/// What a storage says to a body.
enum Said {
    Done,
    /// So many bytes are there.
    Has(u64),
    No(String),
}

pub async fn run(api: &Api, image: &'static Resource, matches: &ArgMatches) -> Result<Value> {
    let path = matches.get_one::<PathBuf>("FILE").context("FILE is missing")?;
    let total = length(path).await?;
    let uuid = Uuid::new_v4().simple().to_string();
    let mut params = params(api, upload_options(image), matches).await?;
    let storages = params.get("backupStorageUuids").and_then(Value::as_array).map_or(1, Vec::len);
    params.insert("name".into(), json!(matches.get_one::<String>("name")));
    params.insert("url".into(), json!(address(path)));
    params.insert("resourceUuid".into(), json!(uuid));
    let order = Order { method: Method::POST, path: "/images".into(), body: json!({ "params": params }) };
    let job = match job::begin(api, &order).await? {
        Begun::Job(job) => job,
        Begun::Done(answer) => return Ok(answer),
    };
    for door in doors(api, &uuid, &job, storages).await? {
        let http = Client::builder().connect_timeout(CONNECT).build()?;
        let transfer = Transfer { http, door: &door, path, total, shown: bar(total) };
        if let Err(error) = transfer.run(api, &job).await {
            return Err(
                error.context(format!("image {uuid} has not got its bits; cumulet image delete {uuid}"))
            );
        }
    }
    job::follow(api, &job, &job::spinner()).await
}

async fn length(path: &Path) -> Result<u64> {
    let about = || format!("image file {}", path.display());
    let file = tokio::fs::metadata(path).await.with_context(about)?;
    match file.is_file() && file.len() > 0 {
        true => Ok(file.len()),
        false => bail!("{} is no file, or an empty one", about()),
    }
}

fn address(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("upload://{}", url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>())
}

/// Where the storages wait for the bits.
async fn doors(api: &Api, image: &str, job: &str, storages: usize) -> Result<Vec<String>> {
    let spinner = job::spinner();
    spinner.set_message("waiting for the storage");
    loop {
        if let Some(ended) = job::ended(api, job).await {
            ended?;
            bail!("image {image} was made without its bits");
        }
        let condition = format!("uuid={image}");
        let answer = api.get("/images", &[("q", &condition)]).await?;
        let refs = answer.pointer("/inventories/0/backupStorageRefs").and_then(Value::as_array);
        let paths = refs.into_iter().flatten().filter_map(|one| one["installPath"].as_str());
        let open: Vec<String> = paths.filter(|path| path.starts_with("http")).map(str::to_owned).collect();
        if open.len() >= storages {
            spinner.finish_and_clear();
            return Ok(open);
        }
        sleep(PAUSE).await;
    }
}

fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    );
    let bar = ProgressBar::new(total);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Transfer<'_> {
    async fn run(&self, api: &Api, job: &str) -> Result<()> {
        let (mut from, mut tries) = (0, 0);
        loop {
            let said = match self.put(from, self.total).await {
                Ok(said) => said,
                Err(error) => Said::No(format!("{:#}", error)),
            };
            let trouble = match said {
                Said::Done => return Ok(()),
                Said::Has(bytes) if bytes > from => {
                    (from, tries) = (bytes, 0);
                    continue;
                }
                Said::Has(bytes) => format!("the storage goes on having {bytes} bytes"),
                Said::No(trouble) => trouble,
            };
            tries += 1;
            if let Some(ended) = self.reason(api, job, tries).await {
                return ended.map(|_| ());
            }
            if tries == TRIES {
                bail!("the upload does not get on: {trouble}");
            }
            // The last byte alone asks how many are there, and does no harm when it is the missing one.
            match self.put(self.total - 1, self.total).await {
                Ok(Said::Done) => return Ok(()),
                Ok(Said::Has(bytes)) => {
                    tries = if bytes > from { 0 } else { tries };
                    from = bytes;
                }
                Ok(Said::No(_)) | Err(_) => {}
            }
        }
    }

    /// The job's end when it comes soon: it knows best why bits are refused.
    async fn reason(&self, api: &Api, job: &str, tries: usize) -> Option<Result<Value>> {
        let patience = if tries == TRIES { REASON } else { AFTER_BREAK };
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < patience {
            if let Some(ended) = job::ended(api, job).await {
                return Some(ended);
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// The bytes of the file from `from` up to and without `to`.
    async fn put(&self, from: u64, to: u64) -> Result<Said> {
        let mut file = File::open(self.path).await?;
        file.seek(SeekFrom::Start(from)).await?;
        self.shown.set_position(from);
        let shown = self.shown.clone();
        let bytes = ReaderStream::with_capacity(file.take(to - from), 256 << 10)
            .inspect(move |chunk| shown.inc(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64)));
        let mut request = self.http.put(self.door).header("content-length", to - from);
        if from > 0 {
            request = request.header("content-range", format!("bytes {from}-{}/{}", to - 1, self.total));
        }
        Ok(said(request.body(Body::wrap_stream(bytes)).send().await?).await)
    }
}

async fn said(answer: Response) -> Said {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    match body["received"].as_u64() {
        Some(bytes) => Said::Has(bytes),
        None if status.is_success() => Said::Done,
        None => Said::No(body["error"].as_str().map_or(format!("HTTP {status}"), str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_makes_an_address() {
        assert_eq!(address(Path::new("/a/my image#1.qcow2")), "upload://my+image%231.qcow2");
    }

    #[tokio::test]
    async fn an_empty_or_missing_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        assert!(length(&path).await.is_err());
        std::fs::write(&path, "").unwrap();
        assert!(length(&path).await.is_err());
        std::fs::write(&path, "x").unwrap();
        assert_eq!(length(&path).await.unwrap(), 1);
    }
}
