//! A whole controller on loopback, and a client of its API, for tests of resources.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use engine::Engine;
use engine::module::Module;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::agent::{Agent, Machine, Routes};
use wire::tls::Live;

use crate::config::{AgentsMode, Config, Ports};
use crate::{Controller, Extra};

/// Longer than anything here takes, on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller with a database of its own, and the administrator's session.
pub struct Cloud {
    /// Where agents report.
    pub agents: SocketAddr,
    admin: Client,
    _stop: DropGuard,
    _dir: TempDir,
}

/// Somebody who calls the API.
#[derive(Clone)]
pub struct Client {
    pub engine: Engine,
    pub base: String,
    /// Empty: nobody.
    pub session: String,
}

/// The administrator calls when nobody else is named.
impl std::ops::Deref for Cloud {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.admin
    }
}

/// What the API answered instead of what was wanted.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub details: String,
}

impl Cloud {
    /// One whose agents listen on `ports`, in the plain.
    pub async fn start(ports: Ports) -> Cloud {
        Cloud::with(Config { ports, agents: AgentsMode::Plain, ..Config::default() }, Vec::new()).await
    }

    /// One whose agents prove who they are.
    pub async fn certified(ports: Ports) -> Cloud {
        Cloud::with(Config { ports, ..Config::default() }, Vec::new()).await
    }

    /// One with modules of others.
    pub async fn extended(plugins: Vec<Module>) -> Cloud {
        Cloud::with(Config { agents: AgentsMode::Plain, ..Config::default() }, plugins).await
    }

    /// One that believes a proxy beside it.
    pub async fn behind_proxy() -> Cloud {
        let (agents, trusted_proxies) = (AgentsMode::Plain, vec![[127, 0, 0, 1].into()]);
        Cloud::with(Config { agents, trusted_proxies, ..Config::default() }, Vec::new()).await
    }

    async fn with(config: Config, plugins: Vec<Module>) -> Cloud {
        let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state_dir: dir.path().to_owned(),
            agents_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin_password: Some("secret".into()),
            ..config
        };
        let extra = Extra { plugins, ..Extra::default() };
        let controller = Controller::start_with(config, stop.clone(), extra).await.unwrap();
        let base = format!("http://{}/zstack/v1", controller.address);
        let nobody = Client { engine: controller.engine, base, session: String::new() };
        Cloud {
            agents: controller.agents,
            admin: nobody.login("admin", "secret").await.unwrap(),
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    /// Makes an account of this name, whose password is the name too, and logs in.
    pub async fn tenant(&self, name: &str) -> (String, Client) {
        let account = json!({ "name": name, "password": sha512(name) });
        let made = self.create("/accounts", account).await.unwrap();
        (made["uuid"].as_str().unwrap().to_owned(), self.login(name, name).await.unwrap())
    }
}

/// What clients send for a password.
pub fn sha512(password: &str) -> String {
    hex::encode(Sha512::digest(password))
}

impl Client {
    /// Logs in by an account's name and password.
    pub async fn login(&self, name: &str, password: &str) -> Result<Client, Refused> {
        let login = json!({ "logInByAccount": { "accountName": name, "password": sha512(password) } });
        self.open("/accounts/login", login).await
    }

    /// Logs in by a user's.
    pub async fn login_user(&self, account: &str, name: &str, password: &str) -> Result<Client, Refused> {
        let login = json!({ "logInByUser": {
            "accountName": account, "userName": name, "password": sha512(password),
        }});
        self.open("/accounts/users/login", login).await
    }

    async fn open(&self, path: &str, login: Value) -> Result<Client, Refused> {
        let session = self.call(Method::PUT, path, login).await?;
        let session = session["inventory"]["uuid"].as_str().unwrap().to_owned();
        Ok(Client { session, ..self.clone() })
    }

    /// Creates something: its inventory.
    pub async fn create(&self, path: &str, params: Value) -> Result<Value, Refused> {
        let mut answer = self.call(Method::POST, path, json!({ "params": params })).await?;
        Ok(answer["inventory"].take())
    }

    /// `PUT path` with one action: the inventory that it answers.
    pub async fn act(&self, path: &str, action: &str, params: Value) -> Result<Value, Refused> {
        let mut answer = self.call(Method::PUT, path, json!({ action: params })).await?;
        Ok(answer["inventory"].take())
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.call(Method::DELETE, path, Value::Null).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.call(Method::GET, path, Value::Null).await
    }

