//! A host without a hypervisor: its agents speak the real wire and keep in memory what commands make.
//!
//! A test looks at what is there ([`State`]), counts what was carried out, and lays traps: when a command
//! arrives, or when its effect has happened and its outcome is not yet told, something is done (a
//! controller is killed), and the command may be made to fail.

mod devices;
mod effect;
mod ha;
mod kvm;
mod layers;
mod manners;
mod migration;
mod nfs;
mod share;
mod storage;
mod vrouter;
mod vxlan;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::agent::{Agent, Cx, Machine, Owned, Routes};
use wire::tls::Live;
use wire::{Call, Fault};

pub use effect::Effect;
pub use manners::Manners;
pub use share::Share;
pub use vxlan::Tunnel;

/// What commands have made so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub known_as: String,
    /// State by VM.
    pub domains: BTreeMap<String, String>,
    /// L2 network by name.
    pub bridges: BTreeMap<String, String>,
    /// What carries VXLANs, by network.
    #[serde(default)]
    pub tunnels: BTreeMap<String, Tunnel>,
    pub volumes: BTreeSet<String>,
    /// Data volumes of running VMs: `<vm> <volume>`.
    #[serde(default)]
    pub disks: BTreeSet<String>,
    /// What files stand on, of those that were made upon others.
    #[serde(default)]
    pub layers: BTreeMap<String, String>,
    /// The file that a running VM has open of a volume, by `<vm> <volume>`.
    #[serde(default)]
    pub open: BTreeMap<String, String>,
    /// NICs that were plugged into running VMs: `<vm> <nic>`.
    #[serde(default)]
    pub nics: BTreeSet<String>,
    /// What lies in the drives of running VMs: `<vm> <drive> <path>`.
    #[serde(default)]
    pub cd_roms: BTreeSet<String>,
    /// CPUs and bytes of running VMs, and how many of both they may be given.
    #[serde(default)]
    pub sizes: BTreeMap<String, [u64; 4]>,
    /// NICs of running VMs whose links are down.
    #[serde(default)]
    pub down: BTreeSet<String>,
    /// The bridges of the NICs of running VMs.
    #[serde(default)]
    pub plugs: BTreeMap<String, String>,
    /// Shares of running VMs that were told theirs.
    #[serde(default)]
    pub shares: BTreeMap<String, u64>,
    /// What the discs say that tell guests who they are, by VM.
    #[serde(default)]
    pub seeds: BTreeMap<String, String>,
    /// What each VM that runs was told to boot from, by what firmware, to ask for at its screen, to sound by, and
    /// what its clock follows.
    #[serde(default)]
    pub boots: BTreeMap<String, String>,
    pub cache: BTreeSet<String>,
    /// Directories that were asked for, and whose storage directories are.
    #[serde(default)]
    pub folders: BTreeSet<String>,
    /// The storages on which the fencer renews leases.
    #[serde(default)]
    pub fencers: BTreeSet<String>,
    #[serde(default)]
    pub marks: BTreeMap<String, String>,
    /// Shares that the host was told to mount, by path.
    #[serde(default)]
    pub mounts: BTreeMap<String, String>,
    /// What other hosts have open of what is shared with them.
    #[serde(skip)]
    pub elsewhere: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
    /// L3 network by MAC.
    pub leases: BTreeMap<String, String>,
    /// The same for all networks that serve a MAC: `<mac> <l3 network>`.
    #[serde(default)]
    pub served: BTreeSet<String>,
    /// What guests are told to be called, by MAC.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// What guests are told besides their addresses: `<mac> dns 10.0.0.1`, `<mac> domain example.org`.
    pub told: BTreeSet<String>,
    /// Taps that nothing made.
    pub taps: BTreeSet<String>,
    pub images: BTreeSet<String>,
    /// Images that were brought and not yet taken.
    #[serde(default)]
    pub brought: BTreeSet<String>,
    /// The backup storages that are open.
    pub stores: BTreeSet<String>,
    /// What commands of others make ([`Host::start_also`]).
    #[serde(default)]
    pub others: BTreeSet<String>,
}

/// When a trap springs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The command has arrived and has had no effect.
    Before,
    /// The effect has happened, the outcome is not told.
    After,
}

struct Trap {
    path: &'static str,
    moment: Moment,
    spring: Box<dyn FnOnce() + Send>,
}

/// How large a host says it is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
}

impl Default for Size {
    fn default() -> Self {
        Size { cpus: 8, memory: 64 << 30 }
    }
}

/// Where the agents of a host shall listen; 0 is a port of the system's choice.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub address: IpAddr,
    pub kvm: u16,
    pub vrouter: u16,
    pub storage: u16,
    /// Below it the agents keep their journals; by default where temporary files are.
    pub journals: Option<&'static Path>,
    /// What it has mounted with others.
    pub share: Option<&'static Share>,
}

