use engine::setting::Options;
use engine::{Any, Id, args};
use serde_json::{Value, json};

use crate::config::Ports;
use crate::host::simulated::Fleet;
use crate::host::{Host, MEMORY_RATIO, RESERVED_MEMORY};
use crate::testing::{Client, Cloud, Refused};
use crate::vm::allocate::{self, Demand, LEAST_VM};

const GIB: i64 = 1 << 30;
const RESERVED: &str = "kvm/reservedMemory";
const RATIO: &str = "mevoco/overProvisioning.memory";
const CPUS: &str = "host/cpu.overProvisioning.ratio";

async fn set(client: &Client, setting: &str, resource: &str, value: impl ToString) -> Result<Value, Refused> {
    let path = format!("/resource-configurations/{setting}/{resource}/actions");
    client.act(&path, "updateResourceConfig", json!({ "value": value.to_string() })).await
}

async fn unset(client: &Client, setting: &str, resource: &str) -> Result<Value, Refused> {
    client.delete(&format!("/resource-configurations/{setting}/{resource}")).await
}

async fn told(client: &Client, setting: &str, resource: &str) -> Value {
    client.get(&format!("/resource-configurations/{resource}/{setting}")).await.unwrap()
}

async fn set_all(client: &Client, setting: &str, value: &str) {
    let path = format!("/global-configurations/{setting}/actions");
    client.act(&path, "updateGlobalConfig", json!({ "value": value })).await.unwrap();
}

#[tokio::test]
async fn the_nearest_value_holds_and_goes_with_its_resource() {
    let fleet = Fleet::start(2).await;
    let (cloud, host, other) = (&fleet.cloud, fleet.hosts[0].as_str(), fleet.hosts[1].as_str());
    let held = async |host: &str| {
        let (engine, host) = (&cloud.engine, host.parse::<Id<Host>>().unwrap());
        engine.setting_for(&mut engine.db().read().await.unwrap(), &RESERVED_MEMORY, host).await.unwrap()
    };
    assert_eq!(
        told(cloud, RESERVED, host).await,
        json!({ "value": GIB.to_string(), "effectiveConfigs": [] })
    );
    set_all(cloud, RESERVED, "1").await;
    assert_eq!(held(host).await, 1);
    for (resource, value) in [(fleet.zone.as_str(), 2), (&fleet.cluster, 3), (host, 4)] {
        let shown = set(cloud, RESERVED, resource, value).await.unwrap();
        assert_eq!((&shown["resourceUuid"], &shown["value"]), (&json!(resource), &json!(value.to_string())));
        assert!(shown["description"].as_str().unwrap().contains("memory"), "{shown}");
        assert_eq!(held(host).await, value);
    }
    assert_eq!(held(other).await, 3);
    let shown = told(cloud, RESERVED, host).await;
    let values: Vec<_> =
        shown["effectiveConfigs"].as_array().unwrap().iter().map(|c| c["value"].clone()).collect();
    assert_eq!((&shown["value"], values), (&json!("4"), vec![json!("4"), json!("3"), json!("2")]));
    for (resource, value) in [(host, 3), (&fleet.cluster, 2), (&fleet.zone, 1)] {
        unset(cloud, RESERVED, resource).await.unwrap();
        assert_eq!(held(host).await, value);
    }
    assert_eq!(unset(cloud, RESERVED, host).await.unwrap_err().code, "SYS.1003");

    set(cloud, RESERVED, host, 5).await.unwrap();
    set(cloud, RESERVED, &fleet.cluster, 6).await.unwrap();
    cloud.delete(&format!("/hosts/{host}")).await.unwrap();
    let left = cloud.list("/resource-configurations").await;
    assert_eq!((left.len(), &left[0]["resourceType"]), (1, &json!("ClusterVO")));
}

