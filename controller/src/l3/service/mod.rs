//! Network services: who tells VMs about their network, on the host where they run.
//!
//! A provider is a driver; which one serves what is a row per network and type of service. What a
//! provider has on a host is entered in the database before the host hears of it, and forgotten after it
//! is gone, so that nothing is ever left behind unknown.

mod api;
mod driver;
mod flat;
mod store;

use engine::db::Tx;
use engine::flow::Cx;
use engine::hook::{Hook, Point};
use engine::inventory::{Members, attach as attach_list, find};
use engine::module::Module;
use engine::query::Relation;
use engine::tag::{Hold, SystemTag};
use engine::{Any, Id, Result, Stamp, codes, inventory};
use serde::{Deserialize, Serialize};

use super::{L3Network, L3NetworkInventory};
use crate::host::HostInventory;

pub use driver::{NETWORK_SERVICES, NetworkService};
pub use flat::evict;
pub(super) use store::{assigned, hosts_concerned, of_all, replace};

inventory! {
    /// A provider of network services as the API shows it.
    NetworkServiceProviderInventory in "network_service_provider" seen Everyone {
        uuid: Id<Any>,
        name: String,
        description: Option<String>,
        r#type: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill {
        network_service_types: Vec<String>,
        attached_l2_network_uuids: Vec<Id<Any>>,
    }
}

inventory! {
    /// A service of an L3 network and who provides it.
    NetworkServiceL3NetworkRefInventory in "l3_network_service" seen Owned("l3_network_uuid") {
        l3_network_uuid: Id<L3Network>,
        network_service_provider_uuid: Id<Any>,
        network_service_type: String,
    } => [
        Relation::one::<NetworkServiceProviderInventory>("provider", "network_service_provider_uuid"),
    ]
}

impl NetworkServiceProviderInventory {
    /// Every provider serves every L2 network so far.
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let networks = store::l2_networks(tx).await?;
        let mut types = Vec::new();
        let mut attached = Vec::new();
        for members in page.iter() {
            let known = |name| members.read::<String>(name);
            let (Some(uuid), Some(kind)) = (known("uuid"), known("type")) else { continue };
            types.extend(NETWORK_SERVICES.get(&kind)?.types().iter().map(|t| (uuid.clone(), *t)));
            attached.extend(networks.iter().map(|l2| (uuid.clone(), l2.clone())));
        }
        attach_list(page, "networkServiceTypes", types)?;
        attach_list(page, "attachedL2NetworkUuids", attached)
    }
}

/// A service of a network and the type of its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, engine::db::Row)]
pub(super) struct Assigned {
    pub service: String,
    pub provider: String,
}

/// What a guest is told about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub mac: String,
    pub ip: String,
    pub netmask: String,
    pub gateway: Option<String>,
    pub hostname: Option<String>,
    /// Whether the guest's default route and names come from this network.
    pub is_default: bool,
}

/// Guests of a network on a host.
#[derive(Clone, Debug)]
pub struct Served {
    pub host: HostInventory,
    pub l3: L3NetworkInventory,
    pub leases: Vec<Lease>,
}

pub static SERVED: Point<dyn Hook<Served>> = Point::step(
    "network services realised",
    "a network's services on a host know its guests; undone when they are to know them no longer",
);

/// A VM's name as a host name: letters, digits and inner dashes, at most 63.
fn hostname(name: &str) -> Option<String> {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let short: String = plain.trim_matches('-').chars().take(63).collect();
    let clean = short.trim_end_matches('-');
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// What the guest is to be called, instead of after its VM. Its networks hear of it when it starts next.
pub const HOSTNAME: SystemTag = SystemTag {
    resource: "VmInstance",
    pattern: "hostname::{hostname}",
    help: "what the guest is told by DHCP to be called; from its next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| {
        let wanted = tokens.get("hostname");
        match hostname(wanted).is_some_and(|clean| clean.eq_ignore_ascii_case(wanted)) {
            true => Ok(()),
            false => {
                let details = "a host name has letters, digits and inner dashes, at most 63";
                Err(codes::INVALID_ARGUMENT.because(details))
            }
        }
    },
};

/// What a guest is called on its networks, by its [`HOSTNAME`] if it has one.
pub fn called(tag: Option<&str>, vm_name: &str) -> Option<String> {
    let tokens = tag.and_then(|text| HOSTNAME.read(text));
    tokens.map(|tokens| tokens.get("hostname").to_owned()).or_else(|| hostname(vm_name))
}

