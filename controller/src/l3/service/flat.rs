//! Flat: each host serves the guests that run on it, by the vrouter-agent.
//!
//! What is sent for one network to one host is sent in turn, read from the rows within the turn: a
//! rebuild never takes back what a VM's start has just added.

use engine::boxed;
use engine::flow::{Agent, Cx, Held};

use engine::{Id, Result, codes};
use wire::calls::dhcp as call;

use super::driver::NetworkService;
use super::{Lease, store};
use crate::config::Ports;
use crate::host::{Host, HostInventory};
use crate::l2::{self, Attachment};
use crate::l3::address::{self, Address};
use crate::l3::{L3Network, L3NetworkInventory, store as l3_store};

pub(super) const TYPE: &str = "Flat";
const DHCP: &str = "DHCP";
const DNS: &str = "DNS";

pub(super) struct Flat;

/// A network as one host serves it.
struct Served<'n> {
    l3: &'n L3NetworkInventory,
    attachment: Attachment,
    /// The servers that names are asked of; none when names are not served.
    dns: Vec<String>,
    /// Ways that guests are told; none when they are told nothing.
    routes: Vec<call::HostRoute>,
}

#[boxed]
impl NetworkService for Flat {
    fn types(&self) -> &'static [&'static str] {
        &[DHCP, DNS]
    }

    fn needs_address(&self, services: &[String]) -> bool {
        has(services, DHCP)
    }

    async fn serve(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        services: &[String],
        leases: &[Lease],
    ) -> Result<()> {
        if !has(services, DHCP) || leases.is_empty() {
            return Ok(());
        }
        let _turn = turn(cx, host, l3).await?;
        let Some(server) = enter(cx, host, l3).await? else {
            let details = format!("l3 network \"{}\" has no ip range: add one", l3.name);
            return Err(codes::STATE.because(details));
        };
        let served = Served::read(cx, l3, services).await?;
        served.send(cx, host, &server, leases, false).await
    }

    async fn unserve(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        leases: &[Lease],
    ) -> Result<()> {
        let _turn = turn(cx, host, l3).await?;
        if leases.is_empty() || !store::is_on_host(&mut cx.read().await?, l3.uuid, host.uuid).await? {
            return Ok(());
        }
        let served = Served::read(cx, l3, &[]).await?;
        let release = call::Release { dhcp: leases.iter().map(|lease| served.lease(lease)).collect() };
        cx.call(&agent(cx, host), &release).await.map(|_| ())
    }

    async fn rebuild(
        &self,
        cx: &Cx,
        host: &HostInventory,
        l3: &L3NetworkInventory,
        services: &[String],
    ) -> Result<()> {
        let _turn = turn(cx, host, l3).await?;
        if !has(services, DHCP) {
            return leave(cx, host, l3).await;
        }
        let Some(server) = enter(cx, host, l3).await? else { return leave(cx, host, l3).await };
        let served = Served::read(cx, l3, services).await?;
        let leases = store::leases(&mut cx.read().await?, l3.uuid, host.uuid).await?;
        served.send(cx, host, &server, &leases, true).await
    }

    async fn leave(&self, cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<()> {
        let _turn = turn(cx, host, l3).await?;
        leave(cx, host, l3).await
    }
}

/// Takes a namespace off a host that should not have the network, which may not be known any more. False
/// when the host has it by now: a VM that starts there enters the network in the same turn.
pub async fn evict(cx: &Cx, host: &HostInventory, l3: Id<L3Network>, namespace: &str) -> Result<bool> {
    let _turn = line(cx, host, l3, namespace).await?;
    if store::is_on_host(&mut cx.read().await?, l3, host.uuid).await? {
        return Ok(false);
    }
    let (bridge, _) = namespace.rsplit_once('_').unwrap_or_default();
    let (bridge_name, namespace_name) = (bridge.to_owned(), namespace.to_owned());
    let delete = call::DeleteNamespace { bridge_name, namespace_name };
    cx.call(&agent(cx, host), &delete).await.map(|_| true)
}

fn has(services: &[String], wanted: &str) -> bool {
    services.iter().any(|service| service == wanted)
}

fn agent(cx: &Cx, host: &HostInventory) -> Agent {
    host.agent(cx.engine(), "vrouter-agent", cx.engine().of::<Ports>().vrouter_agent)
}

