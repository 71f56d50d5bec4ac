use serde_json::json;

use crate::host::simulated::Fleet;
use crate::testing::until;

#[tokio::test]
async fn who_works_on_something_and_who_waits_is_told() {
    let fleet = Fleet::start(1).await;
    let (cloud, host) = (&fleet.cloud, fleet.hosts[0].as_str());
    let path = format!("/hosts/task-details?hostUuids={host}");
    let idle = async || {
        let told = cloud.get(&path).await.unwrap();
        told["results"][host] == json!({ "runningTask": [], "pendingTask": [] })
    };
    // Who waits for a call may hear of its end before its turn is over.
    until("nobody works on the host", idle).await;

    let vm = fleet.vm("web", host).await;
    until("nobody works on the host", idle).await;
    let queues = cloud.engine.queues();
    let _host = queues.enter(host, 1, "reconnect host").await;
    let _vm = queues.enter(&vm.to_string(), 1, "stop vm").await;
    let mut waiting = Box::pin(queues.enter(host, 1, "delete host"));
    assert!(futures::FutureExt::now_or_never(waiting.as_mut()).is_none());
    let told = cloud.get(&path).await.unwrap()["results"][host].clone();
    assert_eq!(
        (&told["runningTask"][0]["name"], &told["pendingTask"][0]["name"]),
        (&json!("reconnect host"), &json!("delete host"))
    );
    let of_vm = format!("/vm-instances/task-details?vmInstanceUuids={vm}");
    let told = cloud.get(&of_vm).await.unwrap();
    assert_eq!(told["results"][vm.to_string()]["runningTask"][0]["name"], "stop vm");
    let all = cloud.get("/core/task-details").await.unwrap();
    assert_eq!(all["results"].as_object().unwrap().len(), 2, "{all}");

    let (_, tenant) = cloud.tenant("t").await;
    assert_eq!(tenant.get(&path).await.unwrap_err().status, 403);
    assert_eq!(tenant.get(&of_vm).await.unwrap_err().status, 404);
}