/// Whether servers of the network need an address of it.
pub(super) async fn need_address(tx: &mut Tx, l3: Id<L3Network>) -> Result<bool> {
    let services = store::assigned(tx, l3).await?;
    Ok(NETWORK_SERVICES.all().iter().any(|(name, provider)| provider.needs_address(&of(name, &services))))
}

/// The network's services on the host know these guests besides those that they know.
pub async fn serve(cx: &Cx, host: &HostInventory, l3: Id<L3Network>, leases: &[Lease]) -> Result<()> {
    let (l3, services) = services(cx, l3).await?;
    for (name, provider) in NETWORK_SERVICES.all() {
        provider.serve(cx, host, &l3, &of(name, &services), leases).await?;
    }
    SERVED.run(cx, &Served { host: host.clone(), l3, leases: leases.to_vec() }).await
}

/// They know these no longer.
pub async fn unserve(cx: &Cx, host: &HostInventory, l3: Id<L3Network>, leases: &[Lease]) -> Result<()> {
    let (l3, _) = services(cx, l3).await?;
    let served = Served { host: host.clone(), l3, leases: leases.to_vec() };
    SERVED.undo(cx, &served).await?;
    for (_, provider) in NETWORK_SERVICES.all() {
        provider.unserve(cx, host, &served.l3, leases).await?;
    }
    Ok(())
}

/// They know exactly the guests that the rows place on the host.
pub(super) async fn rebuild(cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<()> {
    let (l3, services) = services(cx, l3.uuid).await?;
    for (name, provider) in NETWORK_SERVICES.all() {
        provider.rebuild(cx, host, &l3, &of(name, &services)).await?;
    }
    Ok(())
}

/// Nothing of the network stays on the host.
pub(super) async fn leave(cx: &Cx, host: &HostInventory, l3: &L3NetworkInventory) -> Result<()> {
    for (_, provider) in NETWORK_SERVICES.all() {
        provider.leave(cx, host, l3).await?;
    }
    Ok(())
}

async fn services(cx: &Cx, l3: Id<L3Network>) -> Result<(L3NetworkInventory, Vec<Assigned>)> {
    let mut tx = cx.read().await?;
    Ok((find(&mut tx, l3).await?, store::assigned(&mut tx, l3).await?))
}

fn of(provider: &str, services: &[Assigned]) -> Vec<String> {
    services.iter().filter(|s| s.provider == provider).map(|s| s.service.clone()).collect()
}

/// A type of service has one provider in a network.
pub(super) async fn attach(tx: &mut Tx, l3: &L3NetworkInventory, services: &[Assigned]) -> Result<()> {
    for Assigned { service, provider } in services {
        if !store::attach(tx, l3.uuid, service, provider).await? {
            let details =
                format!("l3 network \"{}\" has a provider of {service} already: detach it first", l3.name);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(())
}

pub(super) async fn detach(tx: &mut Tx, l3: &L3NetworkInventory, services: &[Assigned]) -> Result<()> {
    for Assigned { service, provider } in services {
        if !store::detach(tx, l3.uuid, service, provider).await? {
            let details = format!("{provider} does not provide {service} for l3 network \"{}\"", l3.name);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(())
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .family(&NETWORK_SERVICES)
        .point(&SERVED)
        .query::<NetworkServiceProviderInventory>(
            "QueryNetworkServiceProvider",
            "/network-services/providers",
        )
        .query::<NetworkServiceL3NetworkRefInventory>(
            "QueryNetworkServiceL3NetworkRef",
            "/l3-networks/network-services/refs",
        )
        .tags(&[HOSTNAME])
        .ask::<api::GetNetworkServiceTypes>()
        .api::<api::AttachNetworkServiceToL3Network>()
        .api::<api::DetachNetworkServiceFromL3Network>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_called_as_its_tag_says_or_after_its_vm() {
        assert_eq!(called(Some("hostname::Db1"), "web"), Some("Db1".into()));
        assert_eq!(called(None, "Web Server"), Some("web-server".into()));
        for (name, sound) in [("db-1", true), ("-db", false), ("a b", false), ("a.b", false), ("☃", false)]
        {
            let tokens = HOSTNAME.read(&format!("hostname::{name}")).unwrap();
            assert_eq!((HOSTNAME.check)(&tokens).is_ok(), sound, "{name}");
        }
    }

    #[test]
    fn a_name_becomes_a_host_name_or_none() {
        assert_eq!(hostname("Web server #1"), Some("web-server--1".into()));
        assert_eq!(hostname("--x--"), Some("x".into()));
        assert_eq!(hostname("☃"), None);
        assert_eq!(hostname(&"a".repeat(200)).map(|h| h.len()), Some(63));
    }
}
