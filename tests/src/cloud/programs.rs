//! The programs of a cloud: their configuration, their order, their logs.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use toml::{Table, toml};

use super::enrolment::{self, Auditor};
use super::ground::{Ground, Host, Place, Shape};
use super::{ACCOUNT, PASSWORD, Plan};
use crate::api::Api;
use crate::http::Client;
use crate::lab::program::command;
use crate::lab::{Daemon, Lab, Machine};

const API: u16 = 8080;
const AGENTS: u16 = 8081;
const KVM_AGENT: u16 = 7070;
const STORAGE_AGENT: u16 = 7171;
const VROUTER_AGENT: u16 = 7272;
const CONSOLE_PROXY: u16 = 7758;
const CONSOLE: u16 = 4900;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// One program: what it is, and the process while it runs.
#[derive(Debug)]
pub struct Program {
    /// Such as `kvm-agent`, on the host named by `on`.
    pub name: String,
    pub on: String,
    machine: usize,
    binary: PathBuf,
    config: PathBuf,
    listen: SocketAddr,
    daemon: Option<Daemon>,
}

/// A line of the table of what runs where.
#[derive(Debug)]
pub struct Status {
    pub name: String,
    pub on: String,
    pub pid: u32,
    pub listen: Option<SocketAddr>,
    pub log: PathBuf,
}

#[derive(Debug)]
pub struct Programs {
    programs: Vec<Program>,
    libvirts: Vec<(String, Daemon)>,
    api: SocketAddr,
    auditor: Option<Auditor>,
}

/// Something that an agent says it made.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Owned {
    pub kind: String,
    pub name: String,
    /// The host whose agent says so.
    #[serde(skip)]
    pub host: usize,
}

impl Programs {
    /// Starts all, the controller first, has the machines enrol, and waits until each program listens: with
    /// the administrator's session.
    pub(super) async fn start(lab: &Lab, ground: &Ground, plan: &Plan) -> Result<(Self, Api)> {
        if plan.shape == Shape::Here {
            ports_are_free()?;
        }
        (plan.narrator)("libvirt");
        let mut libvirts = Vec::new();
        for host in &ground.hosts {
            let daemon = host.libvirt.start(ground.machine(&host.place)).await?;
            libvirts.push((host.name.clone(), daemon));
        }
        let api = SocketAddr::from((ground.front().address, API));
        let mut all = Self { programs: described(lab, ground, plan)?, libvirts, api, auditor: None };
        let (controller, agents) = all.programs.split_first_mut().context("there is no program")?;
        controller.begin(ground, plan).await?;
        (plan.narrator)("login");
        let client = Client { network: ground.front().network.clone() };
        let session = Api::login(client, &format!("http://{api}/zstack/v1"), ACCOUNT, PASSWORD).await;
        let session = session.context("cannot log in")?;
        let at = SocketAddr::from((ground.front().address, AGENTS));
        all.auditor = Some(enrolment::enrol(&session, ground, plan, at).await?);
        for agent in agents {
            agent.begin(ground, plan).await?;
        }
        Ok((all, session))
    }

    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// What runs where.
    pub fn status(&self) -> Vec<Status> {
        let libvirts = self.libvirts.iter().map(|(on, daemon)| status("libvirtd", on, None, daemon));
        let running = |program: &Program| {
            let daemon = program.daemon.as_ref()?;
            Some(status(&program.name, &program.on, Some(program.listen), daemon))
        };
        libvirts.chain(self.programs.iter().filter_map(running)).collect()
    }

    /// A program by its name and the machine it is on, to kill it and to start it again.
    pub fn get(&mut self, name: &str, on: &str) -> Result<&mut Program> {
        let found = self.programs.iter_mut().find(|program| program.name == name && program.on == on);
        found.with_context(|| format!("no program {name} on {on}"))
    }

    /// Starts a program that was killed, and waits until it listens.
    pub(super) async fn start_again(&mut self, name: &str, on: &str, ground: &Ground) -> Result<()> {
        let program = self.get(name, on)?;
        program.start(&ground.machines[program.machine])?;
        program.listens(ground).await
    }

    /// What the hosts' agents say they made.
    pub(super) async fn inventories(&self, ground: &Ground) -> Result<Vec<Owned>> {
        let auditor = self.auditor.as_ref().context("nobody has enrolled")?;
        let mut all = Vec::new();
        for program in self.programs.iter().filter(|program| program.name.ends_with("-agent")) {
            let answer = auditor.get(ground.front().network.as_ref(), program.listen, "/inventory")?;
            for owned in answer["owned"].as_array().into_iter().flatten() {
                let owned: Owned = serde_json::from_value(Value::clone(owned))
                    .with_context(|| format!("{} says what is no inventory: {owned}", program.name))?;
                all.push(Owned { host: program.machine, ..owned });
            }
        }
        Ok(all)
    }

    /// Fails, with its last words, when one has ended.
    pub fn must_live(&mut self) -> Result<()> {
        self.libvirts.iter_mut().try_for_each(|(_, daemon)| daemon.must_live())?;
        self.programs.iter_mut().filter_map(|program| program.daemon.as_mut()).try_for_each(Daemon::must_live)
    }

    /// The numbers of all that run, as the lab sees them.
    pub fn pids(&self) -> Vec<u32> {
        self.status().into_iter().map(|status| status.pid).collect()
    }

    /// Ends all, the controller first, and fails when one does not end well.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for program in &mut self.programs {
            program.stop().await?;
        }
        for (on, daemon) in &mut self.libvirts {
            daemon.stop(STOP).await.with_context(|| format!("on {on}"))?;
        }
        Ok(())
    }
}

