//! An agent that can be killed, and a controller beside it, on real loopback HTTP.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wire::agent::{Agent, Cx, Disk, Machine, Owned, Routes};
use wire::caller::{CallError, Caller};
use wire::tls::{Live, name};
use wire::{Call, Effect, Fault, Fence, Mode, TaskId};

macro_rules! command {
    ($name:ident, $path:literal, $mode:ident, $effect:ident) => {
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            pub word: String,
            pub number: u64,
        }
        impl Call for $name {
            const PATH: &'static str = $path;
            const MODE: Mode = Mode::$mode;
            const EFFECT: Effect = Effect::$effect;
            type Reply = Reply;
        }
    };
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reply {
    pub word: String,
}

command!(Act, "/test/act", Async, Acts);
command!(Look, "/test/look", Async, Reads);
command!(Direct, "/test/direct", Sync, Acts);
command!(Floor, "/test/floor", Sync, Acts);

pub fn act(word: &str) -> Act {
    Act { word: word.into(), number: 0 }
}

/// What the operations do, and what they did. It stands for the world: it outlives the agent.
#[derive(Clone)]
pub struct World(Arc<Deeds>);

pub struct Deeds {
    begun: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    gate: Semaphore,
    gated: AtomicBool,
}

impl World {
    pub fn new() -> Self {
        let gate = Semaphore::new(0);
        let (begun, ended) = Default::default();
        World(Arc::new(Deeds { begun, ended, gate, gated: AtomicBool::new(false) }))
    }

    /// From now on operations stop inside until they are let through.
    pub fn close_gate(&self) {
        self.0.gated.store(true, Ordering::SeqCst);
    }

    pub fn let_through(&self, operations: usize) {
        self.0.gate.add_permits(operations);
    }

    pub fn open_gate(&self) {
        self.0.gated.store(false, Ordering::SeqCst);
        self.0.gate.add_permits(1000);
    }

    pub fn begun(&self) -> Vec<String> {
        self.0.begun.lock().unwrap().clone()
    }

    pub fn ended(&self) -> Vec<String> {
        self.0.ended.lock().unwrap().clone()
    }

    pub async fn wait_begun(&self, count: usize) {
        eventually("operations begin", async || self.begun().len() >= count).await;
    }

    async fn deed(&self, word: &str) -> Result<Reply, Fault> {
        self.0.begun.lock().unwrap().push(word.to_owned());
        if self.0.gated.load(Ordering::SeqCst) {
            self.0.gate.acquire().await?.forget();
        }
        match word {
            "panic" => panic!("as told"),
            "fail" => return Err(Fault::coded("NO", "as told").with("inUse", true)),
            _ => {}
        }
        self.0.ended.lock().unwrap().push(word.to_owned());
        Ok(Reply { word: word.to_uppercase() })
    }
}

/// "long" ends only when it is superseded.
async fn on_act(cx: Cx<World>, command: Act) -> Result<Reply, Fault> {
    if command.word == "long" {
        cx.0.begun.lock().unwrap().push(command.word);
        return cx.unless_superseded(std::future::pending()).await;
    }
    cx.deed(&command.word).await
}

async fn on_look(cx: Cx<World>, command: Look) -> Result<Reply, Fault> {
    cx.deed(&command.word).await
}

async fn on_direct(cx: Cx<World>, command: Direct) -> Result<Reply, Fault> {
    cx.deed(&command.word).await
}

async fn on_floor(cx: Cx<World>, command: Floor) -> Result<Reply, Fault> {
    cx.raise_floor(command.number).await?;
    Ok(Reply::default())
}

async fn on_inventory(_: Arc<World>) -> Result<Vec<Owned>, Fault> {
    Ok(vec![Owned { kind: "tap".into(), name: "tap0".into(), resource: Some("vm1".into()) }])
}

/// Where and how the journal's disk fails.
#[derive(Clone, Default)]
pub struct Faults(Arc<FaultState>);

#[derive(Default)]
struct FaultState {
    appends: AtomicUsize,
    crash: Mutex<Option<(usize, Crash)>>,
    crashed: Notify,
    fired: AtomicUsize,
    append_error: Mutex<Option<io::ErrorKind>>,
    sync_error: Mutex<Option<io::ErrorKind>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crash {
    Before,
    Torn,
    After,
}

impl Faults {
    /// The process dies at the n-th append, counted from 0.
    pub fn crash_at(append: usize, crash: Crash) -> Self {
        let faults = Faults::default();
        *faults.0.crash.lock().unwrap() = Some((append, crash));
        faults
    }

