use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use engine::codes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use wire::heartbeat::Heart;
use wire::tls::{Live, name};

use super::ping;
use super::simulated::{World, kvm_routes};
use crate::config::Ports;
use crate::machine::simulated::{client, machine};
use crate::testing::{Cloud, Refused, Serving, serve_as, until};

async fn says(cloud: &Cloud, live: &Live, subject: &str, body: Value) -> Result<StatusCode, reqwest::Error> {
    let controller = name::of_controller(cloud.agents.ip());
    let url = format!("https://{controller}:{}/zstack/asyncrest/sendcommand", cloud.agents.port());
    let said = client(live).post(url).header("commandpath", subject).body(body.to_string()).send().await;
    said.map(|answer| answer.status())
}

/// A cluster to add hosts to.
async fn cluster(cloud: &Cloud) -> Value {
    let zone = cloud.create("/zones", json!({ "name": "z" })).await.unwrap();
    let params = json!({ "name": "c", "zoneUuid": zone["uuid"], "hypervisorType": "KVM" });
    cloud.create("/clusters", params).await.unwrap()["uuid"].clone()
}

async fn add_host(cloud: &Cloud, cluster: &Value, ip: Ipv4Addr) -> Result<Value, Refused> {
    let params = json!({ "name": ip.to_string(), "managementIp": ip.to_string(), "clusterUuid": cluster,
        "username": "root", "password": "x" });
    cloud.create("/hosts/kvm", params).await
}

async fn agent(live: &Live, ip: Ipv4Addr, port: u16) -> Serving {
    agent_of(&Arc::default(), live, ip, port).await
}

async fn agent_of(world: &Arc<World>, live: &Live, ip: Ipv4Addr, port: u16) -> Serving {
    serve_as(Some(live.clone()), SocketAddr::from((ip, port)), kvm_routes(world)).await
}

/// A port that nobody uses at this address.
fn free_port(ip: Ipv4Addr) -> u16 {
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_host_is_the_machine_that_enrolled_and_nobody_else() {
    let [here, there, nowhere] = [41, 42, 43].map(|n| Ipv4Addr::new(127, 0, 0, n));
    let port = free_port(here);
    let cloud = Cloud::certified(Ports { kvm_agent: port, ..Ports::default() }).await;
    let cluster = cluster(&cloud).await;
    let (id, one, _one) = machine(&cloud, &["host"], here).await;
    let (_, other, _other) = machine(&cloud, &["host"], there).await;
    let (_one_agent, _thief) = (agent(one.live(), here, port).await, agent(one.live(), there, port).await);

    let host = add_host(&cloud, &cluster, here).await.unwrap();
    assert_eq!((&host["status"], &host["machineUuid"]), (&json!("Connected"), &json!(id.to_string())));
    let unknown = add_host(&cloud, &cluster, nowhere).await.unwrap_err();
    assert!(unknown.details.contains("no machine is enrolled at 127.0.0.43"), "{}", unknown.details);
    // The other's address, and the other's port; but what answers there is the first machine.
    let posing = add_host(&cloud, &cluster, there).await.unwrap_err();
    assert_eq!(posing.code, codes::IO.0, "{}", posing.details);

    let of = json!({ "hostUuid": host["uuid"] });
    assert_eq!(says(&cloud, one.live(), "/kvm/reconnectme", of.clone()).await.unwrap(), 200);
    assert_eq!(says(&cloud, other.live(), "/kvm/reconnectme", of.clone()).await.unwrap(), 403);
    let at = json!({ "hostIp": here.to_string() });
    assert_eq!(says(&cloud, other.live(), "/kvm/reporthoststop", at).await.unwrap(), 403);

    // No certificate stands in for a session, and the API is not served to machines.
    let controller = format!("https://{}:{}", name::of_controller(cloud.agents.ip()), cloud.agents.port());
    let asked = client(one.live()).get(format!("{controller}/zstack/v1/hosts")).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::NOT_FOUND);
    // Nor are agents heard where people are.
    let (status, code) = {
        let refused = cloud.call(Method::POST, "/../asyncrest/sendcommand", of.clone()).await.unwrap_err();
        (refused.status, refused.code)
    };
    assert_eq!((status, code.as_str()), (404, codes::UNKNOWN_MESSAGE.0));

    cloud.act(&format!("/machines/{id}/actions"), "revokeMachine", json!({})).await.unwrap();
    assert!(says(&cloud, one.live(), "/kvm/reconnectme", of).await.is_err(), "no connection any more");
    let host = format!("/hosts/{}/actions", host["uuid"].as_str().unwrap());
    let lost = cloud.act(&host, "reconnectHost", json!({})).await.unwrap_err();
    assert!(lost.details.contains("no machine is enrolled"), "{}", lost.details);
}

#[tokio::test]
async fn a_host_that_beats_is_not_pinged_until_it_is_silent_lost_or_revoked() {
    let ip = Ipv4Addr::new(127, 0, 0, 44);
    let port = free_port(ip);
    let cloud = Cloud::certified(Ports { kvm_agent: port, ..Ports::default() }).await;
    let every = "/global-configurations/host/heartbeat.interval/actions";
    cloud.act(every, "updateGlobalConfig", json!({ "value": "1" })).await.unwrap();
    let cluster = cluster(&cloud).await;
    let (id, keeper, _dir) = machine(&cloud, &["host"], ip).await;
    let world = Arc::new(World::default());
    *world.heart.lock().unwrap() = Some(Heart::default());
    let _agent = agent_of(&world, keeper.live(), ip, port).await;
    let host = add_host(&cloud, &cluster, ip).await.unwrap();
    let uuid = host["uuid"].as_str().unwrap().parse().unwrap();
    let pings = || world.pings.load(Ordering::SeqCst);
    let pass = async || ping::pass(cloud.engine.clone()).await.unwrap();
    let heard = async || ping::beats(&cloud.engine).is_heard(uuid, Duration::from_secs(1));
    let status = async || cloud.list("/hosts").await[0]["status"].clone();

    pass().await;
    assert_eq!(pings(), 1, "its first ping tells it to beat");
    until("it is heard", heard).await;
    pass().await;
    assert_eq!(pings(), 1, "it is heard");

    *world.heart.lock().unwrap() = None;
    until("it is pinged at once", async || pings() == 2).await;
    assert!(!heard().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pings(), 2, "once, since it answers");
    pass().await;
    assert_eq!(pings(), 3, "and then as often as one that has no heart");

    *world.heart.lock().unwrap() = Some(Heart::default());
    pass().await;
    until("it is heard again", heard).await;
    let lost = cloud
        .engine
        .db()
        .write(move |tx| Box::pin(async move { super::add::set_status(tx, uuid, "Disconnected").await }));
    lost.await.unwrap();
    pass().await;
    assert_eq!((pings(), status().await), (5, json!("Connected")), "a ping brings a lost host back");

    cloud.act(&format!("/machines/{id}/actions"), "revokeMachine", json!({})).await.unwrap();
    for _ in 0..3 {
        assert!(heard().await);
        pass().await;
    }
    assert_eq!(status().await, "Disconnected", "a revoked machine is not believed");
}
