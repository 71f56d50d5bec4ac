//! What a guest finds out about itself before anybody can log in: its name, keys, user data, addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use crate::site::Site;

/// Of nobody: their private halves were never kept.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a@example.org";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAswVXqfxOkOM1h9osfsETZbgKXK7xQ5XoOozfIXPGGG b@example.org";
const SCRIPT: &str = "#!/bin/sh\necho secret >/root/done\n";

impl Site {
    async fn key(&self, name: &str, key: &str) -> String {
        let made = self.api.create("/ssh-key-pair", json!({ "name": name, "publicKey": key })).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn vm_told(&self, keys: Value, tags: Value) -> Value {
        let mut params = self.vm("web");
        params["sshKeyPairUuids"] = keys;
        params["hostUuid"] = json!(self.hosts[0]);
        let body = json!({ "params": params, "systemTags": tags });
        let begun = self.begin(Method::POST, "/vm-instances", body).await;
        self.end(&begun).await.unwrap()["inventory"].take()
    }

    async fn act_on(&self, vm: &str, action: &str, params: Value) {
        let path = format!("/vm-instances/{vm}/actions");
        self.api.call(Method::PUT, &path, json!({ action: params })).await.unwrap();
    }

    async fn start_again(&self, vm: &str) -> Option<Value> {
        self.act_on(vm, "stopVmInstance", json!({})).await;
        assert!(self.world().state().seeds.is_empty(), "a seed goes with its vm");
        self.act_on(vm, "startVmInstance", json!({})).await;
        self.seed(vm)
    }

    /// What stands on the VM's disc.
    fn seed(&self, vm: &str) -> Option<Value> {
        self.world().state().seeds.get(vm).map(|text| serde_json::from_str(text).unwrap())
    }
}

fn user_data() -> String {
    format!("userdata::{}", STANDARD.encode(SCRIPT))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_its_name_its_keys_and_its_user_data_by_each_start() {
    let site = Site::start().await;
    let key = site.key("laptop", KEY).await;
    let made = site.vm_told(json!([key]), json!([user_data(), "hostname::db-1"])).await;
    let vm = made["uuid"].as_str().unwrap();
    let seed = site.seed(vm).unwrap();
    assert_eq!((&seed["instanceId"], &seed["hostName"]), (&json!(vm), &json!("db-1")));
    assert_eq!((&seed["sshKeys"], &seed["userData"]), (&json!([KEY]), &json!(STANDARD.encode(SCRIPT))));
    assert_eq!(seed["nics"][0]["mac"], made["vmNics"][0]["mac"]);
    assert!(seed["nics"][0]["address"].is_null(), "DHCP serves the network: {seed}");

    // User data may be secret: it is no tag.
    let tags = site.list(&format!("/system-tags?q=resourceUuid={vm}&q=inherent=false")).await;
    assert_eq!(tags.iter().map(|tag| &tag["tag"]).collect::<Vec<_>>(), ["hostname::db-1"]);
    let said = site.api.get(&format!("/vm-instances/{vm}/user-data")).await.unwrap();
    assert_eq!(said["userData"], json!(STANDARD.encode(SCRIPT)));
    let pairs = site.list(&format!("/vm-instances/{vm}/ssh-key-pairs")).await;
    assert_eq!((pairs.len(), &pairs[0]["name"]), (1, &json!("laptop")));

    site.act_on(vm, "setVmSshKey", json!({ "SshKey": format!("{OTHER}\n") })).await;
    let said = site.api.get(&format!("/vm-instances/{vm}/ssh-keys")).await.unwrap();
    assert_eq!(said["sshKey"], OTHER);
    assert_eq!(site.start_again(vm).await.unwrap()["sshKeys"], json!([OTHER, KEY]));
    let pair = format!("/ssh-key-pair/{key}/vm-instance/{vm}");
    site.api.delete(&pair).await.unwrap();
    let refused = site.refused(Method::DELETE, &pair, Value::Null).await;
    assert!(refused.details.contains("\"laptop\" is not attached to vm \"web\""), "{refused:?}");
    site.act_on(vm, "setVmUserData", json!({ "userData": STANDARD.encode("#cloud-config\n") })).await;
    let seed = site.start_again(vm).await.unwrap();
    assert_eq!((&seed["sshKeys"], &seed["userData"]), (&json!([OTHER]), &json!("I2Nsb3VkLWNvbmZpZwo=")));

    // Nothing is left to be told but what is told to every guest.
    for path in ["ssh-keys", "user-data"] {
        site.api.delete(&format!("/vm-instances/{vm}/{path}")).await.unwrap();
    }
    assert_eq!(site.start_again(vm).await, None);
    for _twice in 0..2 {
        site.api.create(&pair, json!({})).await.unwrap();
    }
    assert!(site.start_again(vm).await.is_some());
    site.api.delete(&format!("/ssh-key-pair/{key}")).await.unwrap();
    assert_eq!(site.start_again(vm).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_dhcp_serves_a_guest_is_told_its_address() {
    let site = Site::start().await;
    let services = format!("/l3-networks/{}/network-services?service=DHCP", site.l3);
    site.api.delete(&services).await.unwrap();
    let made = site.vm_told(json!([]), json!(["cloudInit::NoCloud"])).await;
    let (vm, ip) = (made["uuid"].as_str().unwrap(), made["vmNics"][0]["ip"].as_str().unwrap());
    let seed = site.seed(vm).unwrap();
    let nic = json!({ "mac": made["vmNics"][0]["mac"], "address": format!("{ip}/24"),
        "gateway": "10.9.0.1", "dns": ["10.9.0.1"] });
    assert_eq!((&seed["nics"][0], &seed["hostName"]), (&nic, &json!("web")));
    let tag = site.list(&format!("/system-tags?q=resourceUuid={vm}&q=inherent=false")).await.remove(0);
    let path = format!("/system-tags/{}/actions", tag["uuid"].as_str().unwrap());
    let never = json!({ "updateSystemTag": { "tag": "cloudInit::None" } });
    site.api.call(Method::PUT, &path, never).await.unwrap();
    site.act_on(vm, "setVmSshKey", json!({ "sshKey": KEY })).await;
    assert_eq!(site.start_again(vm).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_guest_could_take_is_refused_and_not_repeated() {
    let site = Site::start().await;
    let large = format!("userdata::{}", STANDARD.encode(vec![b'x'; (64 << 10) + 1]));
    for (tag, why) in [
        (large.as_str(), "65537 bytes"),
        ("userdata::c2VjcmV0IQ", "base64"),
        ("sshkey::ssh-dss AAAA", "none of ssh-ed25519"),
        ("cloudInit::Ignition", "NoCloud or None"),
    ] {
        let body = json!({ "params": site.vm("web"), "systemTags": [tag] });
        let refused = site.refused(Method::POST, "/vm-instances", body).await;
        assert!(refused.details.contains(why), "{refused:?}");
        assert!(!refused.details.contains("c2VjcmV0") && refused.details.len() < 1000, "{refused:?}");
    }
    let mut params = site.vm("web");
    params["sshKeyPairUuids"] = json!(["0a".repeat(16)]);
    let refused = site.refused(Method::POST, "/vm-instances", json!({ "params": params })).await;
    assert!(refused.details.contains("there is no ssh key pair"), "{refused:?}");
    let vm = site.vm_told(json!([]), json!([])).await;
    let vm = vm["uuid"].as_str().unwrap();
    assert_eq!(site.seed(vm), None, "a vm of which nothing is said has no disc");
    let late =
        json!({ "params": { "resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": user_data() } });
    let refused = site.refused(Method::POST, "/system-tags", late).await;
    assert!(refused.details.contains("\"userdata\" steers how a VmInstance is made"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_moves_takes_its_disc_along_as_it_is() {
    let (site, other) = Site::of_two(9).await;
    let made = site.vm_told(json!([]), json!([user_data()])).await;
    let vm = made["uuid"].as_str().unwrap();
    let before = site.seed(vm).unwrap();
    site.api.delete(&format!("/vm-instances/{vm}/user-data")).await.unwrap();
    site.act_on(vm, "migrateVm", json!({})).await;
    assert!(site.world().state().seeds.is_empty());
    let there = other.world.state().seeds[vm].clone();
    assert_eq!(serde_json::from_str::<Value>(&there).unwrap(), before);
    site.api.delete(&format!("/vm-instances/{vm}")).await.unwrap();
    assert!(other.world.state().seeds.is_empty());
}