    pub fn fail_appends(&self, error: Option<io::ErrorKind>) {
        *self.0.append_error.lock().unwrap() = error;
    }

    pub fn fail_syncs(&self, error: Option<io::ErrorKind>) {
        *self.0.sync_error.lock().unwrap() = error;
    }

    pub fn fired(&self) -> usize {
        self.0.fired.load(Ordering::SeqCst)
    }

    pub fn appends(&self) -> usize {
        self.0.appends.load(Ordering::SeqCst)
    }

    pub async fn crashed(&self) {
        self.0.crashed.notified().await;
    }

    fn die(&self) -> ! {
        self.0.fired.fetch_add(1, Ordering::SeqCst);
        self.0.crashed.notify_one();
        loop {
            std::thread::park();
        }
    }

    fn raise(&self, error: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
        let Some(kind) = *error.lock().unwrap() else { return Ok(()) };
        self.0.fired.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::new(kind, "injected"))
    }
}

impl Disk for Faults {
    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let number = self.0.appends.fetch_add(1, Ordering::SeqCst);
        let crash = self.0.crash.lock().unwrap().filter(|(at, _)| *at == number).map(|(_, crash)| crash);
        match crash {
            Some(Crash::Before) => self.die(),
            Some(Crash::Torn) => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                self.die()
            }
            Some(Crash::After) => {
                file.write_all(bytes)?;
                self.die()
            }
            None => {}
        }
        if let Err(error) = self.raise(&self.0.append_error) {
            // As a full disk does: some of it arrives.
            file.write_all(&bytes[..bytes.len() / 3])?;
            return Err(error);
        }
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.raise(&self.0.sync_error)?;
        file.sync_data()
    }
}

/// How a node is started.
#[derive(Clone)]
pub struct Start {
    pub again: bool,
    pub boot_id: String,
    pub faults: Faults,
    /// Who it is; serves plainly without.
    pub live: Option<Live>,
    /// Whether the other agents of its machine may send commands.
    pub neighbours: bool,
}

impl Default for Start {
    fn default() -> Self {
        let faults = Faults::default();
        Start { again: false, boot_id: "boot-1".into(), faults, live: None, neighbours: false }
    }
}

/// An agent in a runtime of its own, as a process would be.
pub struct Node {
    pub address: SocketAddr,
    pub world: World,
    url: String,
    state: PathBuf,
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    _dir: Arc<TempDir>,
}

impl Node {
    pub async fn start() -> Self {
        Self::start_with(Start::default()).await
    }

