//! A hypervisor host of the test's own, on this machine: namespaces for mounts, network and processes,
//! a private libvirtd, the agent, and somebody who hears its reports.
//!
//! Everything ends with the test, because its namespace of processes does. Needs root, libvirt-daemon,
//! qemu-system-x86 and qemu-utils.

pub mod guest;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use host::netlink::Netlink;
use nix::mount::{MsFlags, mount};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use wire::TaskId;

const INSIDE: &str = "CUMULET_TEST_INSIDE";
pub const AGENT: &str = "127.0.0.1:7070";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs `body` in namespaces of its own. `name` is the test's path within its binary.
pub fn alone<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(body());
    }
    let mut again = command("unshare");
    again.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // The first process of a namespace must bury orphans: libvirtd waits for those that it made.
    again.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]);
    again.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    assert!(again.status().unwrap().success(), "{name} failed in its namespaces");
}

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub net: Netlink,
    agent: Child,
    libvirtd: Child,
    http: reqwest::Client,
    heard: Arc<Mutex<HashMap<String, Value>>>,
    callback: String,
}

impl Lab {
    pub async fn start() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        own_mounts(dir.path());
        let net = Netlink::open().unwrap();
        net.set_up(&net.find("lo").await.unwrap().unwrap()).await.unwrap();
        let libvirtd = libvirtd(dir.path());
        let agent = agent(dir.path());
        let heard = Arc::default();
        let callback = listen(Arc::clone(&heard)).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let lab = Lab { dir, net, agent, libvirtd, http, heard, callback };
        lab.wait_for_agent().await;
        lab
    }

    pub fn path(&self, below: &str) -> String {
        self.dir.path().join(below).to_str().unwrap().to_owned()
    }

    /// A command's outcome, whichever way it comes.
    pub async fn call(&self, path: &str, command: Value) -> Value {
        let task = TaskId::random().to_string();
        assert!(self.send(path, &task, &command).await, "{path} was not taken");
        self.outcome(&task).await
    }

    /// The outcome of a command that must succeed.
    pub async fn done(&self, path: &str, command: Value) -> Value {
        let outcome = self.call(path, command).await;
        assert_eq!(outcome["success"], true, "{path}: {outcome}\n{}", self.log());
        outcome
    }

    /// Whether the agent took the command.
    pub async fn send(&self, path: &str, task: &str, command: &Value) -> bool {
        let request = self.http.post(format!("http://{AGENT}{path}"));
        let request = request.header("taskuuid", task).header("callbackurl", &self.callback).json(command);
        matches!(request.send().await, Ok(answer) if answer.status().is_success())
    }

    pub async fn sync_call(&self, path: &str, command: Value) -> Value {
        let request = self.http.post(format!("http://{AGENT}{path}")).json(&command);
        request.send().await.unwrap().json().await.unwrap()
    }

    pub async fn outcome(&self, task: &str) -> Value {
        self.outcome_within(task, TIMEOUT).await
    }

    pub async fn outcome_within(&self, task: &str, patience: Duration) -> Value {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(outcome) = self.heard.lock().await.get(task) {
                return outcome.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no outcome of {task}\n{}", self.log());
    }

    /// What the agent says that it owns: kind and name.
    pub async fn inventory(&self) -> Vec<(String, String)> {
        let answer = self.http.get(format!("http://{AGENT}/inventory")).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let owned = answer["owned"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        owned.map(|owned| (text(&owned["kind"]), text(&owned["name"]))).collect()
    }

    /// The agent dies without a word and is started again.
    pub async fn kill_agent(&mut self) {
        self.end_agent();
        self.start_agent().await;
    }

    pub fn end_agent(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
    }

    pub async fn start_agent(&mut self) {
        self.agent = agent(self.dir.path());
        self.wait_for_agent().await;
    }

    pub async fn kill_libvirtd(&mut self) {
        self.libvirtd.kill().unwrap();
        self.libvirtd.wait().unwrap();
        self.libvirtd = libvirtd(self.dir.path());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    async fn wait_for_agent(&self) {
        eventually("the agent listens", async || tokio::net::TcpStream::connect(AGENT).await.is_ok()).await;
    }
}

pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !holds().await {
        assert!(Instant::now() < until, "it did not come true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The QEMUs that run VM `dashed_uuid`.
pub fn qemus(dashed_uuid: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let runs = line.contains("qemu-system") && line.contains(dashed_uuid);
        runs.then(|| Pid::from_raw(entry.file_name().to_str().unwrap().parse().unwrap()))
    });
    pids.collect()
}

/// A disk whose boot sector writes `MARK-READY` to the serial port and halts.
pub fn nano_disk() -> Vec<u8> {
    let text = b"MARK-READY\r\n\0";
    // Writes the bytes behind it to port 0x3f8 until a zero; then halts for ever.
    let mut sector = vec![
        0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x16, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb,
        0xf8, 0xfa, 0xf4, 0xeb, 0xfd,
    ];
    sector.extend(text);
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    sector
}

fn own_mounts(dir: &Path) {
    let none: Option<&str> = None;
    // The old one still shows the network namespace that it was mounted in.
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
    for (own, shared) in [
        ("etc", "/etc/libvirt"),
        ("run", "/run/libvirt"),
        ("lib", "/var/lib/libvirt"),
        ("cache", "/var/cache/libvirt"),
        ("log", "/var/log/libvirt"),
    ] {
        let own = dir.join("libvirt").join(own);
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(shared).unwrap();
        mount(Some(&own), shared, none, MsFlags::MS_BIND, none).unwrap();
    }
    own_users(dir);
    fs::write(
        "/etc/libvirt/libvirtd.conf",
        "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n\
         host_uuid = \"6d1b7c3e-4f3a-4f7b-9a43-0f1d3c5b7a99\"\nlog_outputs = \"3:stderr\"\n",
    )
    .unwrap();
    fs::write(
        "/etc/libvirt/qemu.conf",
        "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nstdio_handler = \"file\"\n\
         namespaces = []\ncgroup_controllers = []\nremember_owner = 0\n\
         swtpm_user = \"root\"\nswtpm_group = \"root\"\n",
    )
    .unwrap();
}

/// libvirtd insists that the user exists which Debian's full package would have made, even where its
/// configuration names another.
fn own_users(dir: &Path) {
    for (file, line) in [
        ("/etc/passwd", "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"),
        ("/etc/group", "libvirt-qemu:x:64055:\nkvm:x:64054:\n"),
    ] {
        let (own, none) = (dir.join(file.replace('/', "_")), None::<&str>);
        fs::write(&own, fs::read_to_string(file).unwrap() + line).unwrap();
        mount(Some(&own), file, none, MsFlags::MS_BIND, none).unwrap();
    }
}

fn libvirtd(dir: &Path) -> Child {
    let socket = Path::new("/run/libvirt/libvirt-sock");
    let _ = fs::remove_file(socket);
    let log = dir.join("libvirtd.log");
    let child = command("libvirtd")
        .args(["-p", "/run/libvirt/libvirtd.pid"])
        .stderr(append(log.clone()))
        .spawn()
        .unwrap();
    let until = Instant::now() + TIMEOUT;
    while !socket.exists() {
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(Instant::now() < until, "libvirtd does not listen: {}", said());
        #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn agent(dir: &Path) -> Child {
    let state = dir.join("state");
    fs::create_dir_all(&state).unwrap();
    let config = dir.join("agent.toml");
    let logs = dir.join("consoles");
    fs::create_dir_all(&logs).unwrap();
    fs::write(&config, format!("console-log-dir = {:?}\nvirt-type = \"qemu\"\n", logs)).unwrap();
    let mut agent = command(env!("CARGO_BIN_EXE_cumulet-kvm-agent"));
    agent.arg("--config").arg(config).args(["--plain-listen", AGENT]).arg("--state-dir").arg(state);
    agent.stderr(append(dir.join("agent.log"))).spawn().unwrap()
}

async fn listen(heard: Arc<Mutex<HashMap<String, Value>>>) -> String {
    let hear =
        async |State(heard): State<Arc<Mutex<HashMap<String, Value>>>>, headers: HeaderMap, body: String| {
            let task = headers["taskuuid"].to_str().unwrap().to_owned();
            let outcome = serde_json::from_str(&body).unwrap_or_else(|_| json!({ "unreadable": body }));
            heard.lock().await.insert(task, outcome);
        };
    let router = Router::new().route("/callback", post(hear)).with_state(heard);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn append(path: PathBuf) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "processes that run beside the test")]
fn command(program: &str) -> Command {
    Command::new(program)
}
