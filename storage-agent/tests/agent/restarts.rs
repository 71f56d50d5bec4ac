//! The real program, killed in the middle.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wire::calls::imagestore::Download;

use crate::lab::{Peer, TOKEN, download, noise};
use crate::site::{Reply, Site};

struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "allow-private = ['127.0.0.1/32']").unwrap();
        Machine { dir }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    #[expect(clippy::disallowed_methods, reason = "the program is tested as it is started")]
    async fn start(&self) -> (Child, Peer) {
        let dir: &Path = self.dir.path();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_cumulet-storage-agent"))
            .arg("--config")
            .arg(dir.join("config.toml"))
            .args(["--plain-listen", "127.0.0.1:0", "--state-dir"])
            .arg(dir.join("state"))
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(agent.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("the agent listens");
            if let Some(address) = line.split("address=").nth(1) {
                tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
                return (agent, Peer::of(format!("http://{}", address.trim())));
            }
        }
    }

    fn images(&self) -> usize {
        self.store().join("images").read_dir().unwrap().count()
    }
}

/// `kill -9`, and what the kernel still owes is waited for.
async fn kill(mut agent: Child) {
    agent.kill().await.unwrap();
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let (machine, image) = (Machine::new(), noise(300_000));
    let whole = image.clone();
    let site = Site::new(move |head| {
        let fields = "etag: \"v1\"\r\ncontent-length: 300000\r\n";
        if !head.contains("range: bytes=100000-") {
            return Reply::new("200 OK", fields, &whole[..100_000]).then_hangs();
        }
        let fields = "content-length: 200000\r\ncontent-range: bytes 100000-299999/300000\r\n";
        Reply::new("206 Partial Content", fields, &whole[100_000..])
    })
    .await;
    let (agent, peer) = machine.start().await;
    peer.connect(&machine.store()).await.unwrap();
    let task = peer.start(download(&site.url("/x"))).await;
    peer.received(100_000).await;
    kill(agent).await;
    assert_eq!(machine.images(), 0);

    let (_agent, peer) = machine.start().await;
    let found = peer.outcome::<Download>(&task).await.unwrap();
    assert_eq!(found.sha256, hex::encode(Sha256::digest(&image)));
    assert_eq!((site.heads().len(), machine.images()), (2, 1));
}

#[tokio::test]
async fn an_upload_goes_on_after_the_agent_was_killed() {
    let (machine, image) = (Machine::new(), noise(300_000));
    let (agent, peer) = machine.start().await;
    peer.connect(&machine.store()).await.unwrap();
    let task = peer.await_upload().await;
    let range = "bytes 0-99999/300000";
    assert_eq!(peer.put(TOKEN, Some(range), image[..100_000].to_vec()).await.0, 200);
    kill(agent).await;

    let (agent, peer) = machine.start().await;
    peer.received(100_000).await;
    let range = "bytes 100000-299999/300000";
    let (status, body) = peer.put(TOKEN, Some(range), image[100_000..].to_vec()).await;
    assert_eq!((status, &body["sha256"]), (201, &hex::encode(Sha256::digest(&image)).into()));
    peer.outcome::<Download>(&task).await.unwrap();
    kill(agent).await;

    let (_agent, peer) = machine.start().await;
    assert_eq!(peer.progress().await.unwrap().done, 300_000, "a whole image is there at once");
}

/// Kills the agent at many moments of many imports: an image is whole or not there, and its task ends.
#[tokio::test]
async fn no_moment_to_be_killed_shows_half_an_image() {
    let (machine, image) = (Machine::new(), noise(2_000_000));
    let site = Site::with(image.clone()).await;
    for round in 0..12 {
        let (agent, peer) = machine.start().await;
        peer.connect(&machine.store()).await.unwrap();
        let task = peer.start(download(&site.url("/x"))).await;
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        kill(agent).await;
        let shown = machine.store().join("images").join(crate::lab::IMAGE).join("image");
        if shown.exists() {
            assert!(std::fs::read(&shown).unwrap() == image, "round {round}");
        }
        let (agent, peer) = machine.start().await;
        let found = peer.outcome::<Download>(&task).await.unwrap();
        assert_eq!(found.sha256, hex::encode(Sha256::digest(&image)), "round {round}");
        peer.delete().await.unwrap();
        assert_eq!(machine.images(), 0);
        kill(agent).await;
    }
}
