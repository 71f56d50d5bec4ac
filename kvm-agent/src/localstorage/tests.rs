//! Real files, real qemu-img, a real HTTP server on loopback.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use host::qcow2::{self, Format};
use host::qemu_img;
use sha2::{Digest, Sha256};
use wire::Fault;
use wire::agent::Cx;
use wire::call::STALE;
use wire::calls::localstorage::{
    CheckBits, CreateEmpty, CreateFromCache, Delete, DeleteDir, Download, GetCapacity, GetSize, Init,
};

use super::*;
use crate::state::Host;
use crate::testing;

const MIB: u64 = 1 << 20;

struct Bed {
    dir: tempfile::TempDir,
    cx: Cx<Host>,
    ps: String,
}

impl Bed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cx = testing::host(&dir.path().join("state"));
        let ps = dir.path().join("ps").to_str().unwrap().to_owned();
        let bed = Bed { dir, cx, ps };
        bed.init("ps-1").await.unwrap();
        bed
    }

    async fn init(&self, uuid: &str) -> Result<(), Fault> {
        let cmd = Init { uuid: uuid.into(), path: self.ps.clone(), ..Init::default() };
        init(self.cx.clone(), cmd).await.map(|told| assert!(told.total_capacity > told.available_capacity))
    }

    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.ps)
    }

    async fn image(&self) -> String {
        let path = self.path("imagecache/template/a/a.qcow2");
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        qemu_img::create(Path::new(&path), Format::Qcow2, MIB).await.unwrap();
        path
    }

    async fn clone_image(&self, install: &str, size: u64) -> Result<(Option<u64>, Option<u64>), Fault> {
        let cmd = CreateFromCache {
            storage_path: self.ps.clone(),
            template_path_in_cache: self.path("imagecache/template/a/a.qcow2"),
            install_url: self.path(install),
            virtual_size: size,
            ..CreateFromCache::default()
        };
        create_from_cache(self.cx.clone(), cmd).await.map(|made| (made.size, made.actual_size))
    }

    async fn delete(&self, path: &str) -> Result<(), Fault> {
        let cmd = Delete { storage_path: self.ps.clone(), path: path.into(), ..Delete::default() };
        delete(self.cx.clone(), cmd).await.map(drop)
    }

    async fn delete_dir(&self, path: &str) -> Result<(), Fault> {
        let cmd = DeleteDir { storage_path: self.ps.clone(), path: path.into(), ..DeleteDir::default() };
        delete_dir(self.cx.clone(), cmd).await.map(drop)
    }

    /// Serves `bits` and downloads them under the sum and size that are said to be theirs.
    async fn download(&self, bits: &'static [u8], sum_of: &[u8], size: u64) -> Result<String, Fault> {
        let served = Router::new().route("/image", get(move || async move { bits }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/image", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, served).await });
        let outcome = download(self.cx.clone(), self.order(url, sum_of, size)).await;
        server.abort();
        outcome.map(|done| done.format)
    }

    fn order(&self, url: String, sum_of: &[u8], size: u64) -> Download {
        Download {
            storage_path: self.ps.clone(),
            primary_storage_install_path: self.path("imagecache/template/b/b.img"),
            url,
            sha256: hex::encode(Sha256::digest(sum_of)),
            size,
            ..Download::default()
        }
    }

    fn workshop_is_empty(&self) -> bool {
        fs::read_dir(self.path(&workshop())).map_or(true, |mut entries| entries.next().is_none())
    }
}

/// This host's.
fn workshop() -> String {
    format!("{WORKSHOP}/{}", crate::sys::machine::id())
}

#[tokio::test]
async fn a_storage_is_opened_once_and_for_all() {
    let bed = Bed::new().await;
    bed.init("ps-1").await.unwrap();
    let told =
        get_capacity(bed.cx.clone(), GetCapacity { storage_path: bed.ps.clone(), ..Default::default() })
            .await;
    assert!(told.unwrap().available_capacity > Some(0));
}

#[tokio::test]
async fn a_directory_of_strangers_is_not_made_a_storage() {
    let bed = Bed::new().await;
    for path in ["/", "/etc", "/etc/x", "/usr/lib/x", "relative", "/tmp/../etc"] {
        let cmd = Init { path: path.into(), ..Init::default() };
        assert!(init(bed.cx.clone(), cmd).await.is_err(), "{path}");
    }
    let foreign = bed.dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "dear").unwrap();
    let cmd = Init { path: foreign.to_str().unwrap().into(), ..Init::default() };
    let error = init(bed.cx.clone(), cmd).await.unwrap_err().error;
    assert!(error.contains("is not empty and was never a storage"), "{error}");
}

