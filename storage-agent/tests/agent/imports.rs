use std::time::{Duration, Instant};

use host::process::program;
use sha2::{Digest, Sha256};
use wire::calls::imagestore::{Download, GetImageSize, ImageSize, Ping};

use crate::lab::{IMAGE, Lab, STORE, download, made, noise, overlay, qcow2};
use crate::site::{Reply, Site};

#[tokio::test]
async fn an_image_comes_by_http_with_its_sums_and_sizes() {
    let (lab, image) = (Lab::new().await, qcow2().await);
    let site = Site::with(image.clone()).await;
    let found = lab.peer.import(&site.url("/disk.qcow2")).await.unwrap();
    assert_eq!((found.size, found.actual_size), (32 << 20, image.len() as u64));
    assert_eq!((found.format.as_str(), found.sha256), ("qcow2", hex::encode(Sha256::digest(&image))));
    assert_eq!(found.md5_sum.len(), 32);
    assert!(found.available_capacity.unwrap() > 0 && found.total_capacity > found.available_capacity);
    assert_eq!(std::fs::read(lab.store().join("images").join(IMAGE).join("image")).unwrap(), image);
    assert!(site.heads()[0].contains("accept-encoding: identity"));
}

#[tokio::test]
async fn a_repeated_import_answers_without_fetching() {
    let (lab, site) = (Lab::new().await, Site::with(noise(1000)).await);
    let first = lab.peer.import(&site.url("/a")).await.unwrap();
    let again = lab.peer.import(&site.url("/a")).await.unwrap();
    assert_eq!((first.sha256, site.heads().len()), (again.sha256, 1));
    let other = lab.peer.import(&site.url("/b")).await.unwrap_err();
    assert!(other.contains("there already, from another source"), "{other}");
    let other = lab.peer.run(Download { format: Some("iso".into()), ..download(&site.url("/a")) }).await;
    assert!(other.unwrap_err().error.contains("the image is raw, not iso"));
}

#[tokio::test]
async fn two_imports_of_one_image_fetch_it_once() {
    let lab = Lab::new().await;
    let image = noise(300_000);
    let site = Site::new(move |_| {
        std::thread::park_timeout(Duration::from_millis(200));
        Reply::ok(&image)
    })
    .await;
    let url = site.url("/a");
    let (one, two) = tokio::join!(lab.peer.import(&url), lab.peer.import(&url));
    assert_eq!(one.unwrap().sha256, two.unwrap().sha256);
    assert_eq!(site.heads().len(), 1);
}

#[tokio::test]
async fn an_import_from_elsewhere_does_not_join_one_under_way() {
    let lab = Lab::new().await;
    let site = Site::new(|_| Reply::new("200 OK", "content-length: 100\r\n", b"half").then_hangs()).await;
    let task = lab.peer.start(download(&site.url("/a"))).await;
    lab.peer.received(4).await;
    let other = lab.peer.import(&site.url("/b")).await.unwrap_err();
    assert!(other.contains("on its way from another source"), "{other}");
    lab.peer.delete().await.unwrap();
    let given_up = lab.peer.outcome::<Download>(&task).await.unwrap_err().error;
    assert!(given_up.contains("given up because the image was deleted"), "{given_up}");
    assert!(lab.is_empty());
}

#[tokio::test]
async fn every_hostile_image_is_refused_with_its_sentence() {
    let lab = Lab::new().await;
    let data_file = made(async |path, other| {
        let option = format!("data_file={}", other.display());
        let create = program("qemu-img").args(["create", "-q", "-f", "qcow2", "-o", &option]);
        create.arg(path).arg("8M").run().await.unwrap();
    });
    let vmdk = made(async |path, _| {
        program("qemu-img").args(["create", "-q", "-f", "vmdk"]).arg(path).arg("8M").run().await.unwrap();
    });
    let mut cut = qcow2().await;
    cut.truncate(cut.len() - 8);
    for (image, sentence) in [
        (overlay().await, "needs the backing file"),
        (data_file.await, "keeps its data in another file"),
        (vmdk.await, "is a VMDK disk: convert it"),
        (b"\x1f\x8b\x08 packed".to_vec(), "packed with gzip: unpack it first"),
        (cut, "incomplete"),
        (Vec::new(), "the image is empty"),
    ] {
        let site = Site::with(image).await;
        let refused = lab.peer.import(&site.url("/x")).await.expect_err(sentence);
        assert!(refused.contains(sentence), "{refused}");
        assert!(lab.is_empty(), "{sentence}");
    }
}

