use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::Method;
use engine::{args, codes};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use wire::tls::{Directory, Enrol, Enrolment, Http, Keeper, Live, MachineId, Peer, Renewal, Token, name};

use super::{enrolment, store};
use crate::config::Ports;
use crate::host::simulated::{World, kvm_routes};
use crate::testing::{Cloud, Refused, Serving, serve_as, until};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn cloud() -> Cloud {
    Cloud::certified(Ports::default()).await
}

async fn token(cloud: &Cloud, roles: &[&str], ttl: i64) -> Result<Token, Refused> {
    let params = json!({ "name": "t", "roles": roles, "ttl": ttl });
    let made = cloud.create("/enrolment-tokens", params).await?;
    Ok(made["token"].as_str().unwrap().parse().unwrap())
}

fn order(cloud: &Cloud, token: &Token, address: Ipv4Addr, dir: &TempDir) -> Enrol {
    Enrol {
        controller: format!("https://{}", cloud.agents),
        token: token.to_string(),
        address: Some(address.into()),
        name: Some(format!("at {address}")),
        tls_dir: Some(dir.path().join("tls")),
        again: false,
    }
}

/// A machine that has enrolled: who it is, and its directory.
async fn machine(cloud: &Cloud, roles: &[&str], address: Ipv4Addr) -> (MachineId, Keeper, TempDir) {
    let (dir, token) = (tempfile::tempdir().unwrap(), token(cloud, roles, 60).await.unwrap());
    let id = order(cloud, &token, address, &dir).run().await.unwrap();
    (id, Keeper::open(Directory::new(dir.path().join("tls"))).unwrap(), dir)
}

/// As a machine says it; the answer's error.
async fn enrol(cloud: &Cloud, token: &Token, request: &str, address: &str) -> Result<MachineId, String> {
    let asked = Enrolment {
        id: token.id.clone(),
        secret: token.secret.clone(),
        request: request.into(),
        name: "m".into(),
        address: None,
    };
    let from: IpAddr = address.parse().unwrap();
    let issued = enrolment::enrol(&cloud.engine, from, asked).await;
    issued.map(|issued| issued.machine).map_err(|error| error.details().to_owned())
}

fn request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

fn client(live: &Live) -> reqwest::Client {
    let make = || reqwest::Client::builder().no_proxy().tls_certs_only([]).dns_resolver(name::Names);
    Http::new(Some(live.clone()), make).unwrap().client()
}

async fn says(cloud: &Cloud, live: &Live, subject: &str, body: Value) -> Result<StatusCode, reqwest::Error> {
    let controller = name::of_controller(cloud.agents.ip());
    let url = format!("https://{controller}:{}/zstack/asyncrest/sendcommand", cloud.agents.port());
    let said = client(live).post(url).header("commandpath", subject).body(body.to_string()).send().await;
    said.map(|answer| answer.status())
}

#[tokio::test]
async fn a_token_enrols_one_machine_whose_key_gets_the_answer_again() {
    let (cloud, mine, other) = (cloud().await, request(), request());
    let token = token(&cloud, &["host", "storage"], 60).await.unwrap();
    let first = enrol(&cloud, &token, &mine, "10.0.0.1").await.unwrap();
    assert_eq!(enrol(&cloud, &token, &mine, "10.0.0.1").await.unwrap(), first, "the answer was lost");
    let twice = enrol(&cloud, &token, &other, "10.0.0.2").await.unwrap_err();
    assert!(twice.contains("used already"), "{twice}");
    let known = cloud.list("/machines").await;
    assert_eq!((known.len(), &known[0]["roles"]), (1, &json!("host,storage")));
    assert_eq!(known[0]["uuid"], first.to_string());
}