#[tokio::test]
async fn a_storage_passes_to_another_owner_only_when_it_is_empty() {
    let bed = Bed::new().await;
    let image = bed.image().await;
    let error = bed.init("ps-2").await.unwrap_err().error;
    assert!(error.contains("primary storage ps-1"), "{error}");
    bed.delete(&image).await.unwrap();
    bed.init("ps-2").await.unwrap();
}

#[tokio::test]
async fn a_path_that_leads_out_of_its_storage_is_refused() {
    let bed = Bed::new().await;
    let victim = bed.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(bed.dir.path(), bed.path("out")).unwrap();
    symlink(&victim, bed.path("link")).unwrap();
    for path in [
        victim.to_str().unwrap().to_owned(),
        bed.path("../victim"),
        bed.path("out/victim"),
        bed.path("link"),
        bed.path(".cumulet"),
        bed.path(".tmp/x"),
        bed.ps.clone(),
        format!("{}2/x", bed.ps),
        "victim".to_owned(),
    ] {
        assert!(bed.delete(&path).await.is_err(), "{path}");
        assert!(bed.delete_dir(&path).await.is_err(), "{path}");
        let cmd = CheckBits { storage_path: bed.ps.clone(), path: path.clone(), ..CheckBits::default() };
        assert!(check_bits(bed.cx.clone(), cmd).await.is_err(), "{path}");
    }
    assert!(victim.exists());
    let unmarked = Delete { storage_path: bed.dir.path().to_str().unwrap().into(), ..Delete::default() };
    let error = delete(bed.cx.clone(), unmarked).await.unwrap_err().error;
    assert!(error.contains("is no storage of this host"), "{error}");
}

#[tokio::test]
async fn an_empty_volume_is_made_once() {
    let bed = Bed::new().await;
    let make = |size| CreateEmpty {
        storage_path: bed.ps.clone(),
        install_url: bed.path("dataVolumes/v/v.qcow2"),
        size,
        ..CreateEmpty::default()
    };
    for _ in 0..2 {
        assert_eq!(create_empty(bed.cx.clone(), make(8 * MIB)).await.unwrap().size, Some(8 * MIB));
    }
    assert!(create_empty(bed.cx.clone(), make(16 * MIB)).await.unwrap_err().error.contains("another volume"));
    assert!(create_empty(bed.cx.clone(), make(0)).await.unwrap_err().error.contains("needs a size"));
    assert!(bed.workshop_is_empty());
    let path = bed.path("dataVolumes/v/v.qcow2");
    let cmd = GetSize { storage_path: bed.ps.clone(), install_path: path.clone(), ..GetSize::default() };
    assert_eq!(get_size(bed.cx.clone(), cmd).await.unwrap().size, 8 * MIB);
    for _ in 0..2 {
        bed.delete(&path).await.unwrap();
    }
    assert!(!Path::new(&bed.path("dataVolumes")).exists());
    assert!(Path::new(&bed.path(MARK)).exists());
}

#[tokio::test]
async fn a_volume_from_the_cache_stands_on_its_image_and_may_be_larger() {
    let bed = Bed::new().await;
    let missing = bed.clone_image("rootVolumes/v/v.qcow2", 0).await.unwrap_err().error;
    assert_eq!(missing, "unable to find image in cache");
    let image = bed.image().await;
    assert_eq!(bed.clone_image("rootVolumes/v/v.qcow2", 0).await.unwrap().0, Some(MIB));
    for _ in 0..2 {
        assert_eq!(bed.clone_image("rootVolumes/w/w.qcow2", 4 * MIB).await.unwrap().0, Some(4 * MIB));
    }
    assert!(bed.clone_image("rootVolumes/x/x.qcow2", 512).await.unwrap_err().error.contains("too small"));
    let header = qcow2::read_header(Path::new(&bed.path("rootVolumes/w/w.qcow2"))).unwrap();
    let backing = header.backing.unwrap();
    assert_eq!((backing.path.to_str(), backing.format.as_deref()), (Some(image.as_str()), Some("qcow2")));
}

#[tokio::test]
async fn a_cached_image_that_a_volume_stands_on_is_not_deleted() {
    let bed = Bed::new().await;
    let image = bed.image().await;
    bed.clone_image("rootVolumes/v/v.qcow2", 0).await.unwrap();
    for refused in [bed.delete(&image).await, bed.delete_dir(&bed.path("imagecache")).await] {
        let fault = refused.unwrap_err();
        assert_eq!(fault.members["inUse"], true);
        assert!(fault.error.contains("v.qcow2"), "{fault}");
    }
    bed.delete_dir(&bed.path("rootVolumes")).await.unwrap();
    bed.delete(&image).await.unwrap();
    assert!(!Path::new(&bed.path("imagecache")).exists());
}

