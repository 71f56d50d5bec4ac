//! Tags that steer: what a VM is called and which address it has, from its creation to its end.

use hyper::Method;
use serde_json::{Value, json};

use crate::site::Site;

async fn create(site: &Site, name: &str, tags: Value) -> Result<Value, String> {
    let body = json!({ "params": site.vm(name), "systemTags": tags, "userTags": ["prod"] });
    let begun = site.begin(Method::POST, "/vm-instances", body).await;
    site.end(&begun).await.map(|mut answer| answer["inventory"].take())
}

fn called(site: &Site, vm: &Value) -> Option<String> {
    site.world().state().names.get(vm["vmNics"][0]["mac"].as_str().unwrap()).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_called_and_addressed_as_its_tags_say() {
    let site = Site::start().await;
    let address = format!("staticIp::{}::10.9.0.33", site.l3);
    let vm = create(&site, "web", json!(["hostname::db-1", address])).await.unwrap();
    assert_eq!(vm["vmNics"][0]["ip"], "10.9.0.33");
    assert_eq!(called(&site, &vm).as_deref(), Some("db-1"));
    let uuid = vm["uuid"].as_str().unwrap();
    let kept = site.list(&format!("/system-tags?q=resourceUuid={uuid}&sort=tag")).await;
    assert_eq!(kept.len(), 2);
    assert_eq!(site.list("/vm-instances?q=__userTag__=prod&q=vmNics.ip=10.9.0.33").await.len(), 1);

    // The next one of this address fails, and leaves no tags.
    let failed = create(&site, "late", json!([address])).await.unwrap_err();
    assert!(failed.contains("10.9.0.33") && failed.contains("in use"), "{failed}");
    assert_eq!(site.list("/user-tags").await.len(), 1);

    // A name that changes is told at the next start.
    let path = format!("/system-tags/{}/actions", kept[0]["uuid"].as_str().unwrap());
    site.api
        .call(Method::PUT, &path, json!({ "updateSystemTag": { "tag": "hostname::db-2" } }))
        .await
        .unwrap();
    for action in ["stopVmInstance", "startVmInstance"] {
        let path = format!("/vm-instances/{uuid}/actions");
        site.api.call(Method::PUT, &path, json!({ action: {} })).await.unwrap();
    }
    assert_eq!(called(&site, &vm).as_deref(), Some("db-2"));

    site.api.delete(&format!("/vm-instances/{uuid}")).await.unwrap();
    let path = format!("/vm-instances/{uuid}/actions");
    site.api.call(Method::PUT, &path, json!({ "expungeVmInstance": {} })).await.unwrap();
    assert!(site.list("/system-tags?q=inherent=false").await.is_empty());
    assert!(site.list("/user-tags").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_cannot_be_is_refused_at_once() {
    let site = Site::start().await;
    for (tags, told) in [
        (json!(["hostnam::x"]), "is of no pattern of a VmInstance; there are hostname::{hostname}, "),
        (json!(["hostname::a", "hostname::b"]), "only one"),
        (json!([format!("staticIp::{}::10.9.0.400", site.l3)]), "no IPv4 address"),
    ] {
        let body = json!({ "params": site.vm("web"), "systemTags": tags });
        let refusal = site.refused(Method::POST, "/vm-instances", body).await;
        assert_eq!(refusal.status.as_u16(), 400, "{}", refusal.details);
        assert!(refusal.details.contains(told), "{}", refusal.details);
    }
    let elsewhere = "staticIp::ffffffffffffffffffffffffffffffff::10.9.0.33";
    assert!(create(&site, "web", json!([elsewhere])).await.unwrap_err().contains("gets no nic"));
}
