//! A service in another language beside the controller: `docs/examples/usage.py`, as it is.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use cumulet_tests::api::{Api, Refusal};
use cumulet_tests::controller::free_address;
use cumulet_tests::lab::program::command;
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::site::Site;
use crate::tenants::tenant;

/// Events tell whole seconds, and calls take a while.
const TOLERANCE: f64 = 2.5;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the tolerance: what is missed, or counted twice, shows.
const A_WHILE: Duration = Duration::from_secs(6);

/// The service's process; killed when dropped.
struct Usage {
    child: Child,
}

/// Where it lives, and what it needs.
struct Ground {
    dir: TempDir,
    address: SocketAddr,
    controller: String,
}

impl Drop for Usage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ground {
    /// Registers the service, and makes it a key.
    async fn prepare(site: &Site) -> Ground {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address().unwrap());
        let params = json!({ "name": "usage", "prefix": "metering", "url": format!("http://{address}") });
        let service = site.api.create("/services", params).await.unwrap();
        let key = site.api.create("/access-keys", json!({ "description": "usage" })).await.unwrap();
        write(dir.path(), "key.json", &key.to_string());
        write(dir.path(), "secret", service["secret"].as_str().unwrap());
        Ground { dir, address, controller: format!("http://{}", site.controller.address()) }
    }

    fn start(&self) -> Usage {
        let at = |name: &str| self.dir.path().join(name).into_os_string();
        let program = cumulet_tests::workspace().join("docs/examples/usage.py");
        let mut usage = command("python3", [program.into_os_string()]);
        usage.arg("--controller").arg(&self.controller).arg("--listen").arg(self.address.to_string());
        usage.arg("--state").arg(at("usage.db")).arg("--access-key").arg(at("key.json"));
        usage.arg("--secret-file").arg(at("secret"));
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        usage.stdout(log.try_clone().unwrap()).stderr(log);
        Usage { child: usage.spawn().unwrap() }
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

/// What the service tells of this VM, as soon as that is so.
async fn told(api: &Api, vm: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let (started, path) = (Instant::now(), format!("/x/metering/usage/{vm}"));
    loop {
        let answer = api.get(&path).await;
        let vms = answer.as_ref().map(|told| told["vms"].clone()).unwrap_or_default();
        match vms.get(0) {
            Some(found) if is_so(found) => return found.clone(),
            _ => assert!(started.elapsed() < PATIENCE, "not so: {answer:?}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn act(api: &Api, vm: &str, action: &str) {
    let path = format!("/vm-instances/{vm}/actions");
    api.call(Method::PUT, &path, json!({ action: {} })).await.unwrap();
}

async fn create(api: &Api, site: &Site, name: &str) -> String {
    let vm = api.create("/vm-instances", site.vm(name)).await.unwrap();
    vm["uuid"].as_str().unwrap().to_owned()
}

fn seconds(told: &Value) -> f64 {
    told["seconds"].as_f64().unwrap()
}

/// Runs the VM for a while; how long that was.
async fn run_on(api: &Api, vm: &str) -> f64 {
    act(api, vm, "startVmInstance").await;
    let began = Instant::now();
    sleep(A_WHILE).await;
    act(api, vm, "stopVmInstance").await;
    began.elapsed().as_secs_f64()
}

fn assert_about(told: f64, real: f64, runs: f64) {
    assert!((told - real).abs() < TOLERANCE * runs, "{told} s are told, it ran for {real} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_counts_every_second_once_whoever_is_killed() {
    let mut site = Site::start().await;
    let ground = Ground::prepare(&site).await;
    let usage = ground.start();
    let (account, blue) = tenant(&site, "blue").await;
    let (_, red) = tenant(&site, "red").await;
    let vm = create(&blue, &site, "web").await;
    let began = Instant::now();
    let first = told(&blue, &vm, |vm| vm["running"] == true).await;
    assert_eq!((&first["name"], &first["accountUuid"]), (&json!("web"), &json!(account)));
    sleep(A_WHILE).await;

    // It is killed while the VM runs, and the VM is stopped, run and stopped while it is away.
    drop(usage);
    act(&blue, &vm, "stopVmInstance").await;
    let mut real = began.elapsed().as_secs_f64();
    real += run_on(&blue, &vm).await;
    let away = blue.get("/x/metering/usage").await.unwrap_err();
    let away = away.downcast_ref::<Refusal>().unwrap().clone();
    assert_eq!((away.status.as_u16(), away.code.as_str()), (502, "SVC.1002"), "{away}");
    let _usage = ground.start();
    let caught_up =
        told(&blue, &vm, |vm| vm["running"] == false && seconds(vm) > real - 2.0 * TOLERANCE).await;
    assert_about(seconds(&caught_up), real, 2.0);

    // The controller is killed while the VM runs.
    act(&blue, &vm, "startVmInstance").await;
    let began = Instant::now();
    sleep(A_WHILE).await;
    site.controller.killer()();
    site.controller.dies().await.unwrap();
    site.controller.start().await.unwrap();
    act(&blue, &vm, "stopVmInstance").await;
    real += began.elapsed().as_secs_f64();
    let after = seconds(&caught_up) + 1.0;
    let third = told(&blue, &vm, |vm| vm["running"] == false && seconds(vm) > after).await;
    assert_about(seconds(&third), real, 3.0);

    site.api.delete(&format!("/vm-instances/{vm}")).await.unwrap();
    act(&site.api, &vm, "expungeVmInstance").await;
    let last = told(&site.api, &vm, |vm| vm["expunged"] == true).await;
    assert_eq!(last["seconds"], third["seconds"], "it did not run any more");
    let theirs = create(&red, &site, "red").await;
    told(&site.api, &theirs, |vm| vm["running"] == true).await;
    let mine = blue.get("/x/metering/usage").await.unwrap();
    assert_eq!(mine["vms"].as_array().unwrap().len(), 1, "a tenant sees its own: {mine}");
    let foreign = blue.get(&format!("/x/metering/usage/{theirs}")).await.unwrap();
    assert_eq!(foreign["vms"], json!([]));
    let all = site.api.get("/x/metering/usage").await.unwrap();
    assert_eq!((all["vms"].as_array().unwrap().len(), &all["gaps"]), (2, &json!(0)), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_nobody_who_does_not_come_by_way_of_the_controller() {
    let site = Site::start().await;
    let ground = Ground::prepare(&site).await;
    let _usage = ground.start();
    let started = Instant::now();
    while site.api.get("/x/metering/usage").await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the service does not come up");
        sleep(Duration::from_millis(100)).await;
    }
    let client = cumulet_tests::http::Client::default();
    let url = format!("http://{}/usage", ground.address);
    let plain = client.get(&url, PATIENCE).await.unwrap();
    assert_eq!(plain.status.as_u16(), 401);
    let forged = [("x-cumulet-admin", "true".to_owned()), ("x-cumulet-signature", "sha256=00".to_owned())];
    let forged = client.send(Method::GET, &url, &forged, hyper::body::Bytes::new(), PATIENCE).await.unwrap();
    assert_eq!(forged.status.as_u16(), 401);
}
