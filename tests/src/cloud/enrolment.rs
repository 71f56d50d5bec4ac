//! The cloud's machines enrol with its controller as an operator would have them do it: a token from the
//! API, handed to the agents' program on the machine. One more machine is an auditor: the tests themselves,
//! who look at what the agents say of themselves.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Plan;
use super::ground::{Ground, Shape};
use crate::api::{Api, text};
use crate::lab::program::{command, run};
use crate::lab::{Machine, Network};

/// Nobody is reached there: the auditor serves nothing.
const AUDITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);
const ENROL: Duration = Duration::from_secs(60);

/// Where a machine's identity lies.
pub(super) fn tls_dir(machine: &Machine) -> PathBuf {
    machine.dir().join("tls")
}

/// Who looks at the agents, and by which names they go.
#[derive(Debug)]
pub(super) struct Auditor {
    identity: PathBuf,
    authorities: PathBuf,
    /// By address.
    machines: HashMap<Ipv4Addr, String>,
}

/// Enrols all machines.
pub(super) async fn enrol(api: &Api, ground: &Ground, plan: &Plan, at: SocketAddr) -> Result<Auditor> {
    let hands = Hands { api, controller: format!("https://{at}"), plan };
    let front = ground.front();
    let own: &[&str] = match plan.shape {
        Shape::Here => &["storage", "console-proxy", "host"],
        Shape::Apart { .. } => &["storage", "console-proxy"],
    };
    let machine = ground.machine(front);
    hands.enrol(machine, front.address, own, &tls_dir(machine)).await?;
    if plan.shape != Shape::Here {
        for host in &ground.hosts {
            let machine = ground.machine(&host.place);
            hands.enrol(machine, host.place.address, &["host"], &tls_dir(machine)).await?;
        }
    }
    let dir = machine.dir().join("auditor");
    hands.enrol(machine, AUDITOR, &["auditor"], &dir).await?;
    Auditor::new(&dir, &api.get("/machines").await?)
}

struct Hands<'a> {
    api: &'a Api,
    controller: String,
    plan: &'a Plan,
}

impl Hands<'_> {
    async fn enrol(&self, on: &Machine, address: Ipv4Addr, roles: &[&str], dir: &Path) -> Result<()> {
        (self.plan.narrator)(&format!("{} enrols as {}", on.name(), roles.join(", ")));
        let made = self.api.create("/enrolment-tokens", json!({ "name": on.name(), "roles": roles })).await?;
        let token = on.dir().join("token");
        fs::write(&token, text(&made, "/token")?)?;
        let program = self.plan.programs.join("cumulet-kvm-agent");
        let (address, dir) = (address.to_string(), dir.to_string_lossy());
        let args = ["enrol", "--controller", &self.controller, "--address", &address, "--tls-dir", &dir];
        let mut command = command(&program.to_string_lossy(), args);
        command.stdin(File::open(&token)?);
        let mut enrols = on.daemon("enrol", command)?;
        let status = enrols.wait(ENROL).await?;
        fs::remove_file(&token)?;
        if !status.success() {
            bail!("{} does not enrol ({status}):\n{}", on.name(), enrols.last_words(20));
        }
        Ok(())
    }
}

impl Auditor {
    fn new(dir: &Path, machines: &Value) -> Result<Self> {
        let mut known = HashMap::new();
        for machine in machines["inventories"].as_array().into_iter().flatten() {
            known.insert(text(machine, "/address")?.parse()?, text(machine, "/uuid")?.to_owned());
        }
        Ok(Self { identity: dir.join("identity.pem"), authorities: dir.join("ca.pem"), machines: known })
    }

    /// What the agent at `address` says at `path`, asked from within `network`.
    pub fn get(&self, network: Option<&Network>, address: SocketAddr, path: &str) -> Result<Value> {
        let SocketAddr::V4(v4) = address else { bail!("{address} is no address of a lab") };
        let machine = self.machines.get(v4.ip()).with_context(|| format!("nobody enrolled at {address}"))?;
        let name = format!("{}.{machine}.machine.cumulet", v4.ip().to_string().replace('.', "-"));
        let (identity, authorities) = (self.identity.to_string_lossy(), self.authorities.to_string_lossy());
        let (url, port) = (format!("https://{name}:{}{path}", address.port()), address.port());
        let there = format!("{name}:{port}:{}:{port}", v4.ip());
        let curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*"];
        let proof = ["--cert", &identity, "--key", &identity, "--cacert", &authorities];
        let inside = network.map_or(vec![], |network| vec!["ip", "netns", "exec", network.name()]);
        let all = [&inside[..], &curl, &proof, &["--connect-to", &there, &url]].concat();
        let said = run(all[0], &all[1..])?;
        serde_json::from_str(&said).with_context(|| format!("{url} says what is no JSON: {said}"))
    }
}