#[tokio::test]
async fn no_secret_of_a_token_is_kept_or_told_again() {
    let cloud = cloud().await;
    let token = token(&cloud, &["host"], 60).await.unwrap();
    let listed = cloud.list("/enrolment-tokens").await;
    assert!(!json!(listed).to_string().contains(&token.secret), "{listed:?}");
    let mut tx = cloud.engine.db().read().await.unwrap();
    let kept = store::token(&mut tx, token.id.parse().unwrap()).await.unwrap().unwrap();
    assert_ne!(kept.secret, token.secret);
    let jobs = "SELECT count(*) FROM job WHERE result LIKE '%' || $1 || '%'";
    assert_eq!(tx.number(jobs, args![&token.secret]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_token_that_is_not_good_lets_nobody_in() {
    let cloud = cloud().await;
    let short = token(&cloud, &["host"], 1).await.unwrap();
    let gone = token(&cloud, &["host"], 60).await.unwrap();
    cloud.delete(&format!("/enrolment-tokens/{}", gone.id)).await.unwrap();
    let unknown = enrol(&cloud, &gone, &request(), "10.0.0.1").await.unwrap_err();
    let good = token(&cloud, &["host"], 60).await.unwrap();
    let guessed = Token { secret: "0".repeat(64), ..good.clone() };
    assert_eq!(enrol(&cloud, &guessed, &request(), "10.0.0.1").await.unwrap_err(), unknown);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let late = enrol(&cloud, &short, &request(), "10.0.0.1").await.unwrap_err();
    assert!(late.contains("expired"), "{late}");
    let unsound = enrol(&cloud, &good, "no request", "10.0.0.1").await.unwrap_err();
    assert!(unsound.contains("request is not sound"), "{unsound}");
    assert!(cloud.list("/machines").await.is_empty());
    enrol(&cloud, &good, &request(), "10.0.0.1").await.unwrap();
    for (roles, ttl) in [(&["controller"][..], 60), (&["king"], 60), (&[], 60), (&["host"], 0)] {
        assert_eq!(token(&cloud, roles, ttl).await.unwrap_err().code, codes::INVALID_ARGUMENT.0, "{roles:?}");
    }
}

#[tokio::test]
async fn an_address_has_one_machine_until_that_is_revoked() {
    let cloud = cloud().await;
    let tokens = [token(&cloud, &["host"], 60).await.unwrap(), token(&cloud, &["host"], 60).await.unwrap()];
    let mine = request();
    let first = enrol(&cloud, &tokens[0], &mine, "10.0.0.1").await.unwrap();
    let taken = enrol(&cloud, &tokens[1], &request(), "::ffff:10.0.0.1").await.unwrap_err();
    assert!(taken.contains("revoke it first"), "{taken}");
    cloud.act(&format!("/machines/{first}/actions"), "revokeMachine", json!({})).await.unwrap();
    let second = enrol(&cloud, &tokens[1], &request(), "10.0.0.1").await.unwrap();
    assert_ne!(first, second);
    // The revoked one gets nothing more, neither by its old token nor by the certificate that it has.
    let again = enrol(&cloud, &tokens[0], &mine, "10.0.0.1").await.unwrap_err();
    assert!(again.contains("is revoked"), "{again}");
    let peer = Peer { machine: first, roles: Vec::new() };
    let renewed = enrolment::renew(&cloud.engine, &peer, Renewal { request: request() }).await.err();
    assert!(renewed.unwrap().details().contains("is revoked"));
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
    serve_as(Some(live.clone()), SocketAddr::from((ip, port)), kvm_routes(&Arc::new(World::default()))).await
}

#[tokio::test]
async fn a_host_is_the_machine_that_enrolled_and_nobody_else() {
    let [here, there, nowhere] = [41, 42, 43].map(|n| Ipv4Addr::new(127, 0, 0, n));
    let port = std::net::TcpListener::bind((here, 0)).unwrap().local_addr().unwrap().port();
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
async fn certificates_are_renewed_until_the_machine_is_revoked() {
    let cloud = cloud().await;
    let (id, mut keeper, _dir) = machine(&cloud, &["host"], Ipv4Addr::new(10, 0, 0, 1)).await;
    let (first, now) = (keeper.live().current(), SystemTime::now());
    assert!(first.left(now) > 89 * DAY && first.left(now) <= 90 * DAY);
    keeper.look(now + 61 * DAY).await.unwrap();
    let second = keeper.live().current();
    assert!(!Arc::ptr_eq(&first, &second) && second.me() == first.me());

    let (_, mut neighbour, _its) = machine(&cloud, &["host"], Ipv4Addr::new(10, 0, 0, 2)).await;
    cloud.act(&format!("/machines/{id}/actions"), "revokeMachine", json!({})).await.unwrap();
    assert!(keeper.look(now + 200 * DAY).await.is_err());
    assert!(Arc::ptr_eq(&second, &keeper.live().current()));
    neighbour.look(now).await.unwrap();
    assert!(neighbour.live().current().is_revoked(id), "its neighbours have heard");
}

#[tokio::test]
async fn every_start_has_the_same_authority() {
    let cloud = cloud().await;
    let first = token(&cloud, &["host"], 60).await.unwrap().authority;
    let again = super::open(cloud.engine.db()).await.unwrap();
    let authorities = again.current().trust().authorities.clone();
    assert_eq!(wire::tls::fingerprint(&authorities).unwrap(), first);
    until("there is one", async || authorities.matches("BEGIN CERTIFICATE").count() == 1).await;
}
