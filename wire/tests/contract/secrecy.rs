//! Who may talk to whom, over real TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;
use wire::TaskId;
use wire::caller::{CallError, Caller};
use wire::tls::{
    self, Authority, ENROL, Enrol, Enrolment, Guest, Guests, Http, Identity, Issued, Keeper, Live,
};
use wire::tls::{MachineId, RENEW, Renewal, Role, TRUST, TlsListener, Token, Trust, name};

use crate::kit::{Node, Start, act, bind, eventually, https, soon};

const HOUR: Duration = Duration::from_secs(3600);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What `authority` makes, for who trusts `trusted`.
fn machine_of(authority: &Authority, trusted: &[&Authority], roles: &[Role], id: MachineId) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let chain = authority.certify(&request, id, roles, HOUR).unwrap();
    Identity::new(&chain, &key.serialize_pem(), &trust(trusted)).unwrap()
}

fn controller_of(authority: &Authority, trusted: &[&Authority]) -> Identity {
    let (chain, key) = authority.controller(MachineId::random(), HOUR).unwrap();
    Identity::new(&chain, &key, &trust(trusted)).unwrap()
}

fn trust(trusted: &[&Authority]) -> Trust {
    let authorities = trusted.iter().map(|authority| authority.certificate()).collect();
    Trust { authorities, revoked: Vec::new() }
}

fn machine(authority: &Authority, roles: &[Role]) -> Live {
    Live::new(machine_of(authority, &[authority], roles, MachineId::random()))
}

fn controller(authority: &Authority) -> Live {
    Live::new(controller_of(authority, &[authority]))
}

async fn agent(live: &Live) -> Node {
    Node::start_with(Start { live: Some(live.clone()), ..Start::default() }).await
}

fn http(live: &Live) -> reqwest::Client {
    Http::new(Some(live.clone()), plainly).unwrap().client()
}

fn plainly() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).dns_resolver(name::Names)
}

/// A controller: its caller, and where agents report to it.
struct Office {
    caller: Caller,
    callback: String,
}

async fn office(live: &Live) -> Office {
    let listener = bind(0).await;
    let port = listener.local_addr().unwrap().port();
    let callback = format!("https://{}:{port}/asyncrest/callback", name::of_controller(HERE.into()));
    let caller = Caller::certified(&callback, Some(live.clone()));
    let roles = &[Role::Host, Role::Storage, Role::ConsoleProxy];
    serve(listener, live, tls::only(caller.router(), live, roles));
    Office { caller, callback }
}

fn serve(listener: TcpListener, live: &Live, router: Router) {
    let listener = TlsListener::new(listener, live.clone(), Guests::Anybody).unwrap();
    let service = router.into_make_service_with_connect_info::<Guest>();
    tokio::spawn(async move { axum::serve(listener, service).await });
}

impl Office {
    async fn act(&self, agent: &str, word: &str) -> Result<String, CallError> {
        let reply = self.caller.call(agent, &TaskId::random(), None, soon(), &act(word)).await;
        reply.map(|reply| reply.word)
    }

    async fn act_shortly(&self, agent: &str) -> Result<String, CallError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        let reply = self.caller.call(agent, &TaskId::random(), None, deadline, &act("no")).await;
        reply.map(|reply| reply.word)
    }
}

#[tokio::test]
async fn certified_peers_talk_in_both_directions() {
    let authority = Authority::make().unwrap();
    let (node, office) =
        (agent(&machine(&authority, &[Role::Host])).await, office(&controller(&authority)).await);
    // Without the callback it would take the caller two seconds to ask.
    let told = timeout(Duration::from_secs(2), office.act(&node.url(), "a")).await;
    assert_eq!(told.unwrap().unwrap(), "A");
}

