//! The console in a real browser: headless Chromium, told what to do by WebDriver.

use std::time::Duration;

use cumulet_tests::cloud::Cloud;
use cumulet_tests::http::Client;
use cumulet_tests::lab::Daemon;
use cumulet_tests::lab::program::command;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cloud::cloud;

const DRIVER: &str = "http://127.0.0.1:9515";
const PATIENCE: Duration = Duration::from_secs(60);

/// Without what would ask hosts outside.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1024,800",
];

/// How many of the screen's points are lit, in thousandths; -1 while there is no screen.
const LIT: &str = "const c = document.querySelector('#screen canvas'); \
     if (!c || !c.width) return -1; \
     const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let lit = 0; \
     for (let i = 0; i < d.length; i += 4) if (d[i] + d[i + 1] + d[i + 2] > 300) lit++; \
     return Math.round(4000 * lit / d.length);";

struct Browser {
    client: Client,
    session: String,
    _driver: Daemon,
}

impl Browser {
    async fn start(cloud: &Cloud) -> Browser {
        let driver = command("chromedriver", ["--port=9515"]);
        let driver = cloud.beside_the_controller("chromedriver", driver).unwrap();
        let client = cloud.client();
        let started = Instant::now();
        while client.get(&format!("{DRIVER}/status"), PATIENCE).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "{}", driver.last_words(20));
            sleep(Duration::from_millis(100)).await;
        }
        let profile = format!("--user-data-dir={}", cloud.dir().join("chromium").display());
        let flags: Vec<_> = FLAGS.iter().map(|flag| (*flag).to_owned()).chain([profile]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": flags } } } });
        let mut browser = Browser { client, session: String::new(), _driver: driver };
        let made = browser.tell(Method::POST, "/session", wanted).await;
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    async fn tell(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{DRIVER}{}{path}", self.session);
        let headers = [("content-type", "application/json".to_owned())];
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let mut answer =
            self.client.send(method, &url, &headers, body, PATIENCE).await.unwrap().json().unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }

    async fn open(&self, url: &str) {
        self.tell(Method::POST, "/url", json!({ "url": url })).await;
    }

    async fn run(&self, script: &str) -> Value {
        self.tell(Method::POST, "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until the script says what is wanted: what it says.
    async fn until(&self, what: &str, script: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let said = self.run(script).await;
            if wanted(&said) {
                return said;
            }
            assert!(started.elapsed() < PATIENCE, "{what} did not happen: {said}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn the_browser_shows_the_guests_screen_and_the_link_works_once() {
    let cloud = cloud("browser", 1).await;
    let vm = cloud.create_vm("hello").await.unwrap();
    cloud.guest_answers(&vm).await.unwrap();
    let console = cloud.console(&vm).await.unwrap();
    let browser = Browser::start(&cloud).await;
    browser.open(&console).await;
    browser.until("the connection", "return document.body.dataset.state", |state| state == "open").await;
    // A text screen: some points are lit, most are not.
    browser.until("a text on the screen", LIT, |lit| (2..500).contains(&lit.as_i64().unwrap())).await;
    let shot = browser.tell(Method::GET, "/screenshot", Value::Null).await;
    std::fs::write(cloud.dir().join("screen.png.base64"), shot.as_str().unwrap()).unwrap();
    let outside = "return performance.getEntriesByType('resource').map(r => new URL(r.name).host) \
         .filter(host => host !== location.host)";
    assert_eq!(browser.run(outside).await, json!([]), "the page asks no other host for anything");
    browser.open(&console).await;
    let used = |text: &Value| {
        text.as_str().is_some_and(|text| text.contains("Console closed") && text.contains("used"))
    };
    browser.until("the refusal", "return document.body.innerText", used).await;
    browser.tell(Method::DELETE, "", Value::Null).await;
    drop(browser);
    cloud.tear_down().await.unwrap();
}
