//! A whole cloud on one machine, with every part real: libvirt, QEMU, bridges, dnsmasq, controller and agents.
//!
//! Two [`Shape`]s. [`Shape::Here`] is the demo: one host in the network that the lab runs in, programs on
//! loopback at their usual ports, so that a person's browser reaches them. [`Shape::Apart`] is for tests: the
//! controller and every host have a network of their own, so that many clouds stand side by side.
//!
//! ```text
//! Here:   host (= this machine)                          Apart:  front ── management ── host 1, host 2, …
//!         all programs on 127.0.0.1                              controller, storage-agent, console-proxy
//!         <prefix>0 ── veth ── outside (the gateway)             hosts: libvirt, kvm-agent, vrouter-agent
//!                                                                outside (the gateway) ── eth1 of every host
//! ```

mod enrolment;
mod ground;
mod leftovers;
mod programs;
mod site;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::json;

pub use ground::{GATEWAY, SHARE_URL, Shape};
pub use programs::{Program, Status};
pub use site::Vm;

use crate::api::Api;
use crate::http::Client;
use crate::lab::program::run;
use crate::lab::{Daemon, Lab, Libvirt, Network};
use crate::site::Site;
use ground::Ground;
use leftovers::Before;
use programs::Programs;

/// What a cloud shall be like.
#[derive(Clone)]
pub struct Plan {
    /// Emptied and filled.
    pub dir: PathBuf,
    /// Starts the names of its networks and interfaces.
    pub prefix: String,
    pub shape: Shape,
    /// Where the programs lie.
    pub programs: PathBuf,
    /// The guest image that its VMs boot.
    pub image: PathBuf,
    /// Told what is about to be done.
    pub narrator: Narrator,
}

pub type Narrator = Arc<dyn Fn(&str) + Send + Sync>;

pub const ACCOUNT: &str = "admin";
pub const PASSWORD: &str = "password";

/// A running cloud. Dropping it cuts its power; [`Cloud::tear_down`] is the orderly end.
pub struct Cloud {
    // In the order in which they must be dropped.
    programs: Programs,
    ground: Ground,
    lab: Lab,
    before: Before,
    plan: Plan,
    api: Api,
    site: Site,
}