#[tokio::test]
async fn what_cannot_be_set_for_a_resource_is_refused() {
    let fleet = Fleet::start(1).await;
    let (cloud, host) = (&fleet.cloud, fleet.hosts[0].as_str());
    for (setting, resource, value, why) in [
        (RESERVED, host, "-1", "not between 0"),
        (RATIO, host, "0.5", "not between 1 and 100"),
        (RATIO, host, "1.255", "two decimal places"),
        (RESERVED, &"0a".repeat(16), "1", "it is for HostVO, ClusterVO, ZoneVO"),
        ("sweep/interval", host, "1", "of the whole cloud"),
        ("sweep/nothing", host, "1", "there are consent"),
    ] {
        let refused = set(cloud, setting, resource, value).await.unwrap_err();
        assert!(refused.details.contains(why), "{setting} {value}: {}", refused.details);
    }
    let two = |last: &str| {
        json!({ "params": { "resourceConfigs": [
            { "category": "kvm", "name": "reservedMemory", "value": "7" },
            { "category": "host", "name": "ping.maxFailure", "value": last },
        ]}})
    };
    let path = format!("/resource-configurations/{host}/resource-configs/actions");
    cloud.call(axum::http::Method::POST, &path, two("0")).await.unwrap_err();
    assert!(cloud.list("/resource-configurations").await.is_empty());
    let both = cloud.call(axum::http::Method::POST, &path, two("9")).await.unwrap();
    assert_eq!(both["inventories"].as_array().unwrap().len(), 2);
    let named =
        cloud.get(&format!("/resource-configurations/{host}/host?names=ping.maxFailure")).await.unwrap();
    assert_eq!(
        (&named["configs"][0]["name"], &named["configs"][0]["value"]),
        (&json!("ping.maxFailure"), &json!("9"))
    );
    let bindable = cloud.get("/resource-configurations/bindable?category=kvm").await.unwrap();
    assert_eq!(bindable["bindableConfigs"][0]["name"], "reservedMemory");
    let (_, tenant) = cloud.tenant("t").await;
    assert_eq!(set(&tenant, RESERVED, host, 1).await.unwrap_err().status, 403);
}

/// A host of 4 CPUs and 8 GiB, and a VM without a place.
async fn site() -> (Fleet, Id<Any>) {
    const FACTS: &str = "UPDATE host SET cpu_num = 4, total_memory = $1";
    let fleet = Fleet::start(1).await;
    fleet.sql(FACTS, args![8 * GIB]).await;
    let vm = fleet.vm("vm", &fleet.hosts[0]).await;
    (fleet, vm)
}

/// Whether there is a place for so much; none is taken. Both ways to look for one must agree.
async fn fits(fleet: &Fleet, vm: Id<Any>, cpu: i64, memory: i64) -> bool {
    let mut found = Vec::new();
    for host in [None, Some(fleet.hosts[0].parse().unwrap())] {
        let demand = Demand { hypervisor: "KVM".into(), cpu, memory, host, ..Demand::default() };
        let tried = fleet.cloud.engine.db().write(move |tx| {
            Box::pin(async move {
                let place = allocate::choose(tx, &demand, LEAST_VM).await?;
                let claimed = allocate::claim(tx, vm.cast(), &demand, &place.host, &[]).await;
                crate::host::release(tx, vm).await?;
                claimed
            })
        });
        match tried.await {
            Ok(()) => found.push(true),
            Err(error) => {
                assert!(error.details().contains("left"), "{error}");
                found.push(false);
            }
        }
    }
    assert_eq!(found[0], found[1]);
    found[0]
}

#[tokio::test]
async fn hosts_lend_what_their_settings_allow() {
    let (fleet, vm) = site().await;
    let (cloud, host) = (&fleet.cloud, fleet.hosts[0].as_str());
    assert!(fits(&fleet, vm, 40, 7 * GIB).await);
    assert!(!fits(&fleet, vm, 41, GIB).await);
    assert!(!fits(&fleet, vm, 1, 7 * GIB + 1).await);

    set_all(cloud, RATIO, "2").await;
    assert!(fits(&fleet, vm, 1, 14 * GIB).await && !fits(&fleet, vm, 1, 14 * GIB + 1).await);
    set(cloud, RATIO, &fleet.cluster, "1.5").await.unwrap();
    assert!(fits(&fleet, vm, 1, 21 * GIB / 2).await && !fits(&fleet, vm, 1, 21 * GIB / 2 + 1).await);
    set(cloud, RESERVED, host, 4 * GIB).await.unwrap();
    assert!(fits(&fleet, vm, 1, 6 * GIB).await && !fits(&fleet, vm, 1, 6 * GIB + 1).await);
    set(cloud, CPUS, &fleet.zone, 1).await.unwrap();
    assert!(fits(&fleet, vm, 4, GIB).await && !fits(&fleet, vm, 5, GIB).await);
    let shown = cloud.list("/hosts").await.remove(0);
    assert_eq!((&shown["totalCpuCapacity"], &shown["totalMemoryCapacity"]), (&json!(4), &json!(8 * GIB)));

    const CLAIM: &str =
        "INSERT INTO host_claim (vm_instance_uuid, host_uuid, cpu, memory) VALUES ($1, $2, 1, $3)";
    fleet.sql(CLAIM, args![vm, host, 3 * GIB]).await;
    let shown = cloud.list("/hosts").await.remove(0);
    assert_eq!(
        (&shown["availableCpuCapacity"], &shown["availableMemoryCapacity"]),
        (&json!(3), &json!(6 * GIB))
    );
    const FREE: &str = "DELETE FROM host_claim";
    fleet.sql(FREE, args![]).await;

    for (setting, resource) in [(CPUS, fleet.zone.as_str()), (RESERVED, host), (RATIO, &fleet.cluster)] {
        unset(cloud, setting, resource).await.unwrap();
    }
    cloud
        .call(axum::http::Method::PUT, "/global-configurations/actions", json!({ "resetGlobalConfig": {} }))
        .await
        .unwrap();
    assert!(fits(&fleet, vm, 40, 7 * GIB).await && !fits(&fleet, vm, 40, 7 * GIB + 1).await);
}

