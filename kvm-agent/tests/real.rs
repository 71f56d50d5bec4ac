//! The agent on a real host: libvirtd, QEMU, a bridge, files. Guests are emulated, so that this runs
//! anywhere.

mod devices;
mod fencing;
mod guest_agent;
mod host_tools;
mod io_thread;
mod lab;
mod migration;
mod mount_point;
mod nfs;
mod security_group;

use std::fs;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lab::{AGENT, Lab, eventually, nano_disk, qemus};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};
use wire::TaskId;

const VM: &str = "0123456789abcdef0123456789abcdef";
const VM_DASHED: &str = "01234567-89ab-cdef-0123-456789abcdef";
const L2: &str = "11111111111111111111111111111111";
const NIC: &str = "22222222222222222222222222222222";
const ROOT: &str = "33333333333333333333333333333333";
const IMAGE: &str = "44444444444444444444444444444444";

fn image(lab: &Lab) -> String {
    lab.path(&format!("ps/imagecache/template/{IMAGE}/{IMAGE}.qcow2"))
}

fn root(lab: &Lab) -> String {
    lab.path(&format!("ps/rootVolumes/acct/vol-{ROOT}/{ROOT}.qcow2"))
}

fn start(lab: &Lab) -> Value {
    json!({
        "vmInstanceUuid": VM, "vmName": "hello", "memory": 64 << 20, "cpuNum": 1, "cpuSpeed": 0,
        "bootDev": ["hd"], "clock": "utc", "consoleMode": "vnc",
        "rootVolume": {
            "installPath": root(lab), "deviceType": "file", "volumeUuid": ROOT, "useVirtio": true,
            "format": "qcow2", "cacheMode": "none",
        },
        "nics": [{
            "uuid": NIC, "mac": "fa:16:3e:00:00:01", "bridgeName": "br_eth0", "nicInternalName": "vnic1.0",
            "useVirtio": true, "mtu": 1450,
        }],
    })
}

/// Connected, with a network, a storage, an image from an image store, and a volume.
async fn prepared() -> Lab {
    let lab = Lab::start().await;
    lab.net.add_veth("eth0", "wire0").await.unwrap();
    let command = json!({ "hostUuid": "host-1", "sendCommandUrl": "http://127.0.0.1:1/x", "version": "5.2" });
    let connected = lab.sync_call("/host/connect", command).await;
    assert!(connected["qemuVersion"].as_str().is_some_and(|version| version.contains('.')), "{connected}");
    lab.done("/network/l2novlan/createbridge", bridge()).await;
    lab.done("/localstorage/init", json!({ "uuid": "ps-1", "path": lab.path("ps") })).await;
    lab.done("/localstorage/imagestore/download", download(&lab).await).await;
    lab.done("/localstorage/volume/createvolumefromcache", from_cache(&lab)).await;
    lab
}

fn bridge() -> Value {
    json!({ "physicalInterfaceName": "eth0", "bridgeName": "br_eth0", "l2NetworkUuid": L2 })
}

fn from_cache(lab: &Lab) -> Value {
    json!({
        "storagePath": lab.path("ps"), "templatePathInCache": image(lab), "installUrl": root(lab),
        "volumeUuid": ROOT, "virtualSize": 4 << 20,
    })
}

async fn download(lab: &Lab) -> Value {
    let bits = nano_image(lab).await;
    let (sha256, size) = (hex::encode(Sha256::digest(&bits)), bits.len());
    let router = axum::Router::new().route("/images/x", axum::routing::get(async || bits));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/images/x", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    json!({
        "storagePath": lab.path("ps"), "primaryStorageInstallPath": image(lab), "url": url,
        "sha256": sha256, "size": size, "imageUuid": IMAGE,
    })
}

async fn nano_image(lab: &Lab) -> Vec<u8> {
    use host::qcow2::Format;
    let (raw, packed) = (lab.dir.path().join("nano.raw"), lab.dir.path().join("nano.qcow2"));
    fs::write(&raw, nano_disk()).unwrap();
    let job = host::qemu_img::Convert {
        from: &raw,
        from_format: Format::Raw,
        to: &packed,
        to_format: Format::Qcow2,
        compress: false,
    };
    host::qemu_img::convert(job, |_| {}).await.unwrap();
    fs::read(packed).unwrap()
}

async fn state(lab: &Lab) -> String {
    let told = lab.done("/vm/checkstate", json!({ "vmUuids": [VM] })).await;
    told["states"][VM].as_str().unwrap().to_owned()
}

/// How often the guest has booted, by what it wrote to its serial console.
fn boots(lab: &Lab) -> usize {
    let log = fs::read_to_string(lab.path(&format!("consoles/{VM}.log"))).unwrap_or_default();
    log.matches("MARK-READY").count()
}

async fn delete(lab: &Lab, path: &str) -> Value {
    lab.call("/localstorage/delete", json!({ "storagePath": lab.path("ps"), "path": path })).await
}

