//! Tenants on one cloud: what an account may have, and what becomes of it when the account goes.

use cumulet_tests::api::{Api, Refusal};
use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use crate::site::Site;

/// An account that may use what the site has.
pub async fn tenant(site: &Site, name: &str) -> (String, Api) {
    let password = cumulet_tests::api::sha512(name);
    let account = site.api.create("/accounts", json!({ "name": name, "password": password })).await.unwrap();
    let account = account["uuid"].as_str().unwrap().to_owned();
    let resources = [&site.image, &site.l3, &site.offering];
    let share = json!({ "shareResource": { "resourceUuids": resources, "accountUuids": [account] } });
    site.api.call(Method::PUT, "/accounts/resources/actions", share).await.unwrap();
    (account, site.api.login_as(name, name).await.unwrap())
}

async fn limit(site: &Site, account: &str, name: &str, value: i64) {
    let quota = json!({ "updateQuota": { "identityUuid": account, "name": name, "value": value } });
    site.api.call(Method::PUT, "/accounts/quotas/actions", quota).await.unwrap();
}

async fn used(site: &Site, account: &str, name: &str) -> i64 {
    let usage = site.api.get(&format!("/accounts/quota/{account}/usages")).await.unwrap();
    let usages = usage["usages"].as_array().unwrap();
    usages.iter().find(|usage| usage["name"] == name).unwrap()["used"].as_i64().unwrap()
}

fn refusal(outcome: anyhow::Result<Value>) -> Refusal {
    outcome.unwrap_err().downcast_ref::<Refusal>().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_vms_as_the_quota_allows_come_of_many_creations_at_once() {
    let site = Site::start().await;
    let (account, blue) = tenant(&site, "blue").await;
    limit(&site, &account, "vm.totalNum", 3).await;
    let creations = (0..12).map(|n| blue.create("/vm-instances", site.vm(n)));
    let (made, refused): (Vec<_>, Vec<_>) = join_all(creations).await.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 3);
    for outcome in refused {
        let refusal = refusal(outcome);
        assert_eq!(refusal.code, "ID.1003", "{refusal}");
        assert!(
            refusal.details.contains("\"vm.totalNum\" of account \"blue\" is 3: 3 are used"),
            "{refusal}"
        );
    }
    assert_eq!(site.world().state().domains.len(), 3);
    assert_eq!(used(&site, &account, "vm.num").await, 3);
    assert_eq!(used(&site, &account, "volume.capacity").await % 3, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_for_starts_and_memory_too_and_leaves_nothing_behind() {
    let site = Site::start().await;
    let (account, blue) = tenant(&site, "blue").await;
    let vm = blue.create("/vm-instances", site.vm("one")).await.unwrap();
    let actions = format!("/vm-instances/{}/actions", vm["uuid"].as_str().unwrap());
    blue.call(Method::PUT, &actions, json!({ "stopVmInstance": {} })).await.unwrap();
    limit(&site, &account, "vm.num", 0).await;
    let start = blue.call(Method::PUT, &actions, json!({ "startVmInstance": {} })).await;
    assert!(refusal(start).details.contains("\"vm.num\""));
    limit(&site, &account, "vm.num", 20).await;
    limit(&site, &account, "vm.memorySize", 1).await;
    let start = blue.call(Method::PUT, &actions, json!({ "startVmInstance": {} })).await;
    assert!(refusal(start).details.contains("\"vm.memorySize\""));
    assert_eq!((used(&site, &account, "vm.num").await, used(&site, &account, "vm.memorySize").await), (0, 0));
    limit(&site, &account, "vm.memorySize", 1 << 40).await;
    limit(&site, &account, "volume.capacity", 1).await;
    let create = blue.create("/vm-instances", site.vm("two")).await;
    assert!(refusal(create).details.contains("\"volume.capacity\""));
    blue.call(Method::PUT, &actions, json!({ "startVmInstance": {} })).await.unwrap();
    assert_eq!(site.list("/vm-instances").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_goes_with_all_that_it_has_and_nothing_else() {
    let site = Site::start().await;
    let (account, blue) = tenant(&site, "blue").await;
    let (_, red) = tenant(&site, "red").await;
    blue.create("/vm-instances", site.vm("blue")).await.unwrap();
    let theirs = red.create("/vm-instances", site.vm("red")).await.unwrap();
    let image = json!({
        "name": "own", "url": "http://images.example.org/own.qcow2", "format": "qcow2",
        "backupStorageUuids": [site.backup_storage],
    });
    blue.create("/images", image.clone()).await.unwrap();
    limit(&site, &account, "image.num", 1).await;
    assert!(refusal(blue.create("/images", image).await).details.contains("\"image.num\""));
    assert_eq!(site.list("/images").await.len(), 2);

    site.api.delete(&format!("/accounts/{account}")).await.unwrap();
    let left = site.list("/vm-instances").await;
    assert_eq!(left.iter().map(|vm| &vm["uuid"]).collect::<Vec<_>>(), [&theirs["uuid"]]);
    assert_eq!(site.world().state().domains.len(), 1);
    assert_eq!(site.list("/images").await.len(), 1);
    assert_eq!(refusal(blue.get("/vm-instances").await).code, "ID.1001");
    assert_eq!(red.get("/vm-instances?count=true").await.unwrap()["total"], json!(1));
}