#[tokio::test]
async fn a_new_host_begins_with_what_holds_for_its_cluster() {
    let mut fleet = Fleet::start(1).await;
    set(&fleet.cloud, RATIO, &fleet.cluster, "3").await.unwrap();
    fleet.cloud.delete(&format!("/hosts/{}", fleet.hosts[0])).await.unwrap();
    fleet.hosts[0] = fleet.join(0).await;
    const FACTS: &str = "UPDATE host SET cpu_num = 4, total_memory = $1";
    fleet.sql(FACTS, args![2 * GIB]).await;
    let vm = fleet.vm("vm", &fleet.hosts[0]).await;
    assert!(fits(&fleet, vm, 1, 3 * GIB).await && !fits(&fleet, vm, 1, 3 * GIB + 1).await);
}

/// The database knows the defaults by itself.
#[tokio::test]
async fn the_database_has_the_defaults_of_the_code() {
    const DEFAULTS: &str = "SELECT cpu_ratio, memory_percent, reserved_memory FROM host_default";
    let cloud = Cloud::start(Ports::default()).await;
    let engine = &cloud.engine;
    let mut tx = engine.db().read().await.unwrap();
    let kept: (i64, i64, i64) = tx.one(DEFAULTS, args![]).await.unwrap();
    let ratio = engine.setting(&crate::host::CPU_RATIO);
    assert_eq!(kept, (ratio, engine.setting(&MEMORY_RATIO), engine.setting(&RESERVED_MEMORY)));
}

#[tokio::test]
async fn it_is_remembered_who_changed_what() {
    let fleet = Fleet::start(1).await;
    let (cloud, host) = (&fleet.cloud, fleet.hosts[0].as_str());
    set_all(cloud, "image/deletionPolicy", "Direct").await;
    set_all(cloud, "image/deletionPolicy", "Direct").await;
    set(cloud, RESERVED, host, 5).await.unwrap();
    unset(cloud, RESERVED, host).await.unwrap();
    let reset = json!({ "resetGlobalConfig": {} });
    cloud.call(axum::http::Method::PUT, "/global-configurations/actions", reset).await.unwrap();
    let all = cloud.list("/global-configurations/history?sort=createDate").await;
    let mut told: Vec<_> = all
        .iter()
        .map(|change| (change["name"].clone(), change["oldValue"].clone(), change["newValue"].clone()))
        .collect();
    let text = |name: &str, old: Value, new: Value| (json!(name), old, new);
    let mut expected = vec![
        text("deletionPolicy", json!("Delay"), json!("Direct")),
        text("reservedMemory", Value::Null, json!("5")),
        text("reservedMemory", json!("5"), Value::Null),
        text("deletionPolicy", json!("Direct"), json!("Delay")),
    ];
    told.sort_by_key(|change| format!("{change:?}"));
    expected.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(told, expected);
    assert!(all.iter().all(|change| change["accountUuid"] == "36c27e8ff05c4780bf6d2fa65700f22e"));
    for setting in cloud.list("/global-configurations").await {
        assert_eq!(setting["value"], setting["defaultValue"]);
    }
}

#[tokio::test]
async fn what_a_setting_may_be_is_told_truly() {
    let cloud = Cloud::start(Ports::default()).await;
    for setting in cloud.engine.settings() {
        let takes = |text: String| (setting.check)(&text).is_ok();
        let sound = match setting.options {
            Options::Any => true,
            Options::OneOf(words) => words.iter().all(|word| takes((*word).into())) && !takes("?".into()),
            Options::Within(low, high) => {
                takes(low.to_string())
                    && takes(high.to_string())
                    && !takes((low - 1).to_string())
                    && !takes((high + 1).to_string())
            }
        };
        assert!(sound, "{}.{}", setting.category, setting.name);
    }
    let words = cloud.get("/global-configurations/image/deletionPolicy").await.unwrap();
    assert_eq!(words["options"], json!({ "validValue": ["Direct", "Delay"] }));
    let bounds = cloud.get("/global-configurations/host/ping.maxFailure").await.unwrap();
    assert_eq!(bounds["options"], json!({ "numberGreaterThanOrEqual": 1, "numberLessThanOrEqual": 100 }));
    assert_eq!(cloud.get("/global-configurations/host/nothing").await.unwrap_err().code, "SYS.1003");
}