impl Default for Place {
    fn default() -> Self {
        Place {
            address: Ipv4Addr::LOCALHOST.into(),
            kvm: 0,
            vrouter: 0,
            storage: 0,
            journals: None,
            share: None,
        }
    }
}

/// What one host has, and how it behaves.
#[derive(Default)]
pub struct World {
    size: Size,
    state: Mutex<State>,
    traps: Mutex<Vec<Trap>>,
    refusals: Mutex<BTreeMap<&'static str, String>>,
    effects: Mutex<Vec<Effect>>,
    manners: Manners,
    share: Option<&'static Share>,
    address: Option<IpAddr>,
    health: ha::Health,
}

/// Where VMs move to: all hosts of this process, by their addresses.
static HOSTS: Mutex<BTreeMap<IpAddr, Weak<World>>> = Mutex::new(BTreeMap::new());

/// The host at this address.
fn neighbour(address: &str) -> Result<Arc<World>, Fault> {
    let known = address.parse().ok().and_then(|address| lock(&HOSTS).get(&address).and_then(Weak::upgrade));
    known.ok_or_else(|| Fault::new(format!("there is no host at {address:?}")))
}

/// By where their storage-agents listen: hosts of several tests may have one address.
static STORES: Mutex<BTreeMap<SocketAddr, Weak<World>>> = Mutex::new(BTreeMap::new());

/// The host whose images are brought to `address:port`.
fn store(address: &str) -> Result<Arc<World>, Fault> {
    let known = address.parse().ok().and_then(|at| lock(&STORES).get(&at).and_then(Weak::upgrade));
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    known.map_or_else(|| neighbour(host), Ok)
}

/// The agents of a host. Dropping it takes them away.
pub struct Host {
    pub world: Arc<World>,
    pub kvm: SocketAddr,
    pub vrouter: SocketAddr,
    pub storage: SocketAddr,
    stop: DropGuard,
    live: Option<Live>,
    /// Of its agents, in the order of their addresses.
    dirs: Vec<TempDir>,
}

impl World {
    pub fn state(&self) -> State {
        self.here().clone()
    }

    /// When the next command comes to `path`, `spring` is called at that moment, once.
    pub fn trap(&self, path: &'static str, moment: Moment, spring: impl FnOnce() + Send + 'static) {
        lock(&self.traps).push(Trap { path, moment, spring: Box::new(spring) });
    }

    /// Whether every trap has sprung.
    pub fn sprung(&self) -> bool {
        lock(&self.traps).is_empty()
    }

    /// Commands to `path` fail with this from now on.
    pub fn refuse(&self, path: &'static str, error: &str) {
        lock(&self.refusals).insert(path, error.to_owned());
    }

    pub fn obey(&self) {
        lock(&self.refusals).clear();
    }

    /// How often commands to `path` were carried out.
    pub fn count(&self, path: &str) -> usize {
        lock(&self.effects).iter().filter(|effect| effect.path == path).count()
    }

