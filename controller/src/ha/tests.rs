use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::args;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::power::{Control, Order, POWERS};
use crate::host::simulated::Fleet;

/// A management controller whose machine takes two looks to be off.
#[derive(Default)]
struct Machine {
    looks_until_off: AtomicUsize,
    told: Mutex<Vec<String>>,
}

impl Machine {
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

const ON: usize = usize::MAX;

fn may(headers: &HeaderMap) -> bool {
    // admin:secret
    headers.get("authorization").is_some_and(|value| value == "Basic YWRtaW46c2VjcmV0")
}

async fn system(State(machine): State<Arc<Machine>>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    if !may(&headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    let left = machine.looks_until_off.load(Ordering::SeqCst);
    let state = match left {
        ON => "On",
        0 => "Off",
        _ => {
            machine.looks_until_off.store(left - 1, Ordering::SeqCst);
            "PoweringOff"
        }
    };
    (StatusCode::OK, Json(json!({ "@odata.id": "/redfish/v1/Systems/1", "PowerState": state })))
}

async fn reset(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let looks = match body["ResetType"].as_str() {
        Some("ForceOff" | "GracefulShutdown") => 2,
        Some("On") => ON,
        _ => return StatusCode::BAD_REQUEST,
    };
    if !may(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    machine.told.lock().unwrap().push(body["ResetType"].as_str().unwrap().to_owned());
    machine.looks_until_off.store(looks, Ordering::SeqCst);
    StatusCode::NO_CONTENT
}

/// A machine that is on, and where its controller listens.
async fn machine() -> (Arc<Machine>, String) {
    let machine = Arc::new(Machine { looks_until_off: ON.into(), ..Machine::default() });
    let app = Router::new()
        .route("/redfish/v1/Systems/1", get(system))
        .route("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", post(reset))
        .with_state(Arc::clone(&machine));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/redfish/v1/Systems/1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (machine, url)
}

#[tokio::test]
async fn redfish_is_believed_when_it_says_off() {
    let (_, url) = machine().await;
    let (kind, username) = ("Redfish".to_owned(), "admin".to_owned());
    let mut control = Control { kind, url, username, password: "secret".into(), authority: None };
    let power = POWERS.get("Redfish").unwrap();
    assert!(!power.is_off(&control).await.unwrap());
    power.tell(&control, Order::Off).await.unwrap();
    assert!(!power.is_off(&control).await.unwrap(), "one that is on its way is not off");
    power.is_off(&control).await.unwrap();
    assert!(power.is_off(&control).await.unwrap());
    control.password = "wrong".into();
    let refused = power.is_off(&control).await.unwrap_err();
    assert!(refused.details().contains("401"), "{refused}");
}

/// Two hosts, the second of them lost with a VM that has no disk on a shared storage.
async fn lost() -> (Fleet, String, String) {
    const LOST: &str = "UPDATE host SET status = 'Disconnected' WHERE uuid = $1";
    let fleet = Fleet::start(2).await;
    let off = json!({ "updateGlobalConfig": { "value": "false" } });
    fleet.cloud.call(Method::PUT, "/global-configurations/ha/enable/actions", off).await.unwrap();
    let host = fleet.hosts[1].clone();
    let vm = fleet.vm("web", &host).await.to_string();
    fleet.sql(LOST, args![host.as_str()]).await;
    (fleet, host, vm)
}

async fn state(fleet: &Fleet, vm: &str) -> Value {
    fleet.cloud.list(&format!("/vm-instances?q=uuid={vm}")).await.remove(0)["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_switched_off_only_for_vms_that_shall_run_elsewhere() {
    let (fleet, host, vm) = lost().await;
    let (machine, url) = machine().await;
    let path = format!("/hosts/{host}/actions");
    let refused = fleet.cloud.act(&path, "giveUpHost", json!({})).await.unwrap_err();
    assert!(refused.code == "HA.1001" && refused.details.contains("nobody has said by what"), "{refused:?}");
    let power = json!({ "type": "Redfish", "url": url, "username": "admin", "password": "secret" });
    let told = fleet.cloud.act(&path, "setHostPower", power).await.unwrap();
    assert!(!told.to_string().contains("secret"), "{told}");
    let refused = fleet.cloud.act(&path, "giveUpHost", json!({})).await.unwrap_err();
    assert!(refused.details.contains("without an ha level"), "{refused:?}");
    assert_eq!(machine.told(), [""; 0]);

    let level = json!({ "level": "OnHostFailure" });
    fleet.cloud.create(&format!("/vm-instances/{vm}/ha-levels"), level).await.unwrap();
    let done = fleet.cloud.act(&path, "giveUpHost", json!({})).await.unwrap();
    let told = done.get("inventory").unwrap_or(&done);
    assert_eq!((&told["state"], &told["evidence"]), (&json!("Fenced"), &json!("power")), "{done}");
    assert_eq!((machine.told(), state(&fleet, &vm).await), (vec!["ForceOff".into()], json!("Stopped")));
    let refused = fleet.cloud.act(&path, "reconnectHost", json!({})).await;
    assert!(refused.is_ok(), "its agents answer in this test: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_other_host_answers_none_is_switched_off() {
    const ALL: &str = "UPDATE host SET status = 'Disconnected'";
    let (fleet, host, vm) = lost().await;
    let (machine, url) = machine().await;
    let path = format!("/hosts/{host}/actions");
    let power = json!({ "type": "Redfish", "url": url, "username": "admin", "password": "secret" });
    fleet.cloud.act(&path, "setHostPower", power).await.unwrap();
    let level = json!({ "level": "NeverStop" });
    fleet.cloud.create(&format!("/vm-instances/{vm}/ha-levels"), level).await.unwrap();
    fleet.sql(ALL, args![]).await;
    let refused = fleet.cloud.act(&path, "giveUpHost", json!({})).await.unwrap_err();
    assert!(refused.details.contains("no other host of its zone"), "{refused:?}");
    assert_eq!((machine.told(), state(&fleet, &vm).await), (vec![], json!("Running")));
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_are_set_asked_for_and_taken_away() {
    let fleet = Fleet::start(1).await;
    let vm = fleet.vm("web", &fleet.hosts[0]).await;
    let path = format!("/vm-instances/{vm}/ha-levels");
    let refused = fleet.cloud.create(&path, json!({ "level": "Sometimes" })).await.unwrap_err();
    assert_eq!(refused.status, 400, "{refused:?}");
    let tag = json!({ "resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": "ha::Sometimes" });
    let refused = fleet.cloud.create("/system-tags", tag).await.unwrap_err();
    assert!(refused.details.contains("NeverStop or OnHostFailure"), "{refused:?}");
    fleet.cloud.create(&path, json!({ "level": "NeverStop" })).await.unwrap();
    assert_eq!(fleet.cloud.get(&path).await.unwrap()["level"], "NeverStop");
    fleet.cloud.create(&path, json!({ "level": "OnHostFailure" })).await.unwrap();
    assert_eq!(fleet.cloud.get(&path).await.unwrap()["level"], "OnHostFailure");
    fleet.cloud.delete(&path).await.unwrap();
    assert_eq!(fleet.cloud.get(&path).await.unwrap().get("level"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_switches_a_host_off_and_on_when_its_vms_have_left_it() {
    let fleet = Fleet::start(1).await;
    let host = fleet.hosts[0].clone();
    let (machine, url) = machine().await;
    let (path, power) = (format!("/hosts/{host}/actions"), format!("/hosts/power/{host}/actions"));
    let status = async || {
        let told = fleet.cloud.act(&power, "getHostPowerStatus", json!({})).await.unwrap();
        told.get("inventory").unwrap_or(&told)["ipmiPowerStatus"].clone()
    };
    assert_eq!(status().await, "POWER_ON", "it is connected");
    let refused = fleet.cloud.act(&power, "powerOnHost", json!({})).await.unwrap_err();
    assert!(refused.details.contains("nobody has said by what"), "{refused:?}");
    let control = json!({ "type": "Redfish", "url": url, "username": "admin", "password": "secret" });
    fleet.cloud.act(&path, "setHostPower", control).await.unwrap();
    for call in ["powerResetHost", "shutdownHost"] {
        let refused = fleet.cloud.act(&power, call, json!({})).await.unwrap_err();
        assert!(refused.details.contains("put it in maintenance first"), "{refused:?}");
    }
    assert_eq!(machine.told(), [""; 0]);

    fleet.cloud.act(&path, "changeHostState", json!({ "stateEvent": "maintain" })).await.unwrap();
    fleet.cloud.act(&power, "powerResetHost", json!({})).await.unwrap();
    assert_eq!(machine.told(), ["ForceOff", "On"]);
    fleet.cloud.act(&power, "shutdownHost", json!({})).await.unwrap();
    assert_eq!(machine.told().len(), 2, "a host that is connected is ended by its agent");
    fleet.cloud.act(&power, "shutdownHost", json!({ "method": "IPMI" })).await.unwrap();
    assert_eq!((machine.told()[2].as_str(), status().await), ("GracefulShutdown", json!("POWER_OFF")));
    fleet.cloud.act(&power, "powerOnHost", json!({})).await.unwrap();
    assert_eq!((machine.told()[3].as_str(), status().await), ("On", json!("POWER_ON")));
    let forced = json!({ "force": true, "method": "AGENT" });
    let refused = fleet.cloud.act(&power, "shutdownHost", forced).await.unwrap_err();
    assert!(refused.details.contains("cannot do that"), "{refused:?}");
}