    pub async fn start_with(start: Start) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::launch(dir.path().join("0"), dir.clone(), 0, World::new(), start).await.unwrap()
    }

    /// Dies as by SIGKILL: only what is on the disk at this moment remains. Give it to [`Dead::restart`].
    pub fn kill(mut self) -> Dead {
        let next = self.state.with_extension("next");
        fs::create_dir(&next).unwrap();
        fs::copy(self.journal(), next.join("journal")).unwrap();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        Dead { address: self.address, world: self.world.clone(), state: next, dir: self._dir.clone() }
    }

    /// Ends in good order.
    pub async fn stop(mut self) -> Dead {
        self.shutdown.cancel();
        let open = || File::open(self.state.join("lock")).unwrap().try_lock().is_ok();
        eventually("the state directory is free", async || open()).await;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let (world, state) = (self.world.clone(), self.state.clone());
        Dead { address: self.address, world, state, dir: self._dir.clone() }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// `GET /tasks/{task}`: the state and the whole body.
    pub async fn asked(&self, task: &TaskId) -> (String, Value) {
        let answer = get(&self.url(), &format!("/tasks/{task}")).await.unwrap();
        let (status, body) = status_and_body(answer).await;
        let state = body["state"].as_str().unwrap().to_owned();
        assert_eq!(status == 404, state == "unknown", "{status} {body}");
        (state, body)
    }

    pub async fn wait_state(&self, task: &TaskId, state: &str) -> Value {
        eventually(&format!("task is {state}"), async || self.asked(task).await.0 == state).await;
        self.asked(task).await.1
    }

    async fn launch(
        state: PathBuf,
        dir: Arc<TempDir>,
        port: u16,
        world: World,
        start: Start,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let shutdown = CancellationToken::new();
        let listener = bind(port).await.into_std()?;
        let address = listener.local_addr()?;
        let agent = Agent { name: "test", state_dir: state.clone(), again: start.again };
        let machine = Machine { boot_id: start.boot_id, disk: Box::new(start.faults) };
        let (theirs, token) = (world.clone(), shutdown.clone());
        let url = match &start.live {
            Some(live) => https(live, address),
            None => format!("http://{address}"),
        };
        let plain = start.live.is_none();
        let mut served = runtime.spawn(async move {
            let routes = Routes::new(Arc::new(theirs)).on(on_act).on(on_look).on(on_direct).on(on_floor);
            let routes = routes.inventory(on_inventory);
            let routes = if start.neighbours { routes.from_neighbours() } else { routes };
            agent.serve_on(TcpListener::from_std(listener)?, start.live, machine, routes, token).await
        });
        let node =
            Node { address, world, url: url.clone(), state, runtime: Some(runtime), shutdown, _dir: dir };
        tokio::select! {
            served = &mut served => served.unwrap().map(|()| unreachable!("it serves until it is told")),
            () = answers(&url), if plain => Ok(node),
            () = std::future::ready(()), if !plain => Ok(node),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What remains of a node.
pub struct Dead {
    address: SocketAddr,
    pub world: World,
    state: PathBuf,
    pub dir: Arc<TempDir>,
}

impl Dead {
    pub async fn restart(self) -> Node {
        self.restart_with(Start::default()).await.unwrap()
    }

    pub async fn restart_with(self, start: Start) -> io::Result<Node> {
        Node::launch(self.state, self.dir, self.address.port(), self.world, start).await
    }

    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }
}

/// Where a peer that goes by `live` is reached.
pub fn https(live: &Live, address: SocketAddr) -> String {
    let machine = live.current().me().machine;
    format!("https://{}:{}", name::of_machine(machine, address.ip()), address.port())
}

pub async fn bind(port: u16) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn answers(url: &str) {
    while get(url, "/inventory").await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// A caller whose callbacks arrive.
pub struct Controller {
    pub caller: Caller,
    pub callback: String,
}

impl Controller {
    pub async fn start() -> Self {
        let listener = bind(0).await;
        let callback = format!("http://{}/asyncrest/callback", listener.local_addr().unwrap());
        let caller = Caller::new(&callback);
        let router = caller.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Controller { caller, callback }
    }

    pub async fn act(&self, node: &str, task: &TaskId, word: &str) -> Result<Reply, CallError> {
        self.caller.call(node, task, None, soon(), &act(word)).await
    }

    pub async fn fenced(&self, node: &str, fence: &Fence, word: &str) -> Result<Reply, CallError> {
        self.caller.call(node, &TaskId::random(), Some(fence), soon(), &act(word)).await
    }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub fn fence(resource: &str, generation: u64, epoch: u64) -> Fence {
    Fence { resource: resource.into(), generation, epoch, deadline: None }
}

pub fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

pub async fn get(node: &str, path: &str) -> reqwest::Result<Response> {
    client().get(format!("{node}{path}")).send().await
}

fn client() -> Client {
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// Sends a command as any HTTP client would, with these headers.
pub async fn post(node: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut request = client().post(format!("{node}{path}")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Sends `Act` without waiting for its outcome.
pub async fn send_act(
    node: &str,
    task: &TaskId,
    fence: Option<&Fence>,
    callback: &str,
    word: &str,
) -> Response {
    let fence = fence.map(|f| {
        let deadline = f.deadline.map(|d| d.to_string());
        (f.resource.clone(), f.generation.to_string(), f.epoch.to_string(), deadline)
    });
    let mut headers = vec![("taskuuid", task.as_str()), ("callbackurl", callback)];
    if let Some((resource, generation, epoch, deadline)) = &fence {
        headers.extend([("x-cumulet-resource", &**resource), ("x-cumulet-generation", generation)]);
        headers.push(("x-cumulet-epoch", epoch));
        headers.extend(deadline.iter().map(|d| ("x-cumulet-deadline", d.as_str())));
    }
    post(node, "/test/act", &headers, &format!(r#"{{"word":"{word}"}}"#)).await
}

/// Sends these words for one resource.
pub async fn send_in_line(node: &Node, callback: &str, words: &[&str]) {
    for word in words {
        let answer =
            send_act(&node.url(), &TaskId::random(), Some(&fence("vm1", 1, 1)), callback, word).await;
        assert_ok(&answer);
    }
}

pub async fn status_and_body(answer: Response) -> (u16, Value) {
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub fn assert_ok(answer: &Response) {
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Waits until it is so; fails when it is not so for long.
pub async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !so().await {
            sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within 10 s: {what}");
}
