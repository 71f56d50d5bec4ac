//! A controller in this process with two simulated hosts, its API, and what is asked of it after every call.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cumulet_controller::config::{AgentsMode, Config, Database, Ports};
use cumulet_controller::{Controller, Extra};
use cumulet_tests::api::{Api, Refusal};
use cumulet_tests::http::Client;
use cumulet_tests::site::{Range, Site, Wanted};
use engine::db::Row;
use engine::{Engine, args};
use fleet::{Host, Place, Share};
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::caller::Patience;

use crate::plan::Plan;
use crate::relay::Relay;
use crate::truth::{self, Rows};
use crate::watch::{Call, Watch};
use crate::{gre, gre_agent, machine, witness};

/// Longer than anything here takes, on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Not everything that ends is told of.
const LOOK: Duration = Duration::from_millis(5);
/// A call that has failed so often never succeeds.
const TRIES: usize = 400;

/// What does not come in time is lost: the walk cannot wait as long as a network may.
const HASTE: Patience = Patience {
    acknowledge: Duration::from_millis(150),
    answer: Duration::from_secs(10),
    ask_after: Duration::from_millis(50),
    ask_latest: Duration::from_millis(200),
};

const LIVE: &str = "SELECT uuid, state, attempts FROM flow WHERE state IN ('running', 'parked') \
     UNION ALL SELECT uuid, 'a job', 0 FROM job WHERE state <> 'done'";
const NODES: &str = "SELECT uuid FROM node";
const UNFINISHED: &str = "SELECT uuid, title, state || ' ' || direction, step, owner, epoch FROM flow \
     WHERE state IN ('running', 'parked')";
const OPEN: &str = "SELECT uuid, api, state, owner FROM job WHERE state <> 'done'";
const STATE: &str = "SELECT state FROM flow WHERE uuid = $1";
const TITLE: &str = "SELECT title FROM flow WHERE uuid = $1";
const JOB: &str = "SELECT success, result FROM job WHERE uuid = $1 AND state = 'done'";

/// A cloud that is all here.
pub struct World {
    pub engine: Engine,
    pub site: Site,
    /// Each with the address of its agents.
    pub hosts: Vec<(IpAddr, Host)>,
    /// What they all have mounted.
    pub share: &'static Share,
    /// By what a machine is switched on and off.
    pub machine: String,
    pub watch: Arc<Watch>,
    api: Api,
    rows: Rows,
    /// What a call without faults has the agents do.
    usual: BTreeMap<(&'static str, usize), BTreeMap<String, usize>>,
    chapter: &'static str,
    number: usize,
    pub calls: usize,
    /// How long it waits for the end of what a call begins.
    pub patience: Duration,
    /// Parked flows that were tried again, and after how many attempts.
    retried: Mutex<HashSet<(String, i64)>>,
    _stop: DropGuard,
    _dir: TempDir,
}

/// Disks that no row knows of.
pub fn strays() -> impl Iterator<Item = String> {
    (1..=4).map(|n: u8| {
        let (account, volume) = ("/walk_ps/rootVolumes/acct-x", format!("{n:02}").repeat(16));
        format!("{account}/vol-{volume}/{volume}.qcow2")
    })
}

/// A call of the API.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

/// Where files cost no disk, if there is such a place.
fn memory() -> &'static Path {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm } else { Box::leak(std::env::temp_dir().into_boxed_path()) }
}

/// Addresses that no other test of this machine uses at the same time.
fn address(world: u8, host: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + (high & 63), low, 2 * world + host).into()
}

/// Listeners at a port that both addresses have free.
async fn at_one_port([one, other]: [IpAddr; 2]) -> [TcpListener; 2] {
    loop {
        let first = TcpListener::bind((one, 0)).await.unwrap();
        match TcpListener::bind((other, first.local_addr().unwrap().port())).await {
            Ok(second) => return [first, second],
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("cannot listen at {other}: {error}"),
        }
    }
}

