use serde_json::json;

use crate::config::Ports;
use crate::testing::Cloud;

/// Of nobody: its private half was never kept.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example.org";

#[tokio::test]
async fn a_key_is_kept_for_its_owner_alone() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("t").await;
    let params = json!({ "name": "mine", "publicKey": format!("{KEY}\n") });
    let made = tenant.create("/ssh-key-pair", params).await.unwrap();
    assert_eq!(made["publicKey"], KEY);
    let path = format!("/ssh-key-pair/{}", made["uuid"].as_str().unwrap());
    let named = tenant.act(&format!("{path}/actions"), "updateSshKeyPair", json!({ "name": "laptop" })).await;
    assert_eq!(named.unwrap()["name"], "laptop");
    let (_, other) = cloud.tenant("other").await;
    assert!(other.list("/ssh-key-pair").await.is_empty());
    assert_eq!(other.delete(&path).await.unwrap_err().status, 404);
    assert_eq!(tenant.list("/ssh-key-pair?q=name=laptop").await.len(), 1);
    cloud.delete(&format!("/accounts/{account}")).await.unwrap();
    assert!(cloud.list("/ssh-key-pair").await.is_empty());
}

#[tokio::test]
async fn what_is_no_public_key_is_refused() {
    let cloud = Cloud::start(Ports::default()).await;
    for (key, why) in [
        ("ssh-ed25519", "a type and the bits"),
        ("ssh-dss AAAA", "\"ssh-dss\" is none of"),
        ("ssh-ed25519 ????", "no base64"),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl", "no ssh-rsa key"),
        ("ssh-ed25519 AAAAC3Nz\nssh-ed25519 AAAA", "one line"),
        ("ssh-ed25519 //////8=", "no ssh-ed25519 key"),
    ] {
        let params = json!({ "name": "k", "publicKey": key });
        let refused = cloud.create("/ssh-key-pair", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{key}: {}", refused.details);
    }
    assert!(cloud.list("/ssh-key-pair").await.is_empty());
}