fn status(name: &str, on: &str, listen: Option<SocketAddr>, daemon: &Daemon) -> Status {
    let (name, on, log) = (name.to_owned(), on.to_owned(), daemon.log().to_owned());
    Status { name, on, pid: daemon.pid(), listen, log }
}

impl Program {
    async fn begin(&mut self, ground: &Ground, plan: &Plan) -> Result<()> {
        (plan.narrator)(&format!("{} on {}", self.name, self.on));
        self.start(&ground.machines[self.machine])?;
        self.listens(ground).await
    }

    /// Starts it, also again.
    pub fn start(&mut self, machine: &Machine) -> Result<()> {
        if !self.binary.exists() {
            bail!("{} is not built: run cargo build", self.binary.display());
        }
        let binary = self.binary.to_string_lossy();
        let mut command = command(&binary, ["--config".as_ref(), self.config.as_os_str()]);
        command.env("NO_COLOR", "1");
        self.daemon = Some(machine.daemon(&self.name, command)?);
        Ok(())
    }

    /// Waits until it listens.
    async fn listens(&mut self, ground: &Ground) -> Result<()> {
        let client = Client { network: ground.front().network.clone() };
        let patience = Instant::now() + START;
        while client.connect(self.listen, Duration::from_secs(2)).await.is_err() {
            let daemon = self.daemon.as_mut().with_context(|| format!("{} is not started", self.name))?;
            daemon.must_live()?;
            if Instant::now() > patience {
                bail!("{} does not listen at {}:\n{}", self.name, self.listen, daemon.last_words(20));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(mut daemon) => daemon.kill().await,
            None => bail!("{} on {} does not run", self.name, self.on),
        }
    }

    async fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        daemon.must_live()?;
        let status = daemon.stop(STOP).await?;
        if !status.success() {
            bail!("{} on {} ended badly ({status}):\n{}", self.name, self.on, daemon.last_words(20));
        }
        Ok(())
    }
}

/// A name in use would be a riddle later.
fn ports_are_free() -> Result<()> {
    for port in [API, AGENTS, KVM_AGENT, STORAGE_AGENT, VROUTER_AGENT, CONSOLE_PROXY, CONSOLE] {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("port {port} is needed here: end what listens there"))?;
    }
    Ok(())
}

fn described(lab: &Lab, ground: &Ground, plan: &Plan) -> Result<Vec<Program>> {
    let front = ground.front();
    let on_front = |name, port, config| described_one(ground, plan, front, "front", name, port, config);
    let mut all = vec![on_front("controller", API, controller(front))?];
    all.push(on_front("storage-agent", STORAGE_AGENT, storage_agent(front, plan)?)?);
    for host in &ground.hosts {
        let on_host =
            |name, port, config| described_one(ground, plan, &host.place, &host.name, name, port, config);
        all.push(on_host("kvm-agent", KVM_AGENT, kvm_agent(host, plan))?);
        all.push(on_host("vrouter-agent", VROUTER_AGENT, vrouter_agent(host))?);
    }
    all.push(on_front("console-proxy", CONSOLE_PROXY, console_proxy(front))?);
    lab.make_dir("backup")?;
    Ok(all)
}

fn described_one(
    ground: &Ground,
    plan: &Plan,
    place: &Place,
    on: &str,
    name: &str,
    port: u16,
    mut config: Table,
) -> Result<Program> {
    let dir = ground.machine(place).dir();
    let state = dir.join(name);
    fs::create_dir_all(&state)?;
    config.insert("state-dir".into(), shown(&state)?.into());
    if name != "controller" {
        let tls = enrolment::tls_dir(ground.machine(place));
        config.insert("tls-dir".into(), shown(&tls)?.into());
    }
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, toml::to_string(&config)?)?;
    Ok(Program {
        name: name.to_owned(),
        on: on.to_owned(),
        machine: place.machine,
        binary: plan.programs.join(format!("cumulet-{name}")),
        config: path,
        listen: (place.address, port).into(),
        daemon: None,
    })
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn at(place: &Place, port: u16) -> String {
    let mut text = String::new();
    let _infallible = write!(text, "{}:{port}", place.address);
    text
}

fn storage_agent(front: &Place, plan: &Plan) -> Result<Table> {
    let listen = at(front, STORAGE_AGENT);
    let images = shown(plan.image.parent().context("the guest image lies nowhere")?)?;
    Ok(toml! {
        listen = listen
        import-dirs = [images]
    })
}

fn kvm_agent(host: &Host, plan: &Plan) -> Table {
    let listen = at(&host.place, KVM_AGENT);
    // The demo shows what the agent finds out; tests have no time for it.
    let (virt_type, transport) = if plan.shape == Shape::Here { ("auto", "tls") } else { ("qemu", "tcp") };
    toml! {
        listen = listen
        libvirt-uri = "qemu:///system"
        virt-type = virt_type
        migration-transport = transport
    }
}

fn vrouter_agent(host: &Host) -> Table {
    let listen = at(&host.place, VROUTER_AGENT);
    // The lab's directory may lie where only root can go.
    toml! {
        listen = listen
        dnsmasq-user = "root"
    }
}

fn console_proxy(front: &Place) -> Table {
    let listen = at(front, CONSOLE_PROXY);
    let browsers = at(front, CONSOLE);
    toml! {
        listen = listen
        web-listen = browsers
    }
}

fn controller(front: &Place) -> Table {
    let listen = at(front, API);
    let agents = at(front, AGENTS);
    let proxy = front.address.to_string();
    toml! {
        listen = listen
        agents-listen = agents
        admin-password = PASSWORD

        [console]
        proxy-address = proxy
    }
}