/// Two hosts, each behind relays that are at the same ports.
async fn fleet(
    world: u8,
    share: &'static Share,
    relay: &Arc<Relay>,
    stop: &CancellationToken,
) -> (Vec<(IpAddr, Host)>, Ports) {
    let mut hosts = Vec::new();
    for address in [address(world, 1), address(world, 2)] {
        let place = Place { address, journals: Some(memory()), share: Some(share), ..Place::default() };
        hosts.push((address, Host::start_also(place, gre_agent::routes).await.unwrap()));
    }
    let mut at = [0; 3];
    let programs: [fn(&Host) -> SocketAddr; 3] = [|host| host.kvm, |host| host.vrouter, |host| host.storage];
    for (port, program) in at.iter_mut().zip(programs) {
        let listeners = at_one_port([hosts[0].0, hosts[1].0]).await;
        *port = listeners[0].local_addr().unwrap().port();
        for ((_, host), listener) in hosts.iter().zip(listeners) {
            relay.for_commands(listener, program(host), stop);
        }
    }
    let [kvm_agent, vrouter_agent, storage_agent] = at;
    (hosts, Ports { kvm_agent, vrouter_agent, storage_agent, ..Ports::default() })
}

impl World {
    /// The `number`th of this process, on SQLite or the database of this URL, furnished with one host and all
    /// that a VM needs.
    pub async fn start(number: u8, plan: &Arc<Plan>, database: Option<String>) -> World {
        let (dir, stop) = (tempfile::tempdir_in(memory()).unwrap(), CancellationToken::new());
        let watch = Arc::new(Watch::new(plan));
        let relay = Relay::new(&watch);
        let share = Share::at("/walk_smp");
        let (hosts, ports) = fleet(number, share, &relay, &stop).await;
        let outcomes = relay.for_outcomes(&stop).await;
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            agents: AgentsMode::Plain,
            state_dir: dir.path().to_owned(),
            admin_password: Some("secret".into()),
            callback_url: Some(format!("http://{outcomes}/zstack/asyncrest/callback")),
            database: Database { url: database },
            patience: HASTE,
            ports,
            ..Config::default()
        };
        let faults: Arc<Watch> = Arc::clone(&watch);
        let extra = Extra { plugins: vec![gre::module(), witness::module()], faults: Some(faults) };
        let controller = Controller::start_with(config, stop.clone(), extra).await.unwrap();
        relay.leads_to(controller.address);
        let base = format!("http://{}/zstack/v1", controller.address);
        let api = Api::login(Client::default(), &base, "admin", "secret").await.unwrap();
        let site = Site::furnish(&api, &wanted(hosts[0].0), &|_| ()).await.unwrap();
        let engine = controller.engine.clone();
        for setting in ["host/ping.interval", "backupStorage/ping.interval", "sweep/interval", "ha/interval"]
        {
            // What is looked after by itself would disturb what is asked for.
            let (path, often) =
                (format!("/global-configurations/{setting}/actions"), json!({ "value": "86400" }));
            api.call(Method::PUT, &path, json!({ "updateGlobalConfig": often })).await.unwrap();
        }
        let rows = Rows::of(&engine).await;
        World {
            rows,
            engine,
            site,
            hosts,
            share,
            machine: machine::serve(&stop).await,
            watch,
            api,
            usual: BTreeMap::new(),
            chapter: "",
            number: 0,
            calls: 0,
            patience: PATIENCE,
            retried: Mutex::default(),
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    /// From now on calls belong to this part of the script.
    pub fn open(&mut self, chapter: &'static str) {
        (self.chapter, self.number) = (chapter, 0);
    }

    pub async fn post(&mut self, path: impl Into<String>, params: Value) -> String {
        let body = if params.is_null() { json!({}) } else { json!({ "params": params }) };
        let answer = self.until_done(Request { method: Method::POST, path: path.into(), body }).await;
        answer["inventory"]["uuid"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn root_of(&self, vm: &str) -> String {
        let found = self.api.get(&format!("/vm-instances/{vm}")).await.unwrap();
        found["inventories"][0]["rootVolumeUuid"].as_str().unwrap().to_owned()
    }

    /// The VM's NIC in the network.
    pub async fn nic_in(&self, vm: &str, l3: &str) -> String {
        let path = format!("/vm-instances/nics?q=vmInstanceUuid={vm}&q=l3NetworkUuid={l3}");
        let found = self.api.get(&path).await.unwrap();
        found["inventories"][0]["uuid"].as_str().unwrap().to_owned()
    }

    /// The uuid of the first row that the list shows.
    pub async fn first(&self, path: &str) -> String {
        let found = self.api.get(path).await.unwrap();
        found["inventories"][0]["uuid"].as_str().unwrap().to_owned()
    }

    /// How many rows such a question yields.
    pub async fn count(&self, path: &str) -> usize {
        let found = self.api.get(path).await.unwrap();
        found["inventories"].as_array().unwrap().len()
    }

    /// What hosts have in their caches is to be looked at again.
    pub async fn doubt_images(&self) {
        const DOUBT: &str = "UPDATE image_cache SET virtual_size = NULL";
        let doubted = self.engine.db().write(|tx| Box::pin(async move { tx.exec(DOUBT, args![]).await }));
        doubted.await.unwrap();
    }

    /// An address of the network that nobody has.
    pub async fn free_ip(&self, l3: &str) -> String {
        let found = self.api.get(&format!("/l3-networks/ip/free?l3NetworkUuid={l3}&limit=1")).await.unwrap();
        found["inventories"][0]["ip"].as_str().unwrap().to_owned()
    }

    /// With a system tag.
    pub async fn post_tagged(&mut self, path: &str, params: Value, tag: &str) -> String {
        let body = json!({ "params": params, "systemTags": [tag] });
        let answer = self.until_done(Request { method: Method::POST, path: path.into(), body }).await;
        answer["inventory"]["uuid"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn act(&mut self, path: impl Into<String>, action: &str) -> Value {
        self.act_with(path, action, json!({})).await
    }

    pub async fn act_with(&mut self, path: impl Into<String>, action: &str, params: Value) -> Value {
        let body = json!({ action: params });
        self.until_done(Request { method: Method::PUT, path: path.into(), body }).await
    }

    pub async fn delete(&mut self, path: impl Into<String>) {
        let body = Value::Null;
        self.until_done(Request { method: Method::DELETE, path: path.into(), body }).await;
    }

    /// A call that begins no flow, and after which not everything adds up.
    pub async fn plainly(&self, path: &str, body: Value) -> Value {
        let request = Request { method: Method::PUT, path: path.to_owned(), body };
        self.call(&request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// The second host has no power any more, and nobody waits until that is noticed.
    pub async fn loses_power(&self, host: &str) {
        const LOST: &str = "UPDATE host SET status = 'Disconnected' WHERE uuid = $1";
        self.hosts[1].1.world.loses_power();
        let host = host.to_owned();
        let lost = self.engine.db().write(|tx| Box::pin(async move { tx.exec(LOST, args![host]).await }));
        lost.await.unwrap();
    }

    /// It answers again, when somebody asks.
    pub fn regains_power(&self) {
        self.hosts[1].1.world.regains_power();
    }

    /// The first host has disks that are nobody's.
    pub fn lose_disks(&self) {
        self.hosts[0].1.world.meddle(|state| state.volumes.extend(strays()));
    }

    pub fn has_lost(&self, disk: &str) -> bool {
        self.hosts[0].1.world.state().volumes.contains(disk)
    }

    /// Makes the call again and again, each time with the next faults that meet it, until it succeeds.
    async fn until_done(&mut self, request: Request) -> Value {
        self.number += 1;
        for tries in 0..TRIES {
            if let Some(answer) = self.once(&request, tries > 0).await {
                return answer;
            }
        }
        panic!("{request:?} never succeeds");
    }

    /// One call to its end, after which everything must add up; `None` when it was made to fail.
    async fn once(&mut self, request: &Request, again: bool) -> Option<Value> {
        let (rows, carried) = (self.rows.read(&self.engine).await, self.carried_out());
        self.watch.begin((self.chapter, self.number));
        self.calls += 1;
        let answer = self.call(request).await;
        self.rest(request).await;
        let met = self.watch.call();
        let mut complaints = truth::complaints(self).await;
        complaints
            .extend(met.at_large().map(|(flow, outcome)| format!("the ghost of flow {flow}: {outcome:?}")));
        complaints.extend(met.odd.iter().cloned());
        match (&answer, met.must_fail()) {
            // A part that has no way back was done after the call had failed, and took the whole with it.
            (Err(error), _) if again && met.top.is_none() && error.contains("\"SYS.1003\"") => {
                return Some(Value::Null);
            }
            (Err(error), Some(false)) => complaints.push(format!("it failed: {error}")),
            (Ok(_), Some(true)) => complaints.push("it was told to fail and succeeded".into()),
            _ => {}
        }
        let top = met.top.map_or("", |(_, name)| name);
        // What a guest has taken it keeps.
        if answer.is_err()
            && !["cascade.delete", "image.purge", "vm.resize"].contains(&top)
            && !self.is_done(&met).await
        {
            complaints.extend(rows.differences(&self.rows.read(&self.engine).await));
        }
        complaints.extend(self.too_often(&met, &carried));
        complaints.extend(self.too_late(&met).await);
        let shown = met.shown();
        assert!(
            complaints.is_empty(),
            "\n{} {} {}\n  {shown}\n    {}\n",
            request.method,
            request.path,
            request.body,
            complaints.join("\n    ")
        );
        match answer {
            Ok(answer) => Some(answer),
            // What has no way back is done in the end.
            Err(_) => self.is_done(&met).await.then_some(Value::Null),
        }
    }

    /// Parts of a flow that were begun when it had ended.
    async fn too_late(&self, met: &Call) -> Vec<String> {
        let mut late = Vec::new();
        for flow in met.begun_after_the_end() {
            let titles = self.all::<(String,)>(TITLE, args![flow]).await;
            late.extend(titles.into_iter().map(|(title,)| format!("begun after the end: {title} ({flow})")));
        }
        late
    }

    /// Whether the flow that the call began was done although the call was told of a failure.
    async fn is_done(&self, met: &Call) -> bool {
        let Some((flow, _)) = met.top else { return false };
        self.all::<(String,)>(STATE, args![flow]).await == [("done".to_owned(),)]
    }

    async fn call(&self, request: &Request) -> Result<Value, String> {
        let Request { method, path, body } = request;
        let location = loop {
            match self.api.begin(method.clone(), path, body.clone()).await {
                Ok(location) => break location,
                // Between two eras.
                Err(error) if code(&error) == "SYS.2004" => sleep(LOOK).await,
                Err(error) => return Err(format!("{error:#}")),
            }
        };
        let job = location.rsplit('/').next().unwrap_or_default();
        let (success, result) = self.job(job).await;
        if success { Ok(serde_json::from_str(&result).unwrap()) } else { Err(result) }
    }

    async fn job(&self, job: &str) -> (bool, String) {
        let started = Instant::now();
        loop {
            let ended = self.all::<(bool, String)>(JOB, args![job]).await.pop();
            if let Some(ended) = ended {
                return ended;
            }
            if self.watch.has_parked() {
                self.retry_parked().await;
            }
            if started.elapsed() > self.patience {
                let (fired, stands) = (self.watch.call().shown(), self.stands().await);
                panic!("job {job} does not end: {fired}; this is how things stand:\n{stands}");
            }
            self.watch.stir(LOOK).await;
        }
    }

    /// Waits until no flow is at work, no ghost is about and no message is on its way.
    async fn rest(&self, request: &Request) {
        let started = Instant::now();
        loop {
            let live = self.retry_parked().await;
            if live.is_empty() {
                self.watch.all_have_ended().await;
            }
            let call = self.watch.call();
            if live.is_empty() && !call.is_haunted() && call.due.is_empty() {
                return;
            }
            if started.elapsed() > self.patience {
                let (fired, stands) = (call.shown(), self.stands().await);
                panic!("{request:?} comes to no rest: {fired}; this is how things stand:\n{stands}");
            }
            self.watch.stir(LOOK).await;
        }
    }

    /// What is not done, and who waits for what.
    async fn stands(&self) -> String {
        let nodes = self.all::<(String,)>(NODES, args![]).await;
        let flows = self.all::<(String, String, String, i64, String, i64)>(UNFINISHED, args![]).await;
        let jobs = self.all::<(String, String, String, String)>(OPEN, args![]).await;
        let queues = serde_json::to_string(&self.engine.queues().views()).unwrap_or_default();
        format!("nodes {nodes:?}\nflows {flows:?}\njobs {jobs:?}\nqueues {queues}")
    }

    /// Has parked flows tried again at once, as an operator would; tells which flows and jobs live.
    async fn retry_parked(&self) -> Vec<(String, String, i64)> {
        let live = self.all::<(String, String, i64)>(LIVE, args![]).await;
        for (flow, _, attempts) in live.iter().filter(|(_, state, _)| state == "parked") {
            if !self.retried.lock().unwrap().insert((flow.clone(), *attempts)) {
                continue;
            }
            let path = format!("/flows/{flow}/actions");
            // It may have been tried again of itself, or the controller has just died.
            let _ = self.api.begin(Method::PUT, &path, json!({ "retryFlow": {} })).await;
        }
        live
    }

    pub async fn all<R: Row>(&self, sql: &'static str, args: Vec<engine::db::Value>) -> Vec<R> {
        self.engine.db().read().await.unwrap().all::<R>(sql, args).await.unwrap()
    }

    fn carried_out(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for path in self.hosts.iter().flat_map(|(_, host)| host.world.carried_out()) {
            *counts.entry(path).or_default() += 1;
        }
        counts
    }

    /// Commands that had an effect more often than without faults, though nothing was undone.
    fn too_often(&mut self, met: &Call, before: &BTreeMap<String, usize>) -> Vec<String> {
        let mut effects = self.carried_out();
        for (path, count) in &mut effects {
            *count -= before.get(path).copied().unwrap_or(0);
        }
        let call = (self.chapter, self.number);
        if met.fired.is_empty() {
            self.usual.entry(call).or_insert(effects);
            return Vec::new();
        }
        let Some(usual) = self.usual.get(&call).filter(|_| met.must_fail() == Some(false)) else {
            return Vec::new();
        };
        let most = |path: &str| usual.get(path).copied().unwrap_or(0);
        let often = effects.iter().filter(|(path, count)| **count > most(path));
        often.map(|(path, count)| format!("{path} had {count} effects, not {}", most(path))).collect()
    }
}

fn code(error: &anyhow::Error) -> String {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.code.clone()).unwrap_or_default()
}

fn wanted(first: IpAddr) -> Wanted {
    Wanted {
        hosts: vec![("hv1".into(), first)],
        primary: "/walk_ps".into(),
        images_at: first,
        backup: "/walk_bs".into(),
        image: "http://images.example.org/tiny.qcow2".into(),
        physical: "eth1".into(),
        range: range(9),
    }
}

pub fn range(net: u8) -> Range {
    Range {
        start: Ipv4Addr::new(10, net, 0, 10),
        end: Ipv4Addr::new(10, net, 0, 40),
        netmask: Ipv4Addr::new(255, 255, 255, 0),
        gateway: Ipv4Addr::new(10, net, 0, 1),
    }
}
