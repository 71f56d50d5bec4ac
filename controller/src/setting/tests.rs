mod resource;

use std::time::Duration;

use serde_json::json;

use crate::backup_storage::PING_INTERVAL;
use crate::config::Ports;
use crate::testing::Cloud;

#[tokio::test]
async fn a_change_is_effective_at_once_and_an_absent_value_takes_it_back() {
    let cloud = Cloud::start(Ports::default()).await;
    let path = "/global-configurations/backupStorage/ping.interval/actions";
    assert_eq!(cloud.engine.setting(&PING_INTERVAL), Duration::from_secs(60));

    let changed = cloud.act(path, "updateGlobalConfig", json!({ "value": "7" })).await.unwrap();
    assert_eq!((&changed["value"], &changed["defaultValue"]), (&json!("7"), &json!("60")));
    assert_eq!(cloud.engine.setting(&PING_INTERVAL), Duration::from_secs(7));

    let back = cloud.act(path, "updateGlobalConfig", json!({})).await.unwrap();
    assert_eq!(back["value"], "60");
    assert_eq!(cloud.engine.setting(&PING_INTERVAL), Duration::from_secs(60));
}

#[tokio::test]
async fn what_a_setting_cannot_be_is_refused_and_changes_nothing() {
    let cloud = Cloud::start(Ports::default()).await;
    for (setting, value, why) in [
        ("backupStorage/ping.interval", "0", "\"ping.interval\" of \"backupStorage\" cannot be \"0\""),
        ("backupStorage/ping.interval", "often", "often"),
        ("image/deletionPolicy", "Never", "neither Direct nor Delay"),
        ("image/nothing", "1", "there are deletionPolicy, expungeInterval, expungePeriod"),
        ("nowhere/nothing", "1", "no such category"),
    ] {
        let path = format!("/global-configurations/{setting}/actions");
        let refused = cloud.act(&path, "updateGlobalConfig", json!({ "value": value })).await.unwrap_err();
        assert!(refused.details.contains(why), "{setting}: {}", refused.details);
    }
    for setting in cloud.list("/global-configurations").await {
        assert_eq!(setting["value"], setting["defaultValue"]);
    }
}

#[tokio::test]
async fn settings_are_found_by_every_member() {
    let cloud = Cloud::start(Ports::default()).await;
    let all = cloud.list("/global-configurations").await;
    assert_eq!(all.len(), cloud.engine.settings().len());
    assert!(all.iter().all(|setting| setting["description"].as_str().is_some_and(|d| !d.is_empty())));

    cloud
        .act(
            "/global-configurations/image/deletionPolicy/actions",
            "updateGlobalConfig",
            json!({ "value": "Direct" }),
        )
        .await
        .unwrap();
    let names = async |query: &str| -> Vec<String> {
        let found = cloud.list(&format!("/global-configurations?{query}")).await;
        found.iter().map(|setting| setting["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("q=category=image").await, ["deletionPolicy", "expungeInterval", "expungePeriod"]);
    assert_eq!(names("q=value=Direct").await, ["deletionPolicy"]);
    assert_eq!(names("q=category=image&q=name~=expunge&sort=-name&limit=1").await, ["expungePeriod"]);
    let counted = cloud.get("/global-configurations?q=category=image&count=true").await.unwrap();
    assert_eq!(counted["total"], 3);
}

#[tokio::test]
async fn every_default_can_be_read() {
    let cloud = Cloud::start(Ports::default()).await;
    for setting in cloud.engine.settings() {
        assert_eq!((setting.check)(setting.default), Ok(()), "{}.{}", setting.category, setting.name);
    }
}
