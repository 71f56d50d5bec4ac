//! Hosts without hypervisors, on the real wire: a kvm-agent and a vrouter-agent each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine::{Any, Id, args};
use serde_json::json;
use wire::Fault;
use wire::agent::{Cx, Owned, Routes};
use wire::calls::{Done, dhcp, host, localstorage, machine, network, vm};
use wire::heartbeat::Heart;

use crate::config::Ports;
use crate::testing::{Cloud, Serving, serve};

/// What a host has and how it behaves.
#[derive(Default)]
pub struct World {
    pub known_as: Mutex<String>,
    /// Beats, when it has one, as pings ask.
    pub heart: Mutex<Option<Heart>>,
    pub pings: AtomicUsize,
    pub bridges: Mutex<BTreeSet<String>>,
    pub missing_interfaces: Mutex<Vec<String>>,
    /// By the namespace's name.
    pub namespaces: Mutex<BTreeMap<String, Namespace>>,
    /// State by VM.
    pub domains: Mutex<BTreeMap<String, String>>,
    /// What else the kvm-agent has that carries a mark.
    pub owned: Mutex<Vec<Owned>>,
    pub consoles: Mutex<Vec<vm::OpenConsole>>,
    /// Commands to these paths fail with this.
    pub refusal: Mutex<Option<(&'static str, String)>>,
    /// The paths of all commands that change something, in order.
    pub heard: Mutex<Vec<&'static str>>,
}

/// What DHCP serves in one network.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    pub server: String,
    /// By MAC.
    pub leases: BTreeMap<String, dhcp::Lease>,
}

/// A host's agents and what is behind them.
pub struct Hypervisor {
    pub world: Arc<World>,
    pub ip: Ipv4Addr,
    kvm: Serving,
    vrouter: Serving,
}

impl World {
    pub fn refuses(&self, path: &'static str, error: &str) {
        *self.refusal.lock().unwrap() = Some((path, error.to_owned()));
    }

    pub fn obeys(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    pub fn bridges(&self) -> Vec<String> {
        self.bridges.lock().unwrap().iter().cloned().collect()
    }

    pub fn namespaces(&self) -> BTreeMap<String, Namespace> {
        self.namespaces.lock().unwrap().clone()
    }

    pub fn owned(&self) -> Vec<Owned> {
        self.owned.lock().unwrap().clone()
    }

    /// There is something that nobody has asked for.
    pub fn has(&self, kind: &str, name: &str, mark: Option<&str>) {
        let (kind, name, resource) = (kind.to_owned(), name.to_owned(), mark.map(str::to_owned));
        self.owned.lock().unwrap().push(Owned { kind, name, resource });
    }

    pub fn domains(&self) -> BTreeMap<String, String> {
        self.domains.lock().unwrap().clone()
    }

    /// The VM is in this state, however that came; absent when there is none.
    pub fn domain(&self, vm: Id<Any>, state: Option<&str>) {
        let mut domains = self.domains.lock().unwrap();
        match state {
            Some(state) => domains.insert(vm.to_string(), state.to_owned()),
            None => domains.remove(&vm.to_string()),
        };
    }

    /// A lease that nobody has asked for.
    pub fn serves(&self, namespace: &str, lease: dhcp::Lease) {
        let mut namespaces = self.namespaces.lock().unwrap();
        namespaces.get_mut(namespace).unwrap().leases.insert(lease.mac.clone(), lease);
    }

    /// How many commands came to `path`.
    pub fn count(&self, path: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| **heard == path).count()
    }

    fn hears<C: wire::Call>(&self) -> Result<(), Fault> {
        self.heard.lock().unwrap().push(C::PATH);
        match &*self.refusal.lock().unwrap() {
            Some((path, error)) if *path == C::PATH => Err(Fault::new(error.clone())),
            _ => Ok(()),
        }
    }
}

impl Hypervisor {
    /// At `127.0.0.<number>`, on these ports or, when there are none yet, on ports of its choice.
    async fn start(number: u8, ports: Option<(u16, u16)>) -> Hypervisor {
        let ip = Ipv4Addr::new(127, 0, 0, number);
        let (kvm, vrouter) = ports.unwrap_or_default();
        let world = Arc::new(World::default());
        let at = |port| SocketAddr::new(IpAddr::V4(ip), port);
        let kvm = serve(at(kvm), kvm_routes(&world)).await;
        let vrouter = serve(at(vrouter), vrouter_routes(&world)).await;
        Hypervisor { world, ip, kvm, vrouter }
    }