#[tokio::test]
async fn an_image_in_another_format_than_named_is_refused() {
    let (lab, site) = (Lab::new().await, Site::with(qcow2().await).await);
    for (format, sentence) in [("raw", "the image is qcow2, not raw"), ("vmtx", "\"vmtx\" is not known")] {
        let command = Download { format: Some(format.into()), ..download(&site.url("/x")) };
        let refused = lab.peer.run(command).await.unwrap_err().error;
        assert!(refused.contains(sentence), "{refused}");
    }
    assert!(lab.is_empty());
}

#[tokio::test]
async fn a_hostile_start_ends_the_import_before_the_rest_has_come() {
    let (lab, mut image) = (Lab::new().await, overlay().await);
    image.truncate(70_000);
    let fields = "content-length: 60000000\r\n";
    let site = Site::new(move |_| Reply::new("200 OK", fields, &image).then_hangs()).await;
    let started = Instant::now();
    let refused = lab.peer.import(&site.url("/x")).await.unwrap_err();
    assert!(refused.contains("backing file") && started.elapsed() < Duration::from_secs(10), "{refused}");
    assert!(lab.is_empty());
}

#[tokio::test]
async fn an_image_too_large_is_refused_by_its_length_and_without_one() {
    let lab = Lab::with(|config, _| config.max_image_size.0 = 200_000).await;
    let early = Site::new(|_| Reply::new("200 OK", "content-length: 200001\r\n", b"").then_hangs()).await;
    let late = Site::new(|_| Reply::new("200 OK", "", &noise(200_001))).await;
    for site in [early, late] {
        let refused = lab.peer.import(&site.url("/x")).await.unwrap_err();
        assert!(refused.contains("larger than 200000 bytes"), "{refused}");
        assert!(lab.is_empty());
    }
}

#[tokio::test]
async fn an_image_larger_than_the_free_space_is_refused_at_once() {
    let lab = Lab::with(|config, _| config.max_image_size.0 = u64::MAX).await;
    let fields = "content-length: 9000000000000000000\r\n";
    let site = Site::new(move |_| Reply::new("200 OK", fields, b"").then_hangs()).await;
    let refused = lab.peer.import(&site.url("/x")).await.unwrap_err();
    assert!(refused.contains("needs 9000000000000000000 more bytes"), "{refused}");
}

#[tokio::test]
async fn a_slow_import_ends_at_its_time_limit() {
    let lab = Lab::new().await;
    let site = Site::new(|_| Reply::new("200 OK", "content-length: 100\r\n", b"x").then_hangs()).await;
    let command = Download { timeout: 1, ..download(&site.url("/x")) };
    let refused = lab.peer.run(command).await.unwrap_err().error;
    assert_eq!(refused, "the import took longer than 1 s");
    assert!(lab.is_empty());
}

#[tokio::test]
async fn a_server_that_lies_about_the_length_gives_no_image() {
    let lab = Lab::new().await;
    let site = Site::new(|_| Reply::new("200 OK", "content-length: 1000\r\n", &noise(100))).await;
    let refused = lab.peer.import(&site.url("/x")).await.unwrap_err();
    assert!(refused.contains("broke off after 100 bytes"), "{refused}");
    assert_eq!(site.heads().len(), 4, "it was tried again");
    assert!(lab.is_empty());
}

