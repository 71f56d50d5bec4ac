use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::Ports;
use crate::testing::{Client, Cloud};

/// What a service was asked.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Request>>>);

type Request = (Method, String, HeaderMap, Bytes);

async fn hear(
    State(heard): State<Heard>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    heard.0.lock().unwrap().push((method, uri.to_string(), headers, body));
    (StatusCode::IM_A_TEAPOT, axum::Json(json!({ "short": "stout" }))).into_response()
}

async fn sleep() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

async fn serve(heard: &Heard) -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let router = Router::new()
        .route("/api/slow", get(sleep))
        .route("/api/large", get(|| async { vec![0_u8; 9 << 20] }))
        .route("/api/elsewhere", get(|| async { Redirect::temporary("http://127.0.0.1:1/secret") }))
        .fallback(any(hear))
        .with_state(heard.clone());
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    address
}

impl Client {
    async fn register(&self, prefix: &str, url: &str) -> Value {
        let params = json!({ "name": "usage", "prefix": prefix, "url": url });
        self.create("/services", params).await.unwrap()
    }

    /// The status, code and body of an answer.
    async fn ask(&self, path: &str) -> (u16, String, Value) {
        let request = self.engine.http().get(format!("{}{path}", self.base));
        let answer = request.header("authorization", format!("OAuth {}", self.session)).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), body)
    }
}

#[tokio::test]
async fn a_service_is_told_who_asks_and_never_by_what_that_was_proved() {
    let (cloud, heard) = (Cloud::start(Ports::default()).await, Heard::default());
    let service = cloud.register("usage", &format!("http://{}/api/", serve(&heard).await)).await;
    let (account, tenant) = cloud.tenant("ann").await;
    let url = format!("{}/x/usage/vms/a%20b?since=1", tenant.base);
    let request = cloud.engine.http().post(url).header("authorization", format!("OAuth {}", tenant.session));
    let request = request.header("x-cumulet-admin", "true").header("cookie", &tenant.session);
    let answer = request.json(&json!({ "all": true })).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 418);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let named = answer.headers()["x-cumulet-request"].clone();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "short": "stout" }));

    let (method, uri, headers, body) = heard.0.lock().unwrap()[0].clone();
    assert_eq!((method, uri.as_str()), (Method::POST, "/api/vms/a%20b?since=1"));
    let told = |name: &str| headers[name].to_str().unwrap();
    assert_eq!((told("x-cumulet-account"), told("x-cumulet-user")), (account.as_str(), ""));
    assert_eq!((told("x-cumulet-admin"), told("x-cumulet-request")), ("false", named.to_str().unwrap()));
    let everything = format!("{headers:?}{body:?}");
    assert!(!everything.contains(&tenant.session), "{everything}");
    let lines = [
        "POST",
        &uri,
        told("x-cumulet-timestamp"),
        told("x-cumulet-request"),
        &account,
        "",
        "false",
        &hex::encode(Sha256::digest(&body)),
    ];
    let mut mac = Hmac::<Sha256>::new_from_slice(service["secret"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(lines.join("\n").as_bytes());
    assert_eq!(told("x-cumulet-signature"), format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    assert_eq!(cloud.list("/services").await[0]["secret"], Value::Null, "a secret is told once");
}

#[tokio::test]
async fn a_service_that_gives_no_answer_is_told_apart_from_one_that_is_not_there() {
    let (cloud, heard) = (Cloud::start(Ports::default()).await, Heard::default());
    cloud.register("usage", &format!("http://{}/api", serve(&heard).await)).await;
    cloud.register("gone", "http://127.0.0.1:9").await;
    let timeout = json!({ "value": "1" });
    cloud.act("/global-configurations/service/timeout/actions", "updateGlobalConfig", timeout).await.unwrap();
    for (path, status, code) in [
        ("/x/usage/slow", 504, "SVC.1003"),
        ("/x/usage/large", 502, "SVC.1002"),
        ("/x/usage/elsewhere", 502, "SVC.1002"),
        ("/x/gone/vms", 502, "SVC.1002"),
        ("/x/nobody/vms", 404, "SVC.1001"),
    ] {
        let told = cloud.ask(path).await;
        assert_eq!((told.0, told.1.as_str()), (status, code), "{path}: {}", told.2);
    }
    let nobody = Client { session: String::new(), ..cloud.clone() };
    assert_eq!(nobody.ask("/x/usage/vms").await.0, 401);
    assert!(heard.0.lock().unwrap().is_empty(), "nothing came through");
}

#[tokio::test]
async fn services_are_the_administrators_and_each_has_its_own_prefix() {
    let (cloud, heard) = (Cloud::start(Ports::default()).await, Heard::default());
    let service = cloud.register("usage", "http://127.0.0.1:9").await;
    let params = |prefix: &str| json!({ "name": "other", "prefix": prefix, "url": "http://127.0.0.1:9" });
    for (prefix, why) in [("usage", "another service"), ("Usage/../x", "lower-case letters")] {
        let refused = cloud.create("/services", params(prefix)).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    let (_, tenant) = cloud.tenant("ann").await;
    assert_eq!(tenant.create("/services", params("mine")).await.unwrap_err().status, 403);

    let path = format!("/services/{}/actions", service["uuid"].as_str().unwrap());
    let moved = json!({ "url": format!("http://{}", serve(&heard).await) });
    cloud.act(&path, "updateService", moved).await.unwrap();
    assert_eq!(tenant.ask("/x/usage").await.0, 418, "it is found where it is now");
    cloud.delete(&format!("/services/{}", service["uuid"].as_str().unwrap())).await.unwrap();
    assert_eq!(tenant.ask("/x/usage").await.1, "SVC.1001");
}