impl Cloud {
    /// Starts everything and makes zone, cluster, hosts, storage, image, networks and an offering by the API.
    pub async fn start(plan: Plan) -> Result<Self> {
        let narrate = plan.narrator.clone();
        narrate("machines and networks");
        let lab = Lab::open(&plan.dir, &plan.prefix)?;
        let before = Before::look(&plan.shape)?;
        let ground = Ground::make(&lab, &plan.shape)?;
        let (programs, api) = Programs::start(&lab, &ground, &plan).await?;
        let site = site::furnish(&api, &ground, &plan).await?;
        Ok(Self { programs, ground, lab, before, plan, api, site })
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    pub fn programs_mut(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// What runs on the cloud's machines besides its programs: their numbers and first words.
    pub fn others(&self) -> Result<Vec<(i32, String)>> {
        let mut all = Vec::new();
        for machine in &self.ground.machines {
            all.extend(leftovers::others(machine, &self.programs)?);
        }
        Ok(all)
    }

    /// `kill -9` of a program, by its name and the machine it is on.
    pub async fn kill(&mut self, name: &str, on: &str) -> Result<()> {
        self.programs.get(name, on)?.kill().await
    }

    /// Starts a program that was killed, and waits until it listens.
    pub async fn start_again(&mut self, name: &str, on: &str) -> Result<()> {
        self.programs.start_again(name, on, &self.ground).await
    }

    /// Starts another program where the controller is.
    pub fn beside_the_controller(&self, name: &str, command: std::process::Command) -> Result<Daemon> {
        self.ground.machine(self.ground.front()).daemon(name, command)
    }

    /// A client where the controller is.
    pub fn client(&self) -> Client {
        Client { network: self.ground.front().network.clone() }
    }

    /// What the agents say they have made, as `kind name`.
    pub async fn inventory(&self) -> Result<Vec<String>> {
        let owned = self.programs.inventories(&self.ground).await?;
        Ok(owned.into_iter().map(|owned| format!("{} {}", owned.kind, owned.name)).collect())
    }

    /// `virsh <args>` on a host, by somebody who knows nothing of the cloud.
    pub fn virsh(&self, host: &str, args: &[&str]) -> Result<String> {
        let uri = Libvirt::uri(self.ground.machine(&self.host(host)?.place));
        run("virsh", ["-c", &uri].iter().chain(args))
    }

    /// What a host has mounted, as the kernel tells it.
    pub fn mounts(&self, host: &str) -> Result<String> {
        let first = self.ground.machine(&self.host(host)?.place).first();
        Ok(std::fs::read_to_string(format!("/proc/{}/mountinfo", first.pid))?)
    }

    /// `ip <args>` on a host.
    pub fn ip(&self, host: &str, args: &[&str]) -> Result<String> {
        let network = self.host(host)?.place.network.as_ref();
        network.context("the host has no network of its own")?.ip(args.iter().copied())
    }

    /// Where a host keeps volumes: as it says, and as the test reaches it.
    pub fn volumes(&self, host: &str) -> Result<(PathBuf, PathBuf)> {
        let place = self.plan.dir.join(ground::PRIMARY);
        let machine = self.ground.machine(&self.host(host)?.place);
        Ok((place, machine.dir().join("primary")))
    }

    /// What all hosts have mounted: as they say, and as the test reaches it.
    pub fn shared(&self) -> Result<(PathBuf, PathBuf)> {
        let share = self.ground.share.as_ref().context("the hosts of this shape share nothing")?;
        Ok((self.plan.dir.join(ground::SHARED), share.dir().to_owned()))
    }

    fn host(&self, name: &str) -> Result<&ground::Host> {
        let found = self.ground.hosts.iter().find(|host| host.name == name);
        found.with_context(|| format!("there is no host {name}"))
    }

    /// Where the gateway of the VMs' network lives: what answers there answers the world.
    pub fn outside(&self) -> &Network {
        &self.ground.outside
    }

    /// Creates a VM on the cloud's network and waits until it runs.
    pub async fn create_vm(&self, name: &str) -> Result<Vm> {
        self.site.create_vm(&self.api, name).await
    }

    /// Asks for a VM and does not wait: where its job is.
    pub async fn begin_vm(&self, name: &str) -> Result<String> {
        let body = json!({ "params": self.site.vm(name) });
        self.api.begin(Method::POST, "/vm-instances", body).await
    }

    /// Waits until the guest itself answers over its network: what it says.
    pub async fn guest_answers(&self, vm: &Vm) -> Result<String> {
        site::guest_answers(&self.ground.outside, vm, Duration::from_secs(120)).await
    }

    /// The same, asked from a host: for networks that do not lead outside.
    pub async fn guest_answers_on(&self, host: &str, vm: &Vm) -> Result<String> {
        let network = self.host(host)?.place.network.as_ref();
        let network = network.context("the host has no network of its own")?;
        site::guest_answers(network, vm, Duration::from_secs(120)).await
    }

    /// A fresh address at which a browser shows the VM's screen, once.
    pub async fn console(&self, vm: &Vm) -> Result<String> {
        site::console(&self.api, vm).await
    }

    /// Deletes all through the API, ends the programs, and fails when anything is left anywhere.
    pub async fn tear_down(mut self) -> Result<()> {
        let narrate = self.plan.narrator.clone();
        let owned = self.programs.inventories(&self.ground).await?;
        narrate("deleting the zone with everything in it");
        self.site.delete(&self.api).await?;
        narrate("looking for what is left");
        let left = self.inventory().await?;
        anyhow::ensure!(left.is_empty(), "the agents' inventories still hold {}", left.join(", "));
        self.before.nothing_left(&owned, &self.ground, &self.programs).await?;
        narrate("ending the programs");
        self.programs.stop().await?;
        let Self { programs, ground, lab, .. } = self;
        drop(programs);
        drop(ground);
        lab.close().context("the lab's own parts do not go")
    }

    /// The directory with logs and state.
    pub fn dir(&self) -> &Path {
        self.lab.dir()
    }
}
