use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use engine::{args, codes};
use serde_json::json;
use wire::Call;
use wire::Fault;
use wire::agent::{Cx, Routes};
use wire::calls::console::{Establish, Established};
use wire::calls::vm::OpenConsole;

use crate::config::Ports;
use crate::host::simulated::Fleet;
use crate::testing::{Serving, serve};

/// The tickets that a simulated console proxy was told of.
type Told = Mutex<Vec<Establish>>;

async fn establish(cx: Cx<Told>, command: Establish) -> Result<Established, Fault> {
    let answer = Established { proxy_port: command.proxy_port, token: command.token.clone() };
    cx.lock().unwrap().push(command);
    Ok(answer)
}

async fn cloud() -> (Fleet, Arc<Told>, Serving) {
    let told = Arc::new(Told::default());
    let routes = Routes::new(Arc::clone(&told)).on(establish);
    let proxy = serve(SocketAddr::from(([127, 0, 0, 1], 0)), routes).await;
    let ports = Ports { console_proxy: proxy.address.port(), ..Ports::default() };
    (Fleet::with(1, ports).await, told, proxy)
}

#[tokio::test]
async fn a_running_vm_is_seen_by_whoever_has_the_ticket() {
    let (fleet, told, _proxy) = cloud().await;
    let vm = fleet.vm("web", &fleet.hosts[0]).await;
    let shown = fleet.cloud.create("/consoles", json!({ "vmInstanceUuid": vm })).await.unwrap();
    let token = shown["token"].as_str().unwrap();
    assert_eq!(token.len(), 64);
    let opened = fleet.world(0).consoles.lock().unwrap().remove(0);
    let established = told.lock().unwrap().remove(0);
    assert_eq!((opened.token.as_str(), opened.vm_uuid), (token, vm.to_string()));
    assert_eq!((established.token.as_str(), established.vm_uuid), (token, vm.to_string()));
    assert_eq!(
        (established.target_schema.as_str(), established.target_hostname.as_str()),
        ("ws", "127.0.0.1")
    );
    assert_eq!(established.target_port, fleet.cloud.engine.of::<Ports>().kvm_agent);
    assert_eq!(established.expired_date, opened.expires);
    assert_eq!(established.vnc_token_timeout, 600);
    assert_eq!(shown["url"], format!("http://127.0.0.1:4900/vnc.html?token={token}"));
    assert_eq!(
        (&shown["scheme"], &shown["hostname"], &shown["port"]),
        (&json!("http"), &json!("127.0.0.1"), &json!(4900))
    );

    let again = fleet.cloud.create("/consoles", json!({ "vmInstanceUuid": vm })).await.unwrap();
    assert_ne!(again["token"], token, "each request has its own");
}

#[tokio::test]
async fn a_vm_that_does_not_run_has_no_console() {
    let (fleet, told, _proxy) = cloud().await;
    let vm = fleet.vm("web", &fleet.hosts[0]).await;
    let ask = || fleet.cloud.create("/consoles", json!({ "vmInstanceUuid": vm }));
    fleet.sql("UPDATE vm_instance SET state = 'Paused' WHERE uuid = $1", args![vm]).await;
    let refused = ask().await.unwrap_err();
    assert!(refused.details.contains("vm \"web\" is Paused"), "{}", refused.details);
    fleet.sql("UPDATE vm_instance SET state = 'Stopped', host_uuid = NULL WHERE uuid = $1", args![vm]).await;
    let refused = ask().await.unwrap_err();
    assert_eq!(refused.code, codes::STATE.0);
    assert!(refused.details.contains("vm \"web\" is Stopped"), "{}", refused.details);

    let host = fleet.hosts[0].clone();
    fleet
        .sql(
            "UPDATE vm_instance SET state = 'Running', host_uuid = $2 WHERE uuid = $1",
            args![vm, host.clone()],
        )
        .await;
    fleet.sql("UPDATE host SET status = 'Disconnected' WHERE uuid = $1", args![host]).await;
    let refused = ask().await.unwrap_err();
    assert!(refused.details.contains("host \"hv1\" is Disconnected"), "{}", refused.details);

    let nobody = json!({ "vmInstanceUuid": "0".repeat(32) });
    let refused = fleet.cloud.create("/consoles", nobody).await.unwrap_err();
    assert_eq!(refused.code, codes::NOT_FOUND.0);
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_screen_or_proxy_that_fails_is_told() {
    let (fleet, told, proxy) = cloud().await;
    let vm = fleet.vm("web", &fleet.hosts[0]).await;
    fleet.world(0).refuses(OpenConsole::PATH, "the vm has no display");
    let refused = fleet.cloud.create("/consoles", json!({ "vmInstanceUuid": vm })).await.unwrap_err();
    assert!(refused.details.contains("the vm has no display"), "{}", refused.details);
    assert!(told.lock().unwrap().is_empty(), "the front door opens last");
    fleet.world(0).obeys();
    proxy.end().await;
    let refused = fleet.cloud.create("/consoles", json!({ "vmInstanceUuid": vm })).await.unwrap_err();
    assert_eq!(refused.code, codes::IO.0);
    assert!(refused.details.contains("the console proxy"), "{}", refused.details);
}