    fn ports(&self) -> (u16, u16) {
        (self.kvm.address.port(), self.vrouter.address.port())
    }
}

pub fn kvm_routes(world: &Arc<World>) -> Routes<World> {
    Routes::new(Arc::clone(world))
        .on(fact)
        .on(connect)
        .on(capacity)
        .on(ping)
        .on(shut_down)
        .on(check_interfaces)
        .on(create_bridge)
        .on(delete_bridge)
        .on(create_vlan_bridge)
        .on(delete_vlan_bridge)
        .on(open_console)
        .on(states)
        .on(check_state)
        .on(destroy)
        .on(init)
        .on(delete)
        .inventory(kvm_inventory)
}

fn vrouter_routes(world: &Arc<World>) -> Routes<World> {
    let routes = Routes::new(Arc::clone(world)).on(prepare).on(apply).on(release).on(delete_namespace);
    routes.inventory(vrouter_inventory)
}

async fn kvm_inventory(world: Arc<World>) -> Result<Vec<Owned>, Fault> {
    let domain = |uuid: String| Owned { kind: "domain".into(), name: uuid.clone(), resource: Some(uuid) };
    Ok(world.owned().into_iter().chain(world.domains().into_keys().map(domain)).collect())
}

async fn vrouter_inventory(world: Arc<World>) -> Result<Vec<Owned>, Fault> {
    let mut all = Vec::new();
    for (name, namespace) in world.namespaces() {
        let resource = name.rsplit_once('_').map(|(_, l3)| l3.to_owned());
        let owned = |kind: &str, name: String| Owned { kind: kind.into(), name, resource: resource.clone() };
        all.extend(namespace.leases.into_keys().map(|mac| owned("lease", mac)));
        all.extend([owned("dnsmasq", "4711".into()), owned("namespace", name.clone())]);
    }
    Ok(all)
}

async fn states(cx: Cx<World>, _: vm::Sync) -> Result<vm::States, Fault> {
    Ok(vm::States { states: cx.domains(), vm_in_shutdowns: Vec::new() })
}

async fn check_state(cx: Cx<World>, command: vm::CheckState) -> Result<vm::States, Fault> {
    let known = cx.domains();
    let state = |vm: String| (vm.clone(), known.get(&vm).cloned().unwrap_or_else(|| "Shutdown".into()));
    let states = command.vm_uuids.into_iter().map(state).collect();
    Ok(vm::States { states, vm_in_shutdowns: Vec::new() })
}

async fn destroy(cx: Cx<World>, command: vm::Destroy) -> Result<Done, Fault> {
    cx.hears::<vm::Destroy>()?;
    cx.domains.lock().unwrap().remove(&command.uuid);
    Ok(Done {})
}

async fn init(_: Cx<World>, _: localstorage::Init) -> Result<localstorage::Initialized, Fault> {
    let (total_capacity, available_capacity) = (Some(1 << 40), Some(1 << 40));
    Ok(localstorage::Initialized { total_capacity, available_capacity, ..Default::default() })
}

async fn delete(cx: Cx<World>, command: localstorage::Delete) -> Result<localstorage::Deleted, Fault> {
    cx.hears::<localstorage::Delete>()?;
    cx.owned.lock().unwrap().retain(|owned| owned.name != command.path);
    Ok(localstorage::Deleted::default())
}

async fn fact(_: Cx<World>, _: host::GetFact) -> Result<host::Fact, Fault> {
    Ok(host::Fact {
        cpu_architecture: "x86_64".into(),
        virt_type: "qemu".into(),
        qemu_img_version: "7.2.0".into(),
        libvirt_version: "9.0.0".into(),
        ..Default::default()
    })
}

async fn connect(cx: Cx<World>, command: host::Connect) -> Result<host::Connected, Fault> {
    *cx.known_as.lock().unwrap() = command.host_uuid;
    Ok(host::Connected::default())
}

async fn capacity(_: Cx<World>, _: host::GetCapacity) -> Result<host::Capacity, Fault> {
    Ok(host::Capacity {
        cpu_num: 4,
        cpu_speed: 2000,
        total_memory: 8 << 30,
        cpu_sockets: 1,
        ..Default::default()
    })
}

