//! A controller with the plugin that `docs/plugins.md` writes, built as its reader would: in a crate outside the
//! workspace.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cumulet_tests::lab::program::command;
use fleet::{Host, Place, State};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wire::Call;
use wire::calls::vm;

use crate::gre::calls::{CreateBridge, SetTunnel};
use crate::gre_agent::{NO_DAEMON, routes, tunnels};
use crate::site::Site;

/// Built once for all tests.
static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();

fn example() -> PathBuf {
    cumulet_tests::workspace().join("docs/examples/l2-plugin")
}

/// With the libraries that the workspace has been built with, where cargo can take them from it.
fn build() -> PathBuf {
    let target = cumulet_tests::target();
    let dir = target.join("l2-plugin");
    copy(&example(), &dir, &cumulet_tests::workspace());
    std::fs::copy(cumulet_tests::workspace().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    let profile = profile(&dir);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut build = command(&cargo, ["build", "--offline", "--quiet", "--config"]);
    build.arg(profile).arg("--target-dir").arg(&target).current_dir(&dir).stdout(Stdio::null());
    assert!(build.status().unwrap().success(), "the example of docs/plugins.md does not build");
    target.join("debug/gre-controller")
}

/// The crate as it stands there, at another place: its paths to the tree are made absolute.
fn copy(from: &Path, to: &Path, tree: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            true => copy(&path, &to.join(name), tree),
            false => {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.replace("\"../../..", &format!("\"{}", tree.display()));
                std::fs::write(to.join(name), text).unwrap();
            }
        }
    }
}

/// The workspace's profiles, for what is built otherwise is built again.
fn profile(dir: &Path) -> PathBuf {
    let manifest = std::fs::read_to_string(cumulet_tests::workspace().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut profile = manifest["profile"].clone();
    // Not in the plugin's graph.
    profile["dev"]["package"].as_table_mut().unwrap().remove("model");
    let path = dir.join("profile.toml");
    let profile = toml::Table::from_iter([("profile".to_owned(), profile)]);
    std::fs::write(&path, toml::to_string(&profile).unwrap()).unwrap();
    path
}

async fn start() -> Site {
    let build = || async { tokio::task::spawn_blocking(build).await.unwrap() };
    let program = PROGRAM.get_or_init(build).await.clone();
    Site::of(program, Host::start_also(Place::default(), routes).await.unwrap()).await
}

async fn add_l3(site: &Site, l2: &str) -> String {
    let l3 = site.api.create("/l3-networks", json!({ "name": "far", "l2NetworkUuid": l2 })).await.unwrap();
    let l3 = l3["uuid"].as_str().unwrap().to_owned();
    let range = json!({ "name": "range", "startIp": "10.8.0.10", "endIp": "10.8.0.40",
        "netmask": "255.255.255.0", "gateway": "10.8.0.1" });
    site.api.create(&format!("/l3-networks/{l3}/ip-ranges"), range).await.unwrap();
    l3
}

fn running(state: &State) -> Vec<&str> {
    state.domains.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_type_of_another_crate_is_one_like_any_other() {
    let site = start().await;
    let types = site.api.get("/l2-networks/types").await.unwrap();
    assert!(types["types"].as_array().unwrap().contains(&json!("L2GreNetwork")), "{types}");
    let document = format!("{}/openapi.json", site.api.base().trim_end_matches("/zstack/v1"));
    let document =
        cumulet_tests::http::Client::default().get(&document, Duration::from_secs(10)).await.unwrap();
    let document = document.json().unwrap();
    assert!(document["paths"]["/l2-networks/gre"]["post"].is_object(), "the document does not know the call");
    let params = json!({ "name": "far", "zoneUuid": site.zone, "physicalInterface": "eth2", "key": 77 });
    let l2 = site.api.create("/l2-networks/gre", params).await.unwrap();
    assert_eq!((&l2["type"], &l2["virtualNetworkId"]), (&json!("L2GreNetwork"), &json!(77)));
    let l2 = l2["uuid"].as_str().unwrap();
    let attached = format!("/l2-networks/{l2}/clusters/{}", site.cluster);
    site.api.call(Method::POST, &attached, Value::Null).await.unwrap();
    assert_eq!(site.world().count(CreateBridge::PATH), 1);
    assert_eq!(site.world().state().bridges.get("br_gre77").map(String::as_str), Some(l2));

    let mut vm = site.vm("far");
    vm["l3NetworkUuids"] = json!([add_l3(&site, l2).await]);
    let vm = site.api.create("/vm-instances", vm).await.unwrap();
    let state = site.world().state();
    assert_eq!(running(&state), [vm["uuid"].as_str().unwrap()]);
    assert_eq!(tunnels(&state).collect::<Vec<_>>(), running(&state));
    site.api.delete(&attached).await.unwrap();
    let state = site.world().state();
    assert!(!state.bridges.contains_key("br_gre77"), "{state:?}");
    assert_eq!(tunnels(&state).count(), 0, "the VM was stopped before, and its tunnel went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_prepared_before_a_vm_is_created_and_taken_back_if_that_fails() {
    let site = start().await;
    site.world().refuse(vm::Start::PATH, "no room for guests");
    let refused = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
    assert!(refused.details.contains("no room for guests"), "{refused}");
    assert_eq!(tunnels(&site.world().state()).count(), 0);
    let done = site.world().carried_out();
    let tunnels_set = done.iter().filter(|path| *path == SetTunnel::PATH).count();
    assert_eq!(tunnels_set, 2, "one was there, and was taken back: {done:?}");

    site.world().obey();
    site.world().refuse(SetTunnel::PATH, "no free key");
    let refused = site.refused(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await;
    assert!(refused.details.contains("no free key"), "{refused}");
    assert_eq!(site.world().count(vm::Start::PATH), 0, "a plugin's step stops what comes after it");
    site.world().obey();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_daemon_is_refused_with_the_plugins_error() {
    let site = start().await;
    site.world().meddle(|state| {
        state.others.insert(NO_DAEMON.into());
    });
    let host = &site.hosts[0];
    let path = format!("/hosts/{host}/actions");
    let refused = site.refused(Method::PUT, &path, json!({ "reconnectHost": {} })).await;
    assert_eq!(refused.code, "GRE.1001", "{refused}");
    assert!(refused.details.contains("does not run on host \"hv1\""), "{refused}");
    assert_eq!(site.list("/hosts").await[0]["status"], "Disconnected");

    site.world().meddle(|state| {
        state.others.remove(NO_DAEMON);
    });
    site.api.call(Method::PUT, &path, json!({ "reconnectHost": {} })).await.unwrap();
    let points = site.list("/extension-points").await;
    let connecting = points.iter().find(|point| point["name"] == "host connecting").unwrap();
    let names: Vec<_> = connecting["observers"].as_array().unwrap().iter().map(|o| &o["name"]).collect();
    assert_eq!(names, ["gre daemon", "l2 networks", "primary storages", "l3 networks"]);
    assert_eq!(connecting["mayVeto"], json!(true));
}