    /// The inventories of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut answer = self.get(path).await.unwrap();
        match answer["inventories"].take() {
            Value::Array(list) => list,
            other => panic!("no list at {path}: {other}"),
        }
    }

    /// A call under a job's id that the client chose: the status of its acknowledgement, and what it says.
    pub async fn begin_as(&self, job: &str, path: &str, params: Value) -> (u16, Value) {
        let request = self.engine.http().post(format!("{}{path}", self.base)).header("x-job-uuid", job);
        let request = request.header("authorization", format!("OAuth {}", self.session));
        let answer = request.json(&json!({ "params": params })).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What the message endpoint says to a message.
    pub async fn message(&self, message: Value) -> Value {
        let url = self.base.replace("/v1", "/api");
        self.engine.http().post(url).json(&message).send().await.unwrap().json().await.unwrap()
    }

    /// What it says to a ticket, as clients ask that leave the slash out.
    pub async fn result(&self, ticket: &str) -> Value {
        let url = format!("{}/result{ticket}", self.base.replace("/v1", "/api"));
        self.engine.http().get(url).send().await.unwrap().json().await.unwrap()
    }

    /// What comes bit by bit.
    pub async fn stream(&self, path: &str) -> reqwest::Response {
        let request = self.engine.http().get(format!("{}{path}", self.base));
        request.header("authorization", format!("OAuth {}", self.session)).send().await.unwrap()
    }

    /// One call to its end, also when it is a job.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, Refused> {
        self.finish(self.begin(method, path, body).await?).await
    }

    /// One call until it is acknowledged.
    pub async fn begin(&self, method: Method, path: &str, body: Value) -> Result<Value, Refused> {
        self.send(method, &format!("{}{path}", self.base), body).await.map(|(_, answer)| answer)
    }

    /// Follows what [`Cloud::begin`] answered to its end.
    pub async fn finish(&self, begun: Value) -> Result<Value, Refused> {
        let Some(location) = begun["location"].as_str() else { return Ok(begun) };
        let started = Instant::now();
        loop {
            let (status, answer) = self.send(Method::GET, location, Value::Null).await?;
            if status != 202 {
                return Ok(answer);
            }
            assert!(started.elapsed() < PATIENCE, "job {location} does not end");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn send(&self, method: Method, url: &str, body: Value) -> Result<(u16, Value), Refused> {
        let mut request = self.engine.http().request(method, url);
        if !self.session.is_empty() {
            request = request.header("authorization", format!("OAuth {}", self.session));
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        match status {
            200..300 => Ok((status, body)),
            _ => Err(Refused {
                status,
                code: body["error"]["code"].as_str().unwrap_or_default().to_owned(),
                details: body["error"]["details"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }
}

/// Waits until `what` is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "still not so: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// An agent that ends with this.
pub struct Serving {
    pub address: SocketAddr,
    stop: CancellationToken,
    served: Option<tokio::task::JoinHandle<()>>,
    _dir: TempDir,
}

/// Serves an agent at `address`.
pub async fn serve<S: Send + Sync + 'static>(address: SocketAddr, routes: Routes<S>) -> Serving {
    serve_as(None, address, routes).await
}

/// Serves an agent that goes by this identity.
pub async fn serve_as<S: Send + Sync + 'static>(
    live: Option<Live>,
    address: SocketAddr,
    routes: Routes<S>,
) -> Serving {
    let listener = TcpListener::bind(address).await.unwrap();
    let (address, dir, stop) =
        (listener.local_addr().unwrap(), tempfile::tempdir().unwrap(), CancellationToken::new());
    let agent = Agent { name: "simulated", state_dir: dir.path().to_owned(), again: false };
    let (machine, ended) = (Machine::here().unwrap(), stop.clone());
    let served =
        tokio::spawn(async move { agent.serve_on(listener, live, machine, routes, ended).await.unwrap() });
    Serving { address, stop, served: Some(served), _dir: dir }
}

impl Serving {
    /// From now on nobody answers at its address.
    pub async fn end(mut self) {
        self.stop.cancel();
        if let Some(served) = self.served.take() {
            served.await.unwrap();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}
