use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::config::Ports;
use crate::testing::{Cloud, until};

/// One who is told; refuses while it is told to.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    refuses: bool,
    /// These are refused, counted from the first.
    refused: Vec<usize>,
    asked: usize,
    events: Vec<(String, Value)>,
}

async fn hear(State(listener): State<Listener>, headers: HeaderMap, body: String) -> StatusCode {
    let mut heard = listener.0.lock().unwrap();
    heard.asked += 1;
    if heard.refuses || heard.refused.contains(&heard.asked) {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let signature = headers["x-cumulet-signature"].to_str().unwrap().to_owned();
    heard.events.push((signature, serde_json::from_str(&body).unwrap()));
    StatusCode::NO_CONTENT
}

impl Listener {
    /// Its URL.
    async fn serve(&self) -> String {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let router = Router::new().route("/hook", post(hear)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
        url
    }

    fn refuses(&self, refuses: bool) {
        self.0.lock().unwrap().refuses = refuses;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    fn values(&self) -> Vec<Value> {
        self.0.lock().unwrap().events.iter().map(|(_, event)| event["payload"]["value"].clone()).collect()
    }
}

impl Cloud {
    async fn hook(&self, url: &str, r#type: &str) -> Value {
        let params = json!({ "name": "bill", "url": url, "type": r#type, "opaque": "mine" });
        self.create("/web-hooks", params).await.unwrap()
    }

    async fn set(&self, name: &str, value: u32) {
        let (category, name) = name.split_once('.').unwrap();
        let path = format!("/global-configurations/{category}/{name}/actions");
        self.act(&path, "updateGlobalConfig", json!({ "value": value.to_string() })).await.unwrap();
    }
}

#[tokio::test]
async fn a_web_hook_is_told_of_every_event_of_its_type_in_order_and_signed() {
    let (cloud, listener) = (Cloud::start(Ports::default()).await, Listener::default());
    cloud.set("host.ping.interval", 30).await;
    let hook = cloud.hook(&listener.serve().await, "/global-config/*").await;
    let other = Listener::default();
    cloud.hook(&other.serve().await, "/vm/created").await;
    for value in [40, 50, 60] {
        cloud.set("host.ping.interval", value).await;
    }
    until("all events came", async || listener.values().len() >= 3).await;
    assert_eq!(listener.values(), ["40", "50", "60"], "what was before it is not told");
    assert!(other.values().is_empty());

    let (signature, event) = listener.0.lock().unwrap().events[0].clone();
    assert_eq!((&event["name"], &event["opaque"]), (&json!("/global-config/updated"), &json!("mine")));
    let body = event.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(hook["secret"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(body.as_bytes());
    assert_eq!(signature, format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    let shown = &cloud.list("/web-hooks").await[0];
    assert_eq!(shown["secret"], Value::Null, "a secret is told once");
}

#[tokio::test]
async fn what_a_web_hook_does_not_take_is_tried_again_and_then_a_dead_letter() {
    let (cloud, listener) = (Cloud::start(Ports::default()).await, Listener::default());
    cloud.set("event.webHook.tries", 2).await;
    listener.refuses(true);
    cloud.hook(&listener.serve().await, "*").await;
    cloud.set("host.ping.interval", 40).await;
    until("it was tried twice", async || !cloud.list("/web-hooks/dead-letters").await.is_empty()).await;
    assert_eq!(listener.asked(), 2);
    let letter = cloud.list("/web-hooks/dead-letters").await.remove(0);
    assert!(letter["error"].as_str().unwrap().contains("500"), "{letter}");

    listener.refuses(false);
    cloud.set("host.ping.interval", 50).await;
    until("the next one came", async || listener.values() == ["50"]).await;
    let path = format!("/web-hooks/dead-letters/{}/actions", letter["uuid"].as_str().unwrap());
    cloud.call(Method::PUT, &path, json!({ "redeliverDeadLetter": {} })).await.unwrap();
    assert_eq!(listener.values(), ["50", "40"]);
    assert!(cloud.list("/web-hooks/dead-letters").await.is_empty());
}

#[tokio::test]
async fn every_event_has_all_its_tries() {
    let (cloud, listener) = (Cloud::start(Ports::default()).await, Listener::default());
    cloud.set("event.webHook.tries", 2).await;
    listener.0.lock().unwrap().refused = vec![1, 3];
    cloud.hook(&listener.serve().await, "*").await;
    for value in [40, 50] {
        cloud.set("host.ping.interval", value).await;
    }
    until("both came", async || listener.asked() >= 4).await;
    assert_eq!(listener.values(), ["40", "50"]);
    assert!(cloud.list("/web-hooks/dead-letters").await.is_empty());
}

#[tokio::test]
async fn a_web_hook_that_nothing_would_come_to_is_refused() {
    let cloud = Cloud::start(Ports::default()).await;
    for (url, r#type, why) in
        [("ftp://a/b", "/vm/created", "http or https"), ("http://a/b", "/vm/creatd", "/vm/created")]
    {
        let params = json!({ "name": "bill", "url": url, "type": r#type });
        let refused = cloud.create("/web-hooks", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    assert!(cloud.list("/web-hooks").await.is_empty());
}

/// The events of a stream until there are `count`.
async fn heard(mut stream: reqwest::Response, count: usize) -> Vec<Value> {
    let mut text = String::new();
    loop {
        let events: Vec<_> = text.split("\n\n").filter(|event| event.contains("\ndata: ")).collect();
        if events.len() >= count && text.ends_with("\n\n") {
            let data = |event: &&str| serde_json::from_str(event.split("data: ").nth(1).unwrap()).unwrap();
            return events.iter().map(data).collect();
        }
        let more = tokio::time::timeout(std::time::Duration::from_secs(60), stream.chunk()).await;
        text.push_str(std::str::from_utf8(&more.unwrap().unwrap().unwrap()).unwrap());
    }
}

#[tokio::test]
async fn a_stream_tells_what_was_and_what_comes_from_any_place_on() {
    let cloud = Cloud::start(Ports::default()).await;
    for value in [30, 40] {
        cloud.set("host.ping.interval", value).await;
    }
    let values =
        |events: &[Value]| events.iter().map(|event| event["payload"]["value"].clone()).collect::<Vec<_>>();
    let path = "/events?type=/global-config/*";
    let before = heard(cloud.stream(&format!("{path}&since=0")).await, 2).await;
    assert_eq!(values(&before), ["30", "40"]);
    let (since, from_now) = (before[0]["seq"].clone(), cloud.stream(path).await);
    cloud.set("host.ping.interval", 50).await;
    let behind = heard(cloud.stream(&format!("{path}&since={since}")).await, 2).await;
    assert_eq!(values(&behind), ["40", "50"]);
    assert_eq!(values(&heard(from_now, 1).await), ["50"]);
    assert_eq!(cloud.stream("/events?since=yesterday").await.status(), 400);
}

#[tokio::test]
async fn a_call_that_is_known_and_not_there_says_so() {
    let cloud = Cloud::start(Ports::default()).await;
    for (method, path, body) in [
        (Method::GET, "/eips", Value::Null),
        (
            Method::PUT,
            "/vm-instances/0a0a0a0a0a0a4a0a8a0a0a0a0a0a0a0a/actions",
            json!({ "setVmQxlMemory": {} }),
        ),
    ] {
        let refused = cloud.call(method, path, body).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (501, "SYS.1014"), "{path}");
    }
    assert_eq!(cloud.get("/eip").await.unwrap_err().status, 404);
}