#[tokio::test]
async fn a_volume_that_qemu_has_open_is_not_deleted() {
    let bed = Bed::new().await;
    bed.image().await;
    bed.clone_image("rootVolumes/v/v.qcow2", 0).await.unwrap();
    let path = bed.path("rootVolumes/v/v.qcow2");
    let socket = bed.dir.path().join("nbd");
    let export = format!("driver=qcow2,node-name=d,file.driver=file,file.filename={path}");
    #[expect(clippy::disallowed_methods, reason = "a process that runs beside the test")]
    let mut holder = std::process::Command::new("qemu-storage-daemon")
        .args([
            "--blockdev",
            &export,
            "--nbd-server",
            &format!("addr.type=unix,addr.path={}", socket.display()),
        ])
        .args(["--export", "type=nbd,id=e,node-name=d,writable=on"])
        .spawn()
        .unwrap();
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let outcomes = [bed.delete(&path).await, bed.delete_dir(&bed.path("rootVolumes")).await];
    holder.kill().unwrap();
    holder.wait().unwrap();
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().members["inUse"], true);
    }
    bed.delete(&path).await.unwrap();
}

#[tokio::test]
async fn a_download_is_whole_and_checked_or_not_there() {
    let bed = Bed::new().await;
    let bits: &[u8] = &[7; 2048];
    let target = bed.path("imagecache/template/b/b.img");
    for (sum_of, size, reason) in [
        (&bits[..9], 2048, "was changed on its way"),
        (bits, 4096, "broke off: 2048 of 4096"),
        (bits, 1024, "longer than the 1024"),
    ] {
        let error = bed.download(bits, sum_of, size).await.unwrap_err().error;
        assert!(error.contains(reason), "{error}");
        assert!(!Path::new(&target).exists() && bed.workshop_is_empty());
    }
    assert_eq!(bed.download(bits, bits, 2048).await.unwrap(), "raw");
    assert_eq!(fs::read(&target).unwrap(), bits);
    assert_eq!(bed.download(b"never asked for", bits, 2048).await.unwrap(), "raw");
}

#[tokio::test]
async fn a_download_that_is_superseded_stops_at_once_and_leaves_nothing() {
    let bed = Bed::new().await;
    // Takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image", silent.local_addr().unwrap());
    let superseding = async {
        while bed.workshop_is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.cx.superseded().cancel();
        Instant::now()
    };
    let (fetched, at) = tokio::join!(download(bed.cx.clone(), bed.order(url, b"", 9)), superseding);
    assert!(fetched.unwrap_err().is(STALE) && at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
    assert!(bed.workshop_is_empty() && !Path::new(&bed.path("imagecache/template/b/b.img")).exists());
}

#[tokio::test]
async fn a_hostile_image_does_not_reach_the_cache() {
    let bed = Bed::new().await;
    let hostile = bed.dir.path().join("hostile.qcow2");
    let secret = Path::new("/etc/hostname");
    qemu_img::create_overlay(&hostile, secret, Format::Raw, Some(MIB)).await.unwrap();
    let bits: &'static [u8] = fs::read(&hostile).unwrap().leak();
    let error = bed.download(bits, bits, bits.len() as u64).await.unwrap_err().error;
    assert!(error.contains("backing file"), "{error}");
    assert!(!Path::new(&bed.path("imagecache/template/b/b.img")).exists() && bed.workshop_is_empty());
}

#[tokio::test]
async fn what_a_dead_agent_left_half_made_is_swept_at_the_next_start() {
    let bed = Bed::new().await;
    let left = bed.path(&(workshop() + "/left"));
    fs::create_dir_all(&left).unwrap();
    fs::write(left + "/image", "half").unwrap();
    // Another host's work on a shared directory.
    fs::create_dir_all(bed.path(".tmp/other/work")).unwrap();
    let Bed { dir, cx, ps } = bed;
    drop(cx);
    let cx = testing::host(&dir.path().join("state"));
    assert_eq!(cx.storages.all().await.len(), 1);
    let bed = Bed { dir, cx, ps };
    assert!(bed.workshop_is_empty());
    assert!(fs::exists(bed.path(".tmp/other/work")).unwrap());
}