    /// Everything that was carried out, in order.
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.effects).clone()
    }

    fn refusal(&self, path: &str) -> Option<String> {
        lock(&self.refusals).get(path).cloned().or_else(|| self.manners.refusal(path))
    }

    fn note(&self, effect: Effect) {
        lock(&self.effects).push(effect);
    }

    /// Changes what is there behind everybody's back.
    pub fn meddle(&self, change: impl FnOnce(&mut State)) {
        let (mut files, host) = (self.share.map(Share::files), self.number());
        let mut state = lock(&self.state);
        if let (Some(share), Some(files)) = (self.share, &files) {
            share.show(files, &mut state, host);
        }
        change(&mut state);
        if let (Some(share), Some(files)) = (self.share, &mut files) {
            share.take(files, &state, host);
        }
    }

    /// As it is now, with what is shared.
    fn here(&self) -> MutexGuard<'_, State> {
        let files = self.share.map(Share::files);
        let mut state = lock(&self.state);
        if let (Some(share), Some(files)) = (self.share, &files) {
            share.show(files, &mut state, self.number());
        }
        state
    }

    /// Others see what it has open.
    fn settle(&self) {
        if let Some(share) = self.share {
            let (mut files, state) = (share.files(), lock(&self.state));
            share.note_open(&mut files, &state, self.number());
        }
    }

    /// Which of the hosts it is.
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The paths of all commands that were carried out, in order.
    pub fn carried_out(&self) -> Vec<String> {
        lock(&self.effects).iter().map(|effect| effect.path.clone()).collect()
    }

    fn spring(&self, path: &str, moment: Moment) {
        let sprung = {
            let mut traps = lock(&self.traps);
            let at = traps.iter().position(|trap| trap.path == path && trap.moment == moment);
            at.map(|at| traps.remove(at))
        };
        if let Some(trap) = sprung {
            (trap.spring)();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds a world")
}

/// Something that carries a mark.
fn owned(kind: &str, name: &str, mark: &str) -> Owned {
    Owned { kind: kind.to_owned(), name: name.to_owned(), resource: Some(mark.to_owned()) }
}

/// Carries a command out, with traps, delays and refusals.
pub async fn obey<C: Call>(
    cx: &Cx<World>,
    effect: impl FnOnce(&mut State) -> Result<C::Reply, Fault>,
) -> Result<C::Reply, Fault> {
    cx.spring(C::PATH, Moment::Before);
    cx.manners.pause().await;
    if let Some(error) = cx.refusal(C::PATH) {
        return Err(Fault::new(error));
    }
    let reply = {
        let (mut files, host) = (cx.share.map(Share::files), cx.number());
        let mut state = lock(&cx.state);
        if let (Some(share), Some(files)) = (cx.share, &files) {
            share.show(files, &mut state, host);
        }
        let begun = Effect::begun(cx.task(), &state);
        let reply = effect(&mut state);
        if let (Some(share), Some(files)) = (cx.share, &mut files) {
            share.take(files, &state, host);
        }
        cx.note(Effect { done: reply.is_ok(), ..begun });
        reply
    };
    cx.spring(C::PATH, Moment::After);
    cx.manners.pause().await;
    reply
}

impl Host {
    /// Soon nobody answers at its addresses any more; what it had is still to be looked at.
    pub fn goes_down(self) -> Arc<World> {
        self.stop.disarm().cancel();
        self.world
    }

    /// All its agents on loopback, at ports of the system's choice.
    pub async fn start() -> std::io::Result<Host> {
        Host::start_at(Place::default(), Size::default()).await
    }

    pub async fn start_at(place: Place, size: Size) -> std::io::Result<Host> {
        Host::start_as(None, place, size).await
    }

    pub async fn start_with(place: Place, size: Size, manners: Manners) -> std::io::Result<Host> {
        Host::made(None, place, World { size, manners, ..World::default() }, |routes| routes).await
    }

    /// A machine that goes by this identity; plain without one.
    pub async fn start_as(live: Option<Live>, place: Place, size: Size) -> std::io::Result<Host> {
        Host::made(live, place, World { size, ..World::default() }, |routes| routes).await
    }

    /// One whose kvm-agent obeys more commands than those of the tree.
    pub async fn start_also(place: Place, also: fn(Routes<World>) -> Routes<World>) -> std::io::Result<Host> {
        Host::made(None, place, World::default(), also).await
    }

    async fn made(
        live: Option<Live>,
        place: Place,
        world: World,
        also: fn(Routes<World>) -> Routes<World>,
    ) -> std::io::Result<Host> {
        let world = Arc::new(World { share: place.share, address: Some(place.address), ..world });
        lock(&HOSTS).insert(place.address, Arc::downgrade(&world));
        let (stop, mut dirs) = (CancellationToken::new(), Vec::new());
        let mut at = |port| -> std::io::Result<_> {
            let dir = place.journals.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
            let path = dir.path().to_owned();
            dirs.push(dir);
            Ok((SocketAddr::new(place.address, port), path))
        };
        let kvm = serve(&live, at(place.kvm)?, also(kvm::routes(&world)), &stop).await?;
        let vrouter = serve(&live, at(place.vrouter)?, vrouter::routes(&world), &stop).await?;
        let storage = serve(&live, at(place.storage)?, storage::routes(&world), &stop).await?;
        lock(&STORES).insert(storage, Arc::downgrade(&world));
        Ok(Host { world, kvm, vrouter, storage, stop: stop.drop_guard(), live, dirs })
    }

    /// Nobody reaches its agents any more; what it has goes on.
    pub fn is_cut_off(&mut self) {
        self.stop = CancellationToken::new().drop_guard();
    }

    /// Its agents, those of the tree, answer again where they did.
    pub async fn is_reached_again(&mut self) -> std::io::Result<()> {
        let (stop, began) = (CancellationToken::new(), std::time::Instant::now());
        let [kvm, vrouter, storage] = [0, 1, 2].map(|n: usize| self.dirs[n].path().to_owned());
        // The port is free when the last answer has left.
        while let Err(error) = TcpListener::bind(self.kvm).await {
            if began.elapsed() > std::time::Duration::from_secs(20) {
                return Err(error);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        serve(&self.live, (self.kvm, kvm), kvm::routes(&self.world), &stop).await?;
        serve(&self.live, (self.vrouter, vrouter), vrouter::routes(&self.world), &stop).await?;
        serve(&self.live, (self.storage, storage), storage::routes(&self.world), &stop).await?;
        self.stop = stop.drop_guard();
        Ok(())
    }
}

async fn serve(
    live: &Option<Live>,
    (at, state_dir): (SocketAddr, PathBuf),
    routes: Routes<World>,
    stop: &CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let agent = Agent { name: "simulated", state_dir, again: false };
    let (live, machine, stop) = (live.clone(), Machine::here()?, stop.clone());
    tokio::spawn(async move { agent.serve_on(listener, live, machine, routes, stop).await });
    Ok(address)
}
