//! What is cancelled stops: also a transfer that would go on for hours, in a real storage-agent.

use std::time::Duration;

use cumulet_tests::api::Refusal;
use cumulet_tests::controller::{Controller, Ports};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Sends a part of an image and then nothing more: its address, and when its client has gone.
async fn slow_site() -> (String, oneshot::Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image.raw", listener.local_addr().unwrap());
    let (tell, gone) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        // The client may be gone by then.
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n").await;
        let _ = client.write_all(&vec![7; 100_000]).await;
        // The request, and then the end.
        while client.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
        let _ = tell.send(Instant::now());
    });
    (url, gone)
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_an_image_ends_its_transfer_at_once_and_leaves_nothing() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let _stopping = stop.clone().drop_guard();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = Ports { kvm: 1, vrouter: 1, storage: listener.local_addr().unwrap().port() };
    let config = storage_agent::config::Config {
        state_dir: dir.path().join("agent"),
        allow_private: vec!["127.0.0.1/32".parse().unwrap()],
        ..Default::default()
    };
    tokio::spawn(storage_agent::serve(config, listener, None, stop));
    let program = cumulet_tests::target().join("debug/cumulet-controller");
    let mut controller = Controller::new(program, dir.path(), ports).unwrap();
    controller.start().await.unwrap();
    let api = controller.login().await.unwrap();

    let store = dir.path().join("store");
    let storage = json!({ "name": "images", "hostname": "127.0.0.1", "username": "root", "password": "x",
        "url": store });
    let storage = api.create("/backup-storage/sftp", storage).await.unwrap();
    let zone = api.create("/zones", json!({ "name": "z" })).await.unwrap();
    let uuid = |of: &Value| of["uuid"].as_str().unwrap().to_owned();
    let attach = format!("/zones/{}/backup-storage/{}", uuid(&zone), uuid(&storage));
    api.create(&attach, json!({})).await.unwrap();
    let (url, gone) = slow_site().await;
    let image = json!({ "params": { "name": "slow", "url": url, "backupStorageUuids": [storage["uuid"]],
        "format": "raw", "mediaType": "RootVolumeTemplate", "platform": "Linux" } });
    let job = api.begin(Method::POST, "/images", image).await.unwrap();
    let arrived = || std::fs::read_dir(store.join("incoming")).is_ok_and(|mut dir| dir.next().is_some());
    let patience = Instant::now() + Duration::from_secs(20);
    while !arrived() {
        assert!(Instant::now() < patience, "no transfer began");
        sleep(Duration::from_millis(20)).await;
    }

    let flows = api.get("/flows?q=state=running").await.unwrap();
    let flow = format!("/flows/{}/actions", uuid(&flows["inventories"][0]));
    let asked = Instant::now();
    let cancelled = api.call(Method::PUT, &flow, json!({ "cancelFlow": {} })).await.unwrap();
    assert_eq!(cancelled["inventory"]["state"], "undone");
    let gone = timeout(Duration::from_secs(1), gone).await.expect("the transfer goes on").unwrap();
    assert!(gone - asked < Duration::from_secs(1), "it went on for {:?}", gone - asked);
    let error = api.follow(&job).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Refusal>().unwrap().code, "SYS.2005", "{error:#}");
    assert_eq!(api.get("/images").await.unwrap()["inventories"], Value::Array(Vec::new()));
    for place in ["incoming", "images"] {
        let left: Vec<_> = std::fs::read_dir(store.join(place)).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