async fn ping(cx: Cx<World>, command: host::Ping) -> Result<host::Pong, Fault> {
    cx.pings.fetch_add(1, Ordering::SeqCst);
    if let (Some(heart), Some(orders)) = (&*cx.heart.lock().unwrap(), &command.heartbeat) {
        heart.obey(&command.host_uuid, orders)?;
    }
    Ok(host::Pong { host_uuid: cx.known_as.lock().unwrap().clone(), ..Default::default() })
}

/// It is told, and stays.
async fn shut_down(_: Cx<World>, _: machine::Shutdown) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn check_interfaces(
    cx: Cx<World>,
    command: network::CheckInterfaces,
) -> Result<network::InterfacesChecked, Fault> {
    cx.hears::<network::CheckInterfaces>()?;
    let missing = cx.missing_interfaces.lock().unwrap();
    let failed: Vec<_> = command.interface_names.into_iter().filter(|name| missing.contains(name)).collect();
    match failed.is_empty() {
        true => Ok(network::InterfacesChecked::default()),
        false => Err(Fault::new(format!("no interface {failed:?}")).with("failedInterfaceNames", failed)),
    }
}

async fn create_bridge(cx: Cx<World>, command: network::CreateBridge) -> Result<Done, Fault> {
    cx.hears::<network::CreateBridge>()?;
    cx.bridges.lock().unwrap().insert(command.bridge_name);
    Ok(Done {})
}

async fn create_vlan_bridge(cx: Cx<World>, command: network::CreateVlanBridge) -> Result<Done, Fault> {
    cx.hears::<network::CreateVlanBridge>()?;
    let bridge = format!("{} {}", command.bridge.bridge_name, command.vlan);
    cx.bridges.lock().unwrap().insert(bridge);
    Ok(Done {})
}

async fn delete_vlan_bridge(cx: Cx<World>, command: network::DeleteVlanBridge) -> Result<Done, Fault> {
    cx.hears::<network::DeleteVlanBridge>()?;
    let bridge = format!("{} {}", command.bridge.bridge_name, command.vlan);
    cx.bridges.lock().unwrap().remove(&bridge);
    Ok(Done {})
}

async fn delete_bridge(cx: Cx<World>, command: network::DeleteBridge) -> Result<Done, Fault> {
    cx.hears::<network::DeleteBridge>()?;
    cx.owned.lock().unwrap().retain(|owned| owned.name != command.bridge_name);
    cx.bridges.lock().unwrap().remove(&command.bridge_name);
    Ok(Done {})
}

async fn open_console(cx: Cx<World>, command: vm::OpenConsole) -> Result<Done, Fault> {
    cx.hears::<vm::OpenConsole>()?;
    cx.consoles.lock().unwrap().push(command);
    Ok(Done {})
}

async fn prepare(cx: Cx<World>, command: dhcp::BatchPrepare) -> Result<Done, Fault> {
    cx.hears::<dhcp::BatchPrepare>()?;
    for info in command.dhcp_infos {
        cx.namespaces.lock().unwrap().entry(info.namespace_name).or_default().server = info.dhcp_server_ip;
    }
    Ok(Done {})
}

async fn apply(cx: Cx<World>, command: dhcp::BatchApply) -> Result<Done, Fault> {
    cx.hears::<dhcp::BatchApply>()?;
    let mut namespaces = cx.namespaces.lock().unwrap();
    for info in command.dhcp_infos {
        let network = |name: &String| name.ends_with(&info.l3_network_uuid);
        if info.rebuild {
            namespaces.iter_mut().filter(|(name, _)| network(name)).for_each(|(_, ns)| ns.leases.clear());
        }
        for lease in info.dhcp {
            let namespace = namespaces.get_mut(&lease.namespace_name);
            let namespace = namespace.ok_or_else(|| Fault::new("prepare the namespace first"))?;
            namespace.leases.insert(lease.mac.clone(), lease);
        }
    }
    Ok(Done {})
}

async fn release(cx: Cx<World>, command: dhcp::Release) -> Result<Done, Fault> {
    cx.hears::<dhcp::Release>()?;
    for lease in command.dhcp {
        if let Some(namespace) = cx.namespaces.lock().unwrap().get_mut(&lease.namespace_name) {
            namespace.leases.remove(&lease.mac);
        }
    }
    Ok(Done {})
}

async fn delete_namespace(cx: Cx<World>, command: dhcp::DeleteNamespace) -> Result<Done, Fault> {
    cx.hears::<dhcp::DeleteNamespace>()?;
    cx.namespaces.lock().unwrap().remove(&command.namespace_name);
    Ok(Done {})
}

