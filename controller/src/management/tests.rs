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