/// One agent hands on to another what it does not serve itself; only where that is wanted, and only at home.
#[tokio::test]
async fn a_neighbour_may_command_where_that_is_wanted_and_a_stranger_nowhere() {
    let authority = Authority::make().unwrap();
    let (home, away) = (machine(&authority, &[Role::Host]), machine(&authority, &[Role::Host]));
    let open = Start { live: Some(home.clone()), neighbours: true, ..Start::default() };
    let (open, closed) = (Node::start_with(open).await, agent(&home).await);
    for (who, node, answer) in [
        (&home, &open, StatusCode::OK),
        (&away, &open, StatusCode::FORBIDDEN),
        (&home, &closed, StatusCode::FORBIDDEN),
    ] {
        let command = http(who).post(format!("{}/test/act", node.url())).json(&act("a"));
        let headers = [("taskuuid", "t"), ("callbackurl", "http://127.0.0.1:9/")];
        let command = headers.iter().fold(command, |command, (name, value)| command.header(*name, *value));
        assert_eq!(command.send().await.unwrap().status(), answer);
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let authority = Authority::make().unwrap();
    let node = agent(&machine(&authority, &[Role::Host])).await;
    let root = reqwest::Certificate::from_pem(authority.certificate().as_bytes()).unwrap();
    let anonymous = plainly().tls_certs_only([root]).build().unwrap();
    let answer = anonymous.get(format!("{}/inventory", node.url())).send().await;
    assert!(format!("{:?}", answer.unwrap_err()).contains("CertificateRequired"));
    let plain = reqwest::get(format!("http://{}/inventory", node.address)).await;
    assert!(plain.is_err(), "{plain:?}");

    let told = Office::of(&authority).await;
    let answer = anonymous.post(&told.callback).header("taskuuid", "t").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

impl Office {
    async fn of(authority: &Authority) -> Office {
        office(&controller(authority)).await
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    let (ours, theirs) = (Authority::make().unwrap(), Authority::make().unwrap());
    let node = agent(&machine(&ours, &[Role::Host])).await;
    // It would trust us, and we must not trust it.
    let stranger = Live::new(controller_of(&theirs, &[&ours, &theirs]));
    let answer = http(&stranger).get(format!("{}/inventory", node.url())).send().await;
    assert!(answer.is_err(), "{answer:?}");

    let foreign = Live::new(machine_of(&theirs, &[&ours, &theirs], &[Role::Host], MachineId::random()));
    let (foreign, office) = (agent(&foreign).await, Office::of(&ours).await);
    assert!(office.act_shortly(&foreign.url()).await.is_err());
    assert!(foreign.world.begun().is_empty());
}

#[tokio::test]
async fn a_machine_cannot_serve_as_another_one() {
    let authority = Authority::make().unwrap();
    let (one, other) = (machine(&authority, &[Role::Host]), machine(&authority, &[Role::Host]));
    let (node, office) = (agent(&one).await, Office::of(&authority).await);
    let refused = office.act_shortly(&https(&other, node.address)).await;
    assert!(refused.is_err() && node.world.begun().is_empty(), "{refused:?}");
    assert_eq!(office.act(&node.url(), "a").await.unwrap(), "A");
}

#[tokio::test]
async fn a_machine_cannot_serve_as_a_controller() {
    let authority = Authority::make().unwrap();
    let (thief, listener) = (machine(&authority, &[Role::Host]), bind(0).await);
    let port = listener.local_addr().unwrap().port();
    serve(listener, &thief, Router::new().fallback(|| async {}));
    let victim = http(&machine(&authority, &[Role::Host]));
    let as_itself = format!("{}/", https(&thief, SocketAddr::from((HERE, port))));
    assert!(victim.get(as_itself).send().await.is_ok());
    let as_controller = format!("https://{}:{port}/", name::of_controller(HERE.into()));
    assert!(victim.get(as_controller).send().await.is_err());
}

#[tokio::test]
async fn a_machine_cannot_command_an_agent() {
    let authority = Authority::make().unwrap();
    let node = agent(&machine(&authority, &[Role::Host])).await;
    let all_but_one = [Role::Host, Role::Storage, Role::ConsoleProxy];
    let thief = http(&machine(&authority, &all_but_one));
    for path in ["/test/act", "/test/direct", "/inventory", "/tasks/t", "/metrics", "/no/such/path"] {
        let answer =
            thief.post(format!("{}{path}", node.url())).header("taskuuid", "t").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let auditor = http(&machine(&authority, &[Role::Auditor]));
    for (path, status) in [("/inventory", 200), ("/metrics", 200), ("/test/direct", 403), ("/tasks/t", 403)] {
        let answer = auditor.get(format!("{}{path}", node.url())).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    assert!(node.world.begun().is_empty());
    let answer = http(&controller(&authority)).get(format!("{}/inventory", node.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_outcome_is_taken_from_the_machine_that_was_asked_alone() {
    let authority = Authority::make().unwrap();
    let (asked, thief) = (machine(&authority, &[Role::Host]), machine(&authority, &[Role::Host]));
    let (node, office) = (agent(&asked).await, Office::of(&authority).await);
    node.world.close_gate();
    let (task, caller, url) = (TaskId::random(), office.caller.clone(), node.url());
    let own = task.clone();
    let call = tokio::spawn(async move { caller.call(&url, &own, None, soon(), &act("a")).await });
    node.world.wait_begun(1).await;
    let lie = |live: &Live| {
        let lie = http(live).post(&office.callback).header("taskuuid", task.as_str());
        lie.body(r#"{"success":true,"word":"LIE"}"#).send()
    };
    assert_eq!(lie(&thief).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(!call.is_finished());
    node.world.open_gate();
    assert_eq!(call.await.unwrap().unwrap().word, "A");
    // Nobody waits any more: it is taken, so that the agent stops, and has no effect.
    assert_eq!(lie(&thief).await.unwrap().status(), StatusCode::OK);
}

/// Every certificate and the authority itself are replaced, on both sides, while a task runs and another is
/// on its way.
#[tokio::test]
async fn a_rotation_drops_no_task_and_no_request() {
    let (old, new) = (Authority::make().unwrap(), Authority::make().unwrap());
    let id = MachineId::random();
    let host = Live::new(machine_of(&old, &[&old], &[Role::Host], id));
    let head = controller(&old);
    let (node, office) = (agent(&host).await, office(&head).await);
    node.world.close_gate();
    let call = |word: &'static str| {
        let (caller, url) = (office.caller.clone(), node.url());
        tokio::spawn(async move { caller.call(&url, &TaskId::random(), None, soon(), &act(word)).await })
    };
    let (before, direct) = (call("before"), {
        let (caller, url) = (office.caller.clone(), node.url());
        let command = crate::kit::Direct { word: "open".into(), number: 0 };
        tokio::spawn(async move { caller.call(&url, &TaskId::random(), None, soon(), &command).await })
    });
    node.world.wait_begun(2).await;
    // First everybody trusts both, then shows the new one, then trusts it alone.
    for (by, trusted) in [(&old, &[&old, &new][..]), (&new, &[&old, &new]), (&new, &[&new])] {
        head.replace(controller_of(by, trusted));
        host.replace(machine_of(by, trusted, &[Role::Host], id));
    }
    let after = call("after");
    node.world.wait_begun(3).await;
    node.world.open_gate();
    assert_eq!(before.await.unwrap().unwrap().word, "BEFORE");
    assert_eq!(direct.await.unwrap().unwrap().word, "OPEN", "its connection is of the old days");
    assert_eq!(after.await.unwrap().unwrap().word, "AFTER");
    assert_eq!(node.world.begun().len(), 3, "nothing ran twice");
    let late = http(&controller(&old)).get(format!("{}/inventory", node.url())).send().await;
    assert!(late.is_err(), "the old authority is worth nothing now");
}

/// A connection that is kept alive would hide who goes out by it.
#[tokio::test]
async fn a_client_goes_out_with_the_newest_identity() {
    async fn who(axum::Extension(peer): axum::Extension<tls::Peer>) -> String {
        peer.machine.to_string()
    }
    let authority = Authority::make().unwrap();
    let (head, listener) = (controller(&authority), bind(0).await);
    let url =
        format!("https://{}:{}/", name::of_controller(HERE.into()), listener.local_addr().unwrap().port());
    serve(listener, &head, tls::only(Router::new().route("/", get(who)), &head, &[Role::Host]));
    let live = machine(&authority, &[Role::Host]);
    let http = Http::new(Some(live.clone()), plainly).unwrap();
    for _ in 0..2 {
        let me = live.current().me().machine.to_string();
        let seen = http.client().get(&url).send().await.unwrap().text().await.unwrap();
        assert_eq!(seen, me);
        live.replace(machine_of(&authority, &[&authority], &[Role::Host], MachineId::random()));
    }
}

#[tokio::test]
async fn a_revoked_machine_is_refused_at_once_and_over_an_open_connection_too() {
    let authority = Authority::make().unwrap();
    let (head, id) = (controller(&authority), MachineId::random());
    let office = office(&head).await;
    let host = Live::new(machine_of(&authority, &[&authority], &[Role::Host], id));
    let kept = http(&host);
    let report = |client: &reqwest::Client| client.post(&office.callback).header("taskuuid", "t").send();
    assert_eq!(report(&kept).await.unwrap().status(), StatusCode::OK);
    let (chain, key) = authority.controller(MachineId::random(), HOUR).unwrap();
    let trust = Trust { revoked: vec![id], ..trust(&[&authority]) };
    head.replace(Identity::new(&chain, &key, &trust).unwrap());
    assert_eq!(report(&kept).await.unwrap().status(), StatusCode::FORBIDDEN, "the connection is kept alive");
    assert!(report(&http(&host)).await.is_err(), "no new connection");
    assert_eq!(report(&http(&machine(&authority, &[Role::Host]))).await.unwrap().status(), StatusCode::OK);
    // Nor is it sent anything: whoever has its key may sit at its address.
    let node = agent(&host).await;
    let sent = office.act_shortly(&node.url()).await.unwrap_err().to_string();
    assert!(sent.contains("is revoked") && node.world.begun().is_empty(), "{sent}");
}

#[tokio::test]
async fn silent_connections_hold_up_nobody() {
    let authority = Authority::make().unwrap();
    let (node, office) = (agent(&machine(&authority, &[Role::Host])).await, Office::of(&authority).await);
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        silent.push(socket.connect(node.address).await.unwrap());
    }
    let told = timeout(Duration::from_secs(5), office.act(&node.url(), "a")).await;
    assert_eq!(told.expect("it is served").unwrap(), "A");
    assert_eq!(silent.len(), 300);
}

/// The controller's side of enrolment, without a database.
struct Clerk {
    authority: Authority,
    machine: MachineId,
    asked: AtomicUsize,
    heard: AtomicUsize,
    trust: std::sync::Mutex<Trust>,
}

impl Clerk {
    async fn start() -> (Arc<Clerk>, String) {
        let authority = Authority::make().unwrap();
        let trust = std::sync::Mutex::new(trust(&[&authority]));
        let (live, listener) = (controller(&authority), bind(0).await);
        let url = format!("https://{}", listener.local_addr().unwrap());
        let clerk = Arc::new(Clerk {
            authority,
            machine: MachineId::random(),
            asked: AtomicUsize::new(0),
            heard: AtomicUsize::new(0),
            trust,
        });
        let certified =
            Router::new().route(RENEW, post(renew)).route(TRUST, get(whom)).with_state(clerk.clone());
        let open = Router::new().route(ENROL, post(enrol)).with_state(clerk.clone());
        serve(listener, &live, tls::demand(certified, &live, &[Role::Host]).merge(open));
        (clerk, url)
    }

    fn issue(&self, request: &str) -> Json<Issued> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let chain = self.authority.certify(request, self.machine, &[Role::Host], HOUR).unwrap();
        Json(Issued { machine: self.machine, chain, trust: self.trust.lock().unwrap().clone() })
    }

    fn token(&self) -> Token {
        let authority = tls::fingerprint(self.authority.certificate()).unwrap();
        Token { id: "1".repeat(32), secret: "2".repeat(64), authority }
    }
}

async fn enrol(State(clerk): State<Arc<Clerk>>, Json(asked): Json<Enrolment>) -> Json<Issued> {
    clerk.issue(&asked.request)
}

async fn renew(State(clerk): State<Arc<Clerk>>, Json(asked): Json<Renewal>) -> Json<Issued> {
    clerk.issue(&asked.request)
}

async fn whom(State(clerk): State<Arc<Clerk>>) -> Json<Trust> {
    clerk.heard.fetch_add(1, Ordering::SeqCst);
    Json(clerk.trust.lock().unwrap().clone())
}

fn order(controller: &str, token: &Token, dir: &TempDir) -> Enrol {
    let tls_dir = Some(dir.path().join("tls"));
    let (controller, token) = (controller.to_owned(), token.to_string());
    Enrol { controller, token, address: None, name: None, tls_dir, again: false }
}

#[tokio::test]
async fn a_machine_enrols_and_renews_and_its_agents_take_the_new_identity_over() {
    let (clerk, url) = Clerk::start().await;
    let dir = tempfile::tempdir().unwrap();
    let order = order(&url, &clerk.token(), &dir);
    assert_eq!(order.run().await.unwrap(), clerk.machine);
    assert!(order.run().await.unwrap_err().to_string().contains("--again"));

    let tls = || tls::Directory::new(dir.path().join("tls"));
    let (mut one, mut other) = (Keeper::open(tls()).unwrap(), Keeper::open(tls()).unwrap());
    let (first, now) = (one.live().current(), SystemTime::now());
    one.look(now).await.unwrap();
    assert!(Arc::ptr_eq(&first, &one.live().current()), "it is fresh and nothing has changed");
    one.look(now + HOUR / 2).await.unwrap();
    assert!(Arc::ptr_eq(&first, &one.live().current()), "half of its life is left");
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 1);
    one.look(now + HOUR * 3 / 4).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &one.live().current()), "two thirds are over");
    assert_eq!((one.live().current().me(), clerk.asked.load(Ordering::SeqCst)), (first.me(), 2));
    let was = other.live().current();
    other.look(now).await.unwrap();
    assert!(!Arc::ptr_eq(&was, &other.live().current()), "taken over from the disk");
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 2, "and not asked for again");

    let lost = MachineId::random();
    clerk.trust.lock().unwrap().revoked.push(lost);
    let mut third = Keeper::open(tls()).unwrap();
    assert!(!third.live().current().is_revoked(lost));
    third.look(now).await.unwrap();
    assert!(third.live().current().is_revoked(lost), "heard");
    other.look(now).await.unwrap();
    assert!(other.live().current().is_revoked(lost), "and taken over");
}

/// Nobody polls: the next command, such as a ping, says that there is something to ask for.
#[tokio::test]
async fn an_agent_that_is_sent_a_command_hears_who_is_revoked() {
    let (clerk, url) = Clerk::start().await;
    let dir = tempfile::tempdir().unwrap();
    order(&url, &clerk.token(), &dir).run().await.unwrap();
    let keeper = Keeper::open(tls::Directory::new(dir.path().join("tls"))).unwrap();
    let live = keeper.live().clone();
    tokio::spawn(keeper.keep());
    let (node, head) = (agent(&live).await, controller(&clerk.authority));
    let (office, lost) = (office(&head).await, MachineId::random());
    office.act(&node.url(), "a").await.unwrap();
    eventually("it has asked at its start", async || clerk.heard.load(Ordering::SeqCst) == 1).await;
    clerk.trust.lock().unwrap().revoked.push(lost);
    let (chain, key) = clerk.authority.controller(MachineId::random(), HOUR).unwrap();
    let trust = clerk.trust.lock().unwrap().clone();
    head.replace(Identity::new(&chain, &key, &trust).unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!live.current().is_revoked(lost), "it has not been told");
    office.act(&node.url(), "b").await.unwrap();
    eventually("it has asked", async || live.current().is_revoked(lost)).await;
}

#[tokio::test]
async fn a_token_is_not_said_to_a_controller_that_is_not_its_own() {
    let (clerk, url) = Clerk::start().await;
    let (dir, other) = (tempfile::tempdir().unwrap(), Authority::make().unwrap());
    let wrong = Token { authority: tls::fingerprint(other.certificate()).unwrap(), ..clerk.token() };
    assert!(order(&url, &wrong, &dir).run().await.is_err());
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 0);
    assert!(!tls::Directory::new(dir.path().join("tls")).is_enrolled());
    // The key of the attempt is kept: who lost an answer is known again by it.
    let key = std::fs::read(dir.path().join("tls/pending.pem")).unwrap();
    assert!(order("https://127.0.0.1:9", &clerk.token(), &dir).run().await.is_err());
    assert_eq!(std::fs::read(dir.path().join("tls/pending.pem")).unwrap(), key);
    order(&url, &clerk.token(), &dir).run().await.unwrap();
    assert!(!dir.path().join("tls/pending.pem").exists());
}

/// Agents of one machine run as different users; who is root must not take the identity from the others.
#[tokio::test]
async fn what_root_writes_belongs_to_the_directorys_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (clerk, url) = Clerk::start().await;
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    std::fs::create_dir(&tls).unwrap();
    if chown(&tls, Some(4711), Some(4712)).is_err() {
        eprintln!("only root gives files away: nothing is tested here");
        return;
    }
    order(&url, &clerk.token(), &dir).run().await.unwrap();
    let mut keeper = Keeper::open(tls::Directory::new(&tls)).unwrap();
    keeper.look(SystemTime::now() + HOUR * 3 / 4).await.unwrap();
    for file in std::fs::read_dir(&tls).unwrap() {
        let file = file.unwrap();
        let known = file.metadata().unwrap();
        assert_eq!((known.uid(), known.gid()), (4711, 4712), "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn an_identity_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let (clerk, url) = Clerk::start().await;
    let dir = tempfile::tempdir().unwrap();
    order(&url, &clerk.token(), &dir).run().await.unwrap();
    let (tls, file) = (tls::Directory::new(dir.path().join("tls")), dir.path().join("tls/identity.pem"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(tls.path())), (0o600, 0o700));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Keeper::open(tls).err().unwrap().to_string().contains("chmod 600"));
}

#[tokio::test]
async fn agents_see_a_rotation_while_they_are_asked() {
    let authority = Authority::make().unwrap();
    let (host, id) = (machine(&authority, &[Role::Host]), MachineId::random());
    let (node, office) = (agent(&host).await, Office::of(&authority).await);
    let url = node.url();
    let turn = tokio::spawn(async move {
        loop {
            let same = host.current().me().machine;
            host.replace(machine_of(&authority, &[&authority], &[Role::Host], same));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for round in 0..50 {
        assert_eq!(office.act(&url, "a").await.unwrap(), "A", "round {round}");
    }
    turn.abort();
    assert_eq!(node.world.begun().len(), 50);
    assert!(office.act_shortly(&format!("https://{}:1", name::of_machine(id, HERE.into()))).await.is_err());
    eventually("all have ended", async || node.world.ended().len() == 50).await;
}