/// A cloud with one zone and one cluster of simulated hosts.
pub struct Fleet {
    pub cloud: Cloud,
    pub zone: String,
    pub cluster: String,
    pub hypervisors: Vec<Hypervisor>,
    /// Their hosts' uuids, in the same order.
    pub hosts: Vec<String>,
}

impl Fleet {
    /// Of `size` hosts that are connected.
    pub async fn start(size: u8) -> Fleet {
        Fleet::with(size, Ports::default()).await
    }

    /// `ports` says where everything else listens.
    pub async fn with(size: u8, ports: Ports) -> Fleet {
        let mut hypervisors = vec![Hypervisor::start(1, None).await];
        let (kvm_agent, vrouter_agent) = hypervisors[0].ports();
        for number in 2..=size {
            hypervisors.push(Hypervisor::start(number, Some((kvm_agent, vrouter_agent))).await);
        }
        let cloud = Cloud::start(Ports { kvm_agent, vrouter_agent, ..ports }).await;
        let zone = uuid(&cloud.create("/zones", json!({ "name": "zone" })).await.unwrap());
        let cluster = json!({ "name": "cluster", "zoneUuid": zone, "hypervisorType": "KVM" });
        let cluster = uuid(&cloud.create("/clusters", cluster).await.unwrap());
        let mut fleet = Fleet { cloud, zone, cluster, hypervisors, hosts: Vec::new() };
        for index in 0..usize::from(size) {
            let host = fleet.join(index).await;
            fleet.hosts.push(host);
        }
        fleet
    }

    /// Adds the hypervisor as a host.
    pub async fn join(&self, index: usize) -> String {
        let ip = self.hypervisors[index].ip;
        let host = json!({
            "name": format!("hv{}", index + 1), "managementIp": ip, "clusterUuid": self.cluster,
            "username": "root", "password": "word",
        });
        uuid(&self.cloud.create("/hosts/kvm", host).await.unwrap())
    }

    pub fn world(&self, index: usize) -> &World {
        &self.hypervisors[index].world
    }

    /// Runs a statement on the database.
    pub async fn sql(&self, sql: &'static str, args: Vec<engine::db::Value>) {
        let done = self.cloud.engine.db().write(move |tx| Box::pin(async move { tx.exec(sql, args).await }));
        done.await.unwrap();
    }

    /// Enters a VM that runs on the host, without starting anything: its uuid.
    pub async fn vm(&self, name: &str, host: &str) -> Id<Any> {
        const VM: &str = "INSERT INTO vm_instance (uuid, internal_id, name, zone_uuid, cluster_uuid, \
             host_uuid, platform, type, hypervisor_type, cpu_num, cpu_speed, memory_size, \
             reserved_memory_size, allocator_strategy, virtio, state, create_date, last_op_date) \
             VALUES ($1, $2, $3, $4, $5, $6, 'Linux', 'UserVm', 'KVM', 1, 0, 1, 0, 'x', TRUE, 'Running', 0, 0)";
        let uuid = Id::<Any>::random();
        let number = i64::try_from(uuid.bits() >> 66).unwrap();
        let (zone, cluster) = (self.zone.as_str(), self.cluster.as_str());
        let at = self.hosts.iter().position(|known| known == host);
        at.into_iter().for_each(|at| self.world(at).domain(uuid, Some("Running")));
        self.sql(VM, args![uuid, number, name, zone, cluster, host]).await;
        uuid
    }

    /// Enters a NIC of the VM without an address: its uuid.
    pub async fn nic(&self, vm: Id<Any>, l3: &str, mac: &str) -> Id<Any> {
        const NIC: &str = "INSERT INTO vm_nic (uuid, vm_instance_uuid, l3_network_uuid, mac, hypervisor_type, \
             ip_version, driver_type, internal_name, device_id, type, state, create_date, last_op_date) \
             VALUES ($1, $2, $3, $4, 'KVM', 4, 'virtio', 'vnic', 0, 'VNIC', 'enable', 0, 0)";
        let uuid = Id::<Any>::random();
        self.sql(NIC, args![uuid, vm, l3, mac]).await;
        uuid
    }
}

/// The uuid of an inventory.
pub fn uuid(inventory: &serde_json::Value) -> String {
    inventory["uuid"].as_str().unwrap_or_else(|| panic!("no uuid in {inventory}")).to_owned()
}