async fn turn(cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<Held> {
    line(cx, host, l3.uuid, &l3.name).await
}

async fn line(cx: &Cx, host: &HostInventory, l3: Id<L3Network>, name: &str) -> Result<Held> {
    let both = Id::derived(&["flat", &l3.to_string(), &host.uuid.to_string()]);
    let who = format!("dhcp of l3 network \"{name}\" on host \"{}\"", host.name);
    cx.alone_with(both, &who).await
}

/// Enters that the host has the network, and tells the address of its server; none without a range.
async fn enter(cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<Option<Address>> {
    let (l3, host) = (l3.uuid, host.uuid);
    if let Some(server) = entered(cx, host, l3).await? {
        return Ok(Some(server));
    }
    let unit = cx.write(move |tx| {
        Box::pin(async move {
            let server = address::dhcp_server(tx, l3).await?;
            if server.is_some() {
                store::enter_host(tx, l3, host).await?;
            }
            Ok(server)
        })
    });
    unit.await
}

/// The address of the network's server, which stays, when the host has the network already.
async fn entered(cx: &Cx, host: Id<Host>, l3: Id<L3Network>) -> Result<Option<Address>> {
    let mut tx = cx.read().await?;
    match store::is_on_host(&mut tx, l3, host).await? {
        true => address::known_dhcp_server(&mut tx, l3).await,
        false => Ok(None),
    }
}

/// Takes the namespace off the host, then forgets that the host has it.
async fn leave(cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<()> {
    if !store::is_on_host(&mut cx.read().await?, l3.uuid, host.uuid).await? {
        return Ok(());
    }
    let served = Served::read(cx, l3, &[]).await?;
    let delete = call::DeleteNamespace {
        bridge_name: served.attachment.bridge_name.clone(),
        namespace_name: served.namespace(),
    };
    cx.call(&agent(cx, host), &delete).await?;
    let (l3, host) = (l3.uuid, host.uuid);
    cx.write(move |tx| Box::pin(async move { store::leave_host(tx, l3, host).await })).await
}

fn told(route: l3_store::HostRoute) -> call::HostRoute {
    call::HostRoute { prefix: route.prefix, nexthop: route.nexthop }
}

impl<'n> Served<'n> {
    async fn read(cx: &Cx, l3: &'n L3NetworkInventory, services: &[String]) -> Result<Served<'n>> {
        let mut tx = cx.read().await?;
        let attachment = l2::attachment(&mut tx, l3.l2_network_uuid).await?;
        let dns = match has(services, DNS) {
            true => l3_store::dns(&mut tx, l3.uuid).await?.into_iter().map(|(dns, _)| dns).collect(),
            false => Vec::new(),
        };
        let routes = match has(services, DHCP) {
            true => l3_store::routes(&mut tx, l3.uuid).await?.into_iter().map(told).collect(),
            false => Vec::new(),
        };
        Ok(Served { l3, attachment, dns, routes })
    }

    fn namespace(&self) -> String {
        format!("{}_{}", self.attachment.bridge_name, self.l3.uuid)
    }

    async fn send(
        &self,
        cx: &Cx,
        host: &HostInventory,
        server: &Address,
        leases: &[Lease],
        rebuild: bool,
    ) -> Result<()> {
        let prepare = call::Prepare {
            bridge_name: self.attachment.bridge_name.clone(),
            dhcp_server_ip: server.ip.clone(),
            dhcp_netmask: server.netmask.clone(),
            namespace_name: self.namespace(),
            ip_version: Some(4),
            ..Default::default()
        };
        let apply = call::Apply {
            dhcp: leases.iter().map(|lease| self.lease(lease)).collect(),
            rebuild,
            l3_network_uuid: self.l3.uuid.to_string(),
        };
        let agent = agent(cx, host);
        cx.call(&agent, &call::BatchPrepare { dhcp_infos: vec![prepare] }).await?;
        cx.call(&agent, &call::BatchApply { dhcp_infos: vec![apply] }).await.map(|_| ())
    }

    fn lease(&self, lease: &Lease) -> call::Lease {
        call::Lease {
            ip_version: Some(4),
            ip: lease.ip.clone(),
            mac: lease.mac.clone(),
            netmask: lease.netmask.clone(),
            gateway: lease.gateway.clone(),
            hostname: lease.hostname.clone(),
            is_default_l3_network: lease.is_default,
            dns_domain: self.l3.dns_domain.clone(),
            dns: self.dns.clone(),
            bridge_name: self.attachment.bridge_name.clone(),
            namespace_name: self.namespace(),
            l3_network_uuid: self.l3.uuid.to_string(),
            mtu: self.l3.mtu.and_then(|mtu| u32::try_from(mtu).ok()),
            host_routes: self.routes.clone(),
            ..Default::default()
        }
    }
}
