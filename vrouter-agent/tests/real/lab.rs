//! A host in a network namespace of the test's own: a bridge, the agent, guests on the bridge.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use host::netns::{self, Namespace};
use host::process::program;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;
use wire::agent::Owned;
use wire::caller::{CallError, Caller};
use wire::calls::dhcp::{Apply, DeleteNamespace, Lease, Prepare, Release};
use wire::{Call, TaskId};

pub const SERVER: &str = "10.4.0.1";
const AGENT: &str = "http://127.0.0.1:7272";

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Lab {
    id: String,
    pub state: TempDir,
    caller: Caller,
    agent: Option<Child>,
    names: Vec<String>,
}

/// Runs `test` on a thread whose whole world is the lab's namespace. Needs root.
pub fn lab<F: Future<Output = Lab>>(test: impl FnOnce(Lab) -> F + Send + 'static) {
    assert!(nix::unistd::Uid::effective().is_root(), "these tests make network namespaces: run them as root");
    let world = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        runtime.block_on(async {
            let ended = test(Lab::new().await).await;
            drop(ended);
        });
    });
    if let Err(panic) = world.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    async fn new() -> Self {
        ip("link set lo up").await;
        ip("link add br0 type bridge").await;
        ip("link set br0 up").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let callback = format!("http://{}/asyncrest/callback", listener.local_addr().unwrap());
        let caller = Caller::new(callback);
        tokio::spawn(axum::serve(listener, caller.router()).into_future());
        let id = format!("{:06x}{:02x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let state = tempfile::Builder::new().prefix("vrouter-").tempdir().unwrap();
        let mut lab = Lab { id, state, caller, agent: None, names: Vec::new() };
        lab.start_agent().await;
        lab
    }

    #[expect(clippy::disallowed_methods, reason = "the agent under test is killed by its handle")]
    pub async fn start_agent(&mut self) {
        let agent = std::process::Command::new(env!("CARGO_BIN_EXE_cumulet-vrouter-agent"))
            .args(["--plain-listen", "127.0.0.1:7272"])
            .arg("--state-dir")
            .arg(self.state.path())
            .stdin(Stdio::null())
            .spawn();
        self.agent = Some(agent.unwrap());
        let patience = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect("127.0.0.1:7272").await.is_err() {
            assert!(Instant::now() < patience, "the agent does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub async fn call<C: Call>(&self, command: C) -> Result<C::Reply, CallError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        self.caller.call(AGENT, &TaskId::random(), None, deadline, &command).await
    }

    pub async fn inventory(&self) -> Vec<Owned> {
        #[derive(serde::Deserialize)]
        struct Inventory {
            owned: Vec<Owned>,
        }
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{AGENT}/inventory")).send().await.unwrap();
        answer.json::<Inventory>().await.unwrap().owned
    }

    pub fn l3(&self) -> String {
        format!("{}{:024x}", self.id, 0x42)
    }

    pub fn namespace(&self) -> String {
        format!("br0_{}", self.l3())
    }

    pub fn prepare(&self) -> Prepare {
        Prepare {
            bridge_name: "br0".into(),
            dhcp_server_ip: SERVER.into(),
            dhcp_netmask: "255.255.0.0".into(),
            namespace_name: self.namespace(),
            ..Prepare::default()
        }
    }

    pub fn lease(&self, mac: &str, ip: &str) -> Lease {
        Lease {
            ip: ip.into(),
            mac: mac.into(),
            netmask: "255.255.0.0".into(),
            bridge_name: "br0".into(),
            namespace_name: self.namespace(),
            l3_network_uuid: self.l3(),
            ..Lease::default()
        }
    }

    pub fn apply(&self, dhcp: Vec<Lease>) -> Apply {
        Apply { dhcp, rebuild: false, l3_network_uuid: self.l3() }
    }

    pub fn release(&self, dhcp: Vec<Lease>) -> Release {
        Release { dhcp }
    }

    pub fn delete(&self) -> DeleteNamespace {
        DeleteNamespace { bridge_name: "br0".into(), namespace_name: self.namespace() }
    }

    pub fn network_dir(&self) -> PathBuf {
        self.state.path().join("networks").join(self.namespace())
    }

    /// The process that serves the network.
    pub fn dnsmasq(&self) -> i32 {
        let pids = processes(&self.namespace());
        assert_eq!(pids.len(), 1, "dnsmasq: {pids:?}");
        pids[0]
    }

    /// A machine whose interface `eth0` is plugged into the bridge as `port`.
    pub async fn machine(&mut self, port: &str, mac: &str) -> Namespace {
        let name = format!("{}-{port}", self.id);
        let machine = netns::create(&name).await.unwrap();
        self.names.push(name.clone());
        ip(&format!("link add {port} type veth peer name eth0 address {mac} netns {name}")).await;
        ip(&format!("link set {port} master br0 up")).await;
        ip(&format!("-n {name} link set lo up")).await;
        ip(&format!("-n {name} link set eth0 up")).await;
        machine
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill_agent();
        }
        for pid in processes(&self.namespace()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let mut names = std::mem::take(&mut self.names);
        names.push(self.namespace());
        for name in names {
            let path = PathBuf::from(netns::DIR).join(name);
            let _ = nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Processes whose command line holds `text`, this one and the agent left out.
pub fn processes(text: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    let line = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&line(pid)).contains(text)).collect()
}

/// `ip` with these words, in the lab's namespace.
pub async fn ip(words: &str) -> String {
    program("ip").args(words.split(' ')).text().await.unwrap()
}

/// Runs a program inside a machine.
pub async fn run_in(machine: &Namespace, name: &str, args: &[&str]) -> Result<String, String> {
    let runtime = Handle::current();
    let program = program(name).args(args).limit(Duration::from_secs(20));
    let ended = machine.within(move || Ok(runtime.block_on(program.text()))).await;
    ended.unwrap().map_err(|error| error.to_string())
}
