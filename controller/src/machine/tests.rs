use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::{args, codes};
use serde_json::json;
use wire::tls::{Enrolment, MachineId, Peer, Renewal, Token};

use super::simulated::{machine, token};
use super::{enrolment, store};
use crate::config::Ports;
use crate::testing::{Cloud, until};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn cloud() -> Cloud {
    Cloud::certified(Ports::default()).await
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
