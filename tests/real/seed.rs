//! A guest that is told who it is by a disc, as cloud-init finds it: by its label.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cumulet_tests::api::text;
use cumulet_tests::cloud::{Cloud, Vm};
use cumulet_tests::http::Client;
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::cloud;

/// Of nobody: its private half was never kept.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example.org";
const SCRIPT: &str = "#!/bin/sh\necho \"first boot\" >/root/done\n";

/// What the guest has found on its disc.
async fn found(cloud: &Cloud, vm: &Vm, file: &str) -> String {
    let client = Client { network: Some(cloud.outside().clone()) };
    let url = format!("http://{}/seed/{file}", vm.ip);
    client.get(&url, Duration::from_secs(10)).await.unwrap().text()
}

async fn create(cloud: &Cloud, key: &str) -> Vm {
    let mut params = cloud.site().vm("told");
    params["sshKeyPairUuids"] = json!([key]);
    let user_data = format!("userdata::{}", STANDARD.encode(SCRIPT));
    let body = json!({ "params": params, "systemTags": [user_data, "hostname::db-1"] });
    let made = cloud.api().call(Method::POST, "/vm-instances", body).await.unwrap();
    let field = |pointer| text(&made["inventory"], pointer).unwrap().to_owned();
    Vm { uuid: field("/uuid"), name: "told".into(), ip: field("/vmNics/0/ip"), host: field("/hostUuid") }
}

async fn act(cloud: &Cloud, vm: &Vm, action: &str, params: Value) {
    let path = format!("/vm-instances/{}/actions", vm.uuid);
    cloud.api().call(Method::PUT, &path, json!({ action: params })).await.unwrap();
}

fn seeds(inventory: &[String]) -> usize {
    inventory.iter().filter(|one| one.starts_with("seed ")).count()
}

#[tokio::test]
async fn a_guest_finds_its_name_key_and_user_data_on_a_disc_that_goes_with_it() {
    let cloud = cloud("seed", 1).await;
    let key = json!({ "name": "laptop", "publicKey": KEY });
    let key = cloud.api().create("/ssh-key-pair", key).await.unwrap();
    let vm = create(&cloud, text(&key, "/uuid").unwrap()).await;
    let hello = cloud.guest_answers(&vm).await.unwrap();
    assert_eq!(hello, format!("hello from db-1 {} boots=1", vm.ip));
    let told = found(&cloud, &vm, "meta-data").await;
    let uuid = &vm.uuid;
    let wanted = format!("instance-id: \"{uuid}\"\nlocal-hostname: \"db-1\"\npublic-keys:\n  - \"{KEY}\"\n");
    assert_eq!(told, wanted);
    assert_eq!(found(&cloud, &vm, "user-data").await, SCRIPT);
    let network = found(&cloud, &vm, "network-config").await;
    assert!(network.contains("dhcp4: true") && network.contains("macaddress: \"fa:"), "{network}");
    assert_eq!(seeds(&cloud.inventory().await.unwrap()), 1);

    // Through a reboot it stays as it is; the next start makes it anew.
    let other = json!({ "userData": STANDARD.encode("#cloud-config\n") });
    act(&cloud, &vm, "setVmUserData", other).await;
    act(&cloud, &vm, "rebootVmInstance", json!({})).await;
    let hello = cloud.guest_answers(&vm).await.unwrap();
    assert!(hello.ends_with("boots=2"), "{hello}");
    assert_eq!(found(&cloud, &vm, "user-data").await, SCRIPT);
    act(&cloud, &vm, "stopVmInstance", json!({})).await;
    assert_eq!(seeds(&cloud.inventory().await.unwrap()), 0);
    act(&cloud, &vm, "startVmInstance", json!({})).await;
    cloud.guest_answers(&vm).await.unwrap();
    assert_eq!(found(&cloud, &vm, "user-data").await, "#cloud-config\n");
    let path = format!("/ssh-key-pair/{}?deleteMode=Permissive", text(&key, "/uuid").unwrap());
    cloud.api().delete(&path).await.unwrap();
    cloud.tear_down().await.unwrap();
}