/// Answers ranges of `image`, but never more than `most` bytes at once.
fn in_pieces(image: Vec<u8>, most: usize) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    move |head| {
        let range = head.split("range: bytes=").nth(1).and_then(|range| range.split('-').next());
        let from = range.map_or(0, |from| from.parse().unwrap());
        let piece = &image[from..image.len().min(from + most)];
        let length = image.len() - from;
        let fields = format!("etag: \"v1\"\r\ncontent-length: {length}\r\n");
        let last = image.len() - 1;
        match range {
            None => Reply::new("200 OK", &fields, piece),
            Some(_) => {
                let fields = format!("{fields}content-range: bytes {from}-{last}/{}\r\n", image.len());
                Reply::new("206 Partial Content", &fields, piece)
            }
        }
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_continued() {
    let (lab, image) = (Lab::new().await, noise(250_000));
    let site = Site::new(in_pieces(image.clone(), 100_000)).await;
    let found = lab.peer.import(&site.url("/x")).await.unwrap();
    assert_eq!(found.sha256, hex::encode(Sha256::digest(&image)));
    let heads = site.heads();
    assert_eq!(heads.len(), 3);
    assert!(heads[2].contains("range: bytes=200000-") && heads[2].contains("if-range: \"v1\""), "{heads:?}");
}

#[tokio::test]
async fn an_image_that_changed_between_two_attempts_is_fetched_anew() {
    let (lab, new) = (Lab::new().await, vec![9; 150_000]);
    let (old, whole) = (in_pieces(noise(250_000), 100_000), new.clone());
    let site = Site::new(move |head| match head.contains("if-range") {
        false => old(head),
        true => Reply::ok(&whole),
    })
    .await;
    let found = lab.peer.import(&site.url("/x")).await.unwrap();
    assert_eq!((found.actual_size, found.sha256), (150_000, hex::encode(Sha256::digest(&new))));
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let lab = Lab::new().await;
    for (reply, sentence) in [
        (("404 Not Found", "content-length: 0\r\n"), "answered 404 Not Found for http://127.0.0.1"),
        (("200 OK", "content-type: text/html; charset=utf-8\r\n"), "sent a web page instead of an image"),
        (("200 OK", "content-encoding: gzip\r\n"), "encoding \"gzip\" instead of an image"),
    ] {
        let site = Site::new(move |_| Reply::new(reply.0, reply.1, b"")).await;
        let refused = lab.peer.import(&site.url("/x?sig=secret")).await.unwrap_err();
        assert!(refused.contains(sentence) && !refused.contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn files_come_only_from_import_dirs() {
    let lab = Lab::with(|config, dir| {
        std::fs::create_dir(dir.join("in")).unwrap();
        config.import_dirs = vec![dir.join("in")];
    })
    .await;
    let image = noise(100_000);
    std::fs::write(lab.dir.path().join("in/disk.raw"), &image).unwrap();
    let url = |path: &str| format!("file://{}/{path}", lab.dir.path().display());
    for path in ["state/stores.json", "in/../state/stores.json"] {
        let refused = lab.peer.import(&url(path)).await.unwrap_err();
        assert!(refused.contains("import-dirs"), "{refused}");
    }
    let found = lab.peer.import(&url("in/disk.raw")).await.unwrap();
    assert_eq!(found.sha256, hex::encode(Sha256::digest(&image)));
}

#[tokio::test]
async fn an_image_is_measured_and_deleted_twice() {
    let (lab, site) = (Lab::new().await, Site::with(qcow2().await).await);
    let found = lab.peer.import(&site.url("/x")).await.unwrap();
    let size = || GetImageSize {
        uuid: STORE.into(),
        image_uuid: IMAGE.into(),
        install_path: format!("{}/images/{IMAGE}/image", lab.store().display()),
    };
    let measured = lab.peer.run(size()).await.unwrap();
    assert_eq!(measured, ImageSize { size: 32 << 20, actual_size: found.actual_size });
    for _ in 0..2 {
        lab.peer.delete().await.unwrap();
        assert!(lab.is_empty());
    }
    assert!(lab.peer.run(size()).await.unwrap_err().error.contains("is not in this store"));
    assert!(lab.peer.progress().await.unwrap_err().error.contains("neither here nor on its way"));
}

#[tokio::test]
async fn wrong_places_and_unknown_stores_are_refused() {
    let lab = Lab::new().await;
    let command = Download { install_path: "images/../../etc/image".into(), ..download("http://x/") };
    assert!(lab.peer.run(command).await.unwrap_err().error.contains("is not where image"));
    let command = Download { uuid: "ffff".into(), ..download("http://x/") };
    assert!(lab.peer.run(command).await.unwrap_err().error.contains("\"ffff\" is not connected here"));
    let pong = lab.peer.run(Ping { uuid: STORE.into() }).await.unwrap();
    assert!(pong.uuid == STORE && pong.total_capacity > Some(0));
    assert!(lab.peer.run(Ping { uuid: "ffff".into() }).await.is_err());
}
