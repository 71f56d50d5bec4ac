//! The query API as clients speak it.

use axum::http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::config::Ports;
use crate::host::simulated::uuid;
use crate::testing::{Cloud, Refused};

/// Two zones, `north` with the clusters c0 to c6 and `south` with one.
async fn site() -> Cloud {
    let cloud = Cloud::start(Ports::default()).await;
    for (zone, clusters) in [("north", 7), ("south", 1)] {
        let zone = uuid(&cloud.create("/zones", json!({ "name": zone })).await.unwrap());
        for number in 0..clusters {
            let name = format!("c{number}");
            let params = json!({ "name": name, "zoneUuid": zone, "hypervisorType": "KVM" });
            cloud.create("/clusters", params).await.unwrap();
        }
    }
    cloud
}

fn quoted(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

async fn zql(cloud: &Cloud, text: &str) -> Result<Value, Refused> {
    Ok(cloud.get(&format!("/zql?zql={}", quoted(text))).await?["results"].take())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn paths_lead_both_ways() {
    let cloud = site().await;
    assert_eq!(cloud.list("/clusters?q=zone.name=north").await.len(), 7);
    assert_eq!(cloud.list("/zones?q=cluster.name=c3").await.len(), 1);
    assert_eq!(cloud.list("/zones?q=cluster.name=c0").await.len(), 2);
    assert_eq!(cloud.list("/clusters?q=zone.cluster.zone.name=south").await.len(), 1);
    let refused = cloud.get("/clusters?q=zoen.name=north").await.unwrap_err();
    assert!(
        refused.details.contains("paths over host, l2Network, primaryStorage, vmInstance, zone"),
        "{refused:?}"
    );
    for hostile in ["name=x' OR '1'='1", "name~=%' OR 1=1 --", "name?=a') OR ('1'='1"] {
        assert!(cloud.list(&format!("/zones?q={}", quoted(hostile))).await.is_empty(), "{hostile}");
    }
    let refused = cloud.get(&format!("/zones?q={}", quoted("uuid) OR (1=1"))).await.unwrap_err();
    assert!(refused.details.contains("there is no field"), "{refused:?}");
    let deep = "cluster.zone.".repeat(4);
    let refused = cloud.get(&format!("/zones?q={deep}name=x")).await.unwrap_err();
    assert!(refused.details.contains("more than 6 relations"), "{refused:?}");
}

#[tokio::test]
async fn pages_follow_each_other_while_rows_come_and_go() {
    let cloud = site().await;
    let first = cloud.get("/clusters?sort=-name&limit=3&q=zone.name=north").await.unwrap();
    assert_eq!(names(&first["inventories"]), ["c6", "c5", "c4"]);
    let next = first["next"].as_str().unwrap();
    // Rows before and on the place that is remembered go.
    for gone in ["c6", "c4"] {
        let found = cloud.list(&format!("/clusters?q=name={gone}")).await;
        cloud.delete(&format!("/clusters/{}", uuid(&found[0]))).await.unwrap();
    }
    let rest =
        cloud.get(&format!("/clusters?after={next}&q=zone.name=north&replyWithCount=true")).await.unwrap();
    assert_eq!(names(&rest["inventories"]), ["c3", "c2", "c1", "c0"]);
    assert_eq!((rest["next"].as_str(), rest["total"].as_i64()), (None, Some(5)));
    for (query, told) in [
        ("after=nonsense", "is not what a reply gave"),
        ("after=7b7d", "is not what a reply gave"),
        (&format!("after={next}&sort=name"), "in the order of the page before"),
        (&format!("after={next}&start=3"), "both say where to begin"),
        ("limit=10001", "between 0 and 10000"),
        ("limit=-1", "between 0 and 10000"),
        ("start=-1", "must not be negative"),
        ("filterName=x", "there is no filter"),
        ("sort=zone.name", "has no field"),
        ("groupBy=zone", "has no field"),
    ] {
        let refused = cloud.get(&format!("/clusters?{query}")).await.unwrap_err();
        assert!(refused.details.contains(told), "{query}: {refused:?}");
    }
    let refused = cloud.get(&format!("/zones?after={next}")).await.unwrap_err();
    assert!(refused.details.contains("of a list of Cluster"), "{refused:?}");
}

#[tokio::test]
async fn groups_are_shown_by_one_row_each_and_counted() {
    let cloud = site().await;
    let grouped = cloud.get("/clusters?groupBy=zoneUuid&replyWithCount=true&fields=zoneUuid").await.unwrap();
    assert_eq!((grouped["inventories"].as_array().unwrap().len(), &grouped["total"]), (2, &json!(2)));
    assert_eq!(grouped["inventories"][0].as_object().unwrap().len(), 1);
    let counted = cloud.get("/clusters?groupBy=name&count=true&q=zone.name=north").await.unwrap();
    assert_eq!(counted, json!({ "total": 7 }));
}

#[tokio::test]
async fn zql_asks_several_things_at_once() {
    let cloud = site().await;
    let text = "query cluster.name where zone.name='north' and (name in ('c1','c2') or name like 'C3') \
                order by name desc return with (total) named as 'some'; count Zone; \
                query zone where uuid in (query cluster.zoneUuid where name='c5'); \
                query distinct(cluster.hypervisorType) named as 'kinds'";
    // "return with" stands before "order by" in ZStack's grammar.
    assert!(zql(&cloud, text).await.unwrap_err().details.contains("return with"));
    let text =
        text.replace("order by name desc return with (total)", "return with (total) order by name desc");
    let results = zql(&cloud, &text).await.unwrap();
    let some = json!({ "total": 3, "inventories": [{ "name": "c3" }, { "name": "c2" }, { "name": "c1" }], "name": "some" });
    assert_eq!(results[0], some);
    assert_eq!(results[1], json!({ "total": 2 }));
    assert_eq!(names(&results[2]["inventories"]), ["north"]);
    assert_eq!(results[3]["inventories"], json!([{ "hypervisorType": "KVM" }]));
    let restricted = zql(&cloud, "count cluster restrict by (zone.name = 'south')").await.unwrap();
    assert_eq!(restricted, json!([{ "total": 1 }]));
    let batch = format!("/batch-queries?script={}", quoted("count zone named as 'zones'"));
    assert_eq!(cloud.get(&batch).await.unwrap(), json!({ "result": { "zones": { "total": 2 } } }));
}

#[tokio::test]
async fn zql_sums_by_a_field() {
    let cloud = site().await;
    for (cpus, name) in [(1, "a"), (2, "a"), (4, "b")] {
        let params = json!({ "name": name, "cpuNum": cpus, "memorySize": 1 << 30 });
        cloud.create("/instance-offerings", params).await.unwrap();
    }
    let sums =
        zql(&cloud, "sum instanceoffering.cpuNum,memorySize by name order by cpuNum desc").await.unwrap();
    assert_eq!(sums[0]["inventories"], json!([["b", 4, 1 << 30], ["a", 3, 2_i64 << 30]]));
}

#[tokio::test]
async fn what_zql_cannot_ask_is_refused_by_name() {
    let cloud = site().await;
    for (text, told) in [
        ("query nothing", "there is no entity \"nothing\""),
        ("query zone.nothing", "has no field \"nothing\""),
        ("query zone where nothing = '1'", "there is no field \"nothing\""),
        ("query zone where uuid in (query cluster.createDate)", "of another kind"),
        ("query zone return with (zwatch{a{b}})", "there is only total"),
        ("query zone filter by x{}", "there are no filters"),
        ("sum zone.name by uuid", "is no number"),
        ("query zone where name = 'x' OR", "from \"OR\" on"),
    ] {
        let refused = zql(&cloud, text).await.unwrap_err();
        assert!(refused.details.contains(told), "{text}: {refused:?}");
    }
    let groovy = format!("/batch-queries?script={}", quoted("put('a', query('zone'))"));
    assert!(cloud.get(&groovy).await.unwrap_err().details.contains("not Groovy"));
    let refused = cloud.call(Method::GET, "/zql", Value::Null).await.unwrap_err();
    assert!(refused.details.contains("zql"), "{refused:?}");
}
