use axum::http::Method;
use serde_json::json;

use crate::config::Ports;
use crate::testing::Cloud;

#[tokio::test]
async fn a_controller_tells_about_itself() {
    let cloud = Cloud::start(Ports::default()).await;
    let nodes = cloud.list("/management-nodes").await;
    assert_eq!(nodes.len(), 1);
    let ready = cloud.get("/management-nodes/ready").await.unwrap();
    assert_eq!(ready["managementNodeId"], nodes[0]["uuid"]);
    let named = format!("/management-nodes/ready?managementNodeId={}", "0a".repeat(16));
    assert_eq!(cloud.get(&named).await.unwrap_err().code, "SYS.1003");

    let ask = async |action: &str| {
        cloud.call(Method::PUT, "/management-nodes/actions", json!({ action: {} })).await.unwrap()
    };
    assert_eq!(ask("getVersion").await["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ask("getManagementNodeArch").await["architecture"], std::env::consts::ARCH);
    let seconds = ask("getCurrentTime").await["currentTime"]["Seconds"].as_u64().unwrap();
    assert!(seconds > 1_700_000_000, "{seconds}");
    let apis = ask("getSupportAPIs").await["supportApis"].clone();
    assert!(apis.as_array().unwrap().contains(&json!("CreateZone")), "{apis}");
}

/// One message to its end: what its event or reply says.
async fn told(cloud: &Cloud, name: &str, params: serde_json::Value) -> serde_json::Value {
    let mut answer = cloud.message(json!({ format!("org.zstack.header.{name}"): params })).await;
    while answer["state"] == "Processing" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        answer = cloud.result(answer["uuid"].as_str().unwrap()).await;
    }
    let result: serde_json::Value = serde_json::from_str(answer["result"].as_str().unwrap()).unwrap();
    result.as_object().unwrap().values().next().unwrap().clone()
}

#[tokio::test]
async fn clients_that_speak_messages_are_understood() {
    let cloud = Cloud::start(Ports::default()).await;
    let password = hex::encode(<sha2::Sha512 as sha2::Digest>::digest("secret"));
    let login = json!({ "accountName": "admin", "password": password, "timeout": 15000 });
    let login = told(&cloud, "identity.APILogInByAccountMsg", login).await;
    assert_eq!(login["success"], true, "{login}");
    let session = json!({ "uuid": login["inventory"]["uuid"] });

    let params = json!({ "name": "z 1/2", "session": session, "userTags": ["mine"], "timeout": 60000 });
    let made = told(&cloud, "zone.APICreateZoneMsg", params).await;
    assert_eq!((&made["success"], &made["inventory"]["name"]), (&json!(true), &json!("z 1/2")), "{made}");
    let conditions = json!([
        { "name": "name", "op": "like", "value": "z%" },
        { "name": "__userTag__", "op": "=", "value": "mine" },
    ]);
    let params =
        json!({ "session": session, "conditions": conditions, "sortBy": "name", "sortDirection": "desc" });
    let found = told(&cloud, "zone.APIQueryZoneMsg", params).await;
    assert_eq!(found["inventories"][0]["uuid"], made["inventory"]["uuid"], "{found}");

    let zone = &made["inventory"]["uuid"];
    let params = json!({ "uuid": zone, "stateEvent": "disable", "session": session });
    let changed = told(&cloud, "zone.APIChangeZoneStateMsg", params).await;
    assert_eq!(changed["inventory"]["state"], "Disabled", "{changed}");
    let params = json!({ "uuid": zone, "deleteMode": "Permissive", "session": session });
    assert_eq!(told(&cloud, "zone.APIDeleteZoneMsg", params.clone()).await["success"], true);
    let again = told(&cloud, "zone.APIDeleteZoneMsg", params).await;
    assert_eq!((&again["success"], &again["error"]["code"]), (&json!(false), &json!("SYS.1003")), "{again}");
    let nobody = told(&cloud, "zone.APICreateZoneMsg", json!({ "name": "z" })).await;
    assert_eq!(nobody["error"]["code"], "ID.1001", "{nobody}");
    let unknown = told(&cloud, "eip.APICreateEipMsg", json!({ "session": session })).await;
    assert_eq!(unknown["success"], false, "{unknown}");
}

#[tokio::test]
async fn a_call_that_is_sent_twice_makes_one_thing() {
    let cloud = Cloud::start(Ports::default()).await;
    let (job, zone) = ("0b".repeat(16), "0c0c0c0c0c0c4c0c8c0c0c0c0c0c0c0c");
    let params = json!({ "name": "z", "resourceUuid": zone });
    let (status, begun) = cloud.begin_as(&job, "/zones", params.clone()).await;
    assert_eq!(status, 202);
    for _ in 0..2 {
        let (status, told) = cloud.begin_as(&job, "/zones", params.clone()).await;
        let details = told["error"]["details"].as_str().unwrap();
        assert!(status == 400 && details.contains(&format!("there is a job {job} already")), "{told}");
        cloud.finish(begun.clone()).await.unwrap();
    }
    assert_eq!(cloud.list("/zones").await.len(), 1);
}