#[test]
fn a_vm_lives_on_a_real_host_and_leaves_nothing() {
    lab::alone("a_vm_lives_on_a_real_host_and_leaves_nothing", async || {
        let mut lab = prepared().await;
        let before = Instant::now();
        let started = lab.done("/vm/start", start(&lab)).await;
        println!("start: {} ms", before.elapsed().as_millis());
        assert_eq!(started["nicInfos"][0]["macAddress"], "fa:16:3e:00:00:01", "{started}");
        assert_eq!(started["virtualDeviceInfoList"][0]["resourceUuid"], ROOT, "{started}");
        eventually("the guest boots", async || boots(&lab) == 1).await;
        lab.done("/vm/start", start(&lab)).await;
        assert_eq!((boots(&lab), state(&lab).await.as_str()), (1, "Running"));

        let mut kinds: Vec<_> = lab.inventory().await.into_iter().map(|(kind, _)| kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["bridge", "domain", "image", "tap", "volume"]);
        let tap = lab.net.find("vnic1.0").await.unwrap().unwrap();
        assert_eq!((tap.mark(), tap.mtu), (Some(NIC), 1450));

        let refused = delete(&lab, &root(&lab)).await;
        assert_eq!((&refused["success"], &refused["inUse"]), (&json!(false), &json!(true)), "{refused}");

        lab.kill_agent().await;
        lab.kill_libvirtd().await;
        assert_eq!(state(&lab).await, "Running");
        lab.done("/vm/pause", json!({ "uuid": VM })).await;
        assert_eq!(state(&lab).await, "Paused");
        lab.done("/vm/resume", json!({ "uuid": VM })).await;

        lab.done("/vm/reboot", json!({ "uuid": VM, "timeout": 1, "bootDev": ["hd", "network"] })).await;
        eventually("the guest boots again", async || boots(&lab) == 2).await;
        assert_eq!(qemus(VM_DASHED).len(), 1);

        lab.done("/vm/stop", json!({ "uuid": VM, "type": "grace", "timeout": 1 })).await;
        assert_eq!((qemus(VM_DASHED).len(), state(&lab).await.as_str()), (0, "Shutdown"));
        lab.done("/vm/start", start(&lab)).await;
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
        assert_eq!(qemus(VM_DASHED).len(), 0);

        assert_eq!(delete(&lab, &image(&lab)).await["inUse"], true);
        for path in [root(&lab), image(&lab)] {
            assert_eq!(delete(&lab, &path).await["success"], true);
        }
        lab.done("/network/l2novlan/deletebridge", bridge()).await;
        assert_eq!(lab.inventory().await, []);
    });
}

#[test]
fn a_screen_is_seen_with_a_token_once_and_ends_with_its_vm() {
    lab::alone("a_screen_is_seen_with_a_token_once_and_ends_with_its_vm", async || {
        let lab = prepared().await;
        lab.done("/vm/start", start(&lab)).await;
        let port = lab.done("/vm/getvncport", json!({ "vmUuid": VM })).await;
        assert_eq!(port["port"], port["vncPort"]);
        let token = "0123456789abcdef0123456789abcdef";
        let url = format!("ws://{AGENT}/vm/console/{token}");
        let open = |expires: u64| json!({ "vmUuid": VM, "token": token, "expires": expires });
        let is_forbidden = async || match connect_async(&url).await {
            Err(Error::Http(answer)) => answer.status() == 403,
            _ => false,
        };
        assert!(is_forbidden().await);
        lab.done("/vm/console/open", open(1)).await;
        assert!(is_forbidden().await);

        lab.done("/vm/console/open", open(u64::MAX)).await;
        let (mut screen, _) = connect_async(&url).await.unwrap();
        assert!(is_forbidden().await);
        let greeting = screen.next().await.unwrap().unwrap();
        assert_eq!(greeting, Message::binary(&b"RFB 003.008\n"[..]));

        lab.done("/vm/stop", json!({ "uuid": VM, "type": "cold" })).await;
        let cut = tokio::time::timeout(Duration::from_secs(5), async {
            while let Some(Ok(message)) = screen.next().await {
                assert!(!message.is_binary(), "{message:?}");
            }
        });
        cut.await.expect("the viewer is cut off");
    });
}

#[test]
fn a_start_that_is_interrupted_by_the_agents_death_ends_with_one_vm() {
    lab::alone("a_start_that_is_interrupted_by_the_agents_death_ends_with_one_vm", async || {
        let mut lab = prepared().await;
        for delay in [0, 5, 30, 80, 150, 250, 400] {
            let task = TaskId::random().to_string();
            assert!(lab.send("/vm/start", &task, &start(&lab)).await);
            tokio::time::sleep(Duration::from_millis(delay)).await;
            lab.kill_agent().await;
            let outcome = lab.outcome(&task).await;
            assert_eq!(outcome["success"], true, "after {delay} ms: {outcome}\n{}", lab.log());
            assert_eq!(
                (qemus(VM_DASHED).len(), state(&lab).await.as_str()),
                (1, "Running"),
                "after {delay} ms"
            );
            lab.done("/vm/destroy", json!({ "uuid": VM })).await;
            assert_eq!(qemus(VM_DASHED).len(), 0, "after {delay} ms");
        }
    });
}

#[test]
fn a_vm_starts_again_right_after_its_qemu_has_died() {
    lab::alone("a_vm_starts_again_right_after_its_qemu_has_died", async || {
        let lab = prepared().await;
        lab.done("/vm/start", start(&lab)).await;
        for _ in 0..10 {
            let died = qemus(VM_DASHED);
            kill(died[0], Signal::SIGKILL).unwrap();
            while qemus(VM_DASHED) == died {}
            lab.done("/vm/start", start(&lab)).await;
            let runs = qemus(VM_DASHED);
            assert!(runs.len() == 1 && runs != died, "{runs:?} after {died:?}");
        }
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
    });
}
