use std::net::Ipv4Addr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled, Types};
use engine::cascade::DeleteMode;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{Change, What};
use super::{L3Network, L3NetworkInventory, store};
use crate::l2::{self, L2Network};
use crate::validate::{self, StateEvent};

/// The only kind so far.
const TYPE: &str = "L3BasicNetwork";

/// What a network is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Category {
    Public,
    #[default]
    Private,
    System,
}

impl Category {
    pub(super) fn name(self) -> &'static str {
        match self {
            Category::Public => "Public",
            Category::Private => "Private",
            Category::System => "System",
        }
    }
}

api! {
    CreateL3Network: POST "/l3-networks" "params" {
        name: String,
        description: Option<String>,
        r#type: Option<String>,
        l2_network_uuid: Id<L2Network>,
        #[serde(default)]
        category: Category,
        ip_version: Option<i64>,
        system: Option<bool>,
        dns_domain: Option<String>,
        #[serde(rename = "enableIPAM")]
        enable_ipam: Option<bool>,
        resource_uuid: Option<Id<L3Network>>,
    }
}

impl CreateL3Network {
    pub(super) fn kind(&self) -> &str {
        self.r#type.as_deref().unwrap_or(TYPE)
    }

    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        if self.kind() != TYPE {
            let details = format!("there is no l3 network type \"{}\"; there is {TYPE}", self.kind());
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        check_version(self.ip_version)?;
        validate::unsupported("enableIPAM", &self.enable_ipam.filter(|wanted| !wanted))?;
        self.dns_domain.as_deref().map_or(Ok(()), |domain| check_domain("dnsDomain", domain))
    }
}

/// Only version 4 so far.
pub(super) fn check_version(version: Option<i64>) -> Result<()> {
    match version {
        None | Some(4) => Ok(()),
        Some(6) => Err(codes::UNIMPLEMENTED.because("\"ipVersion\": 6 is not supported yet: use 4")),
        Some(other) => {
            Err(codes::INVALID_ARGUMENT.because(format!("\"ipVersion\" must be 4 or 6, not {other}")))
        }
    }
}

/// Labels of letters, digits and inner dashes, at most 63 each and 253 together.
fn check_domain(field: &str, domain: &str) -> Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match domain.len() <= 253 && domain.split('.').all(label) {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT
            .because(format!("\"{field}\" must be a domain name such as \"example.org\", not \"{domain}\""))),
    }
}

impl Api for CreateL3Network {
    const ROUTE: Route = CreateL3Network::ROUTE;
    const MAKES: Option<&'static str> = Some(L3NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let l2 = l2::pluggable(tx, self.l2_network_uuid).await?;
                store::insert(tx, uuid, &self, &l2).await?;
                show::<L3NetworkInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateL3Network: PUT "/l3-networks/{uuid}/actions" "updateL3Network" {
        uuid: Id<L3Network>,
        name: Option<String>,
        description: Option<String>,
        dns_domain: Option<String>,
        category: Option<Category>,
        system: Option<bool>,
    }
}

impl Api for UpdateL3Network {
    const ROUTE: Route = UpdateL3Network::ROUTE;

    /// Guests are told of the domain, so its change reaches the hosts.
    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.dns_domain.as_deref().map_or(Ok(()), |domain| check_domain("dnsDomain", domain))?;
        if self.dns_domain.is_none() {
            return job
                .write(move |tx| {
                    Box::pin(async move {
                        store::update(tx, &self).await?;
                        show::<L3NetworkInventory>(tx, self.uuid).await
                    })
                })
                .await;
        }
        let l3 = network(&job, self.uuid).await?;
        let mut facts = store::facts(&mut job.engine().db().read().await?, self.uuid).await?;
        facts.name = self.name.unwrap_or(facts.name);
        facts.description = self.description.or(facts.description);
        facts.dns_domain = self.dns_domain;
        facts.category = self.category.map_or(facts.category, |category| category.name().into());
        facts.system = self.system.unwrap_or(facts.system);
        job.flow(Change::new(&l3, What::Facts(facts))).await
    }
}

pub(super) async fn network(job: &Job, uuid: Id<L3Network>) -> Result<L3NetworkInventory> {
    find(&mut job.engine().db().read().await?, uuid).await
}

api! {
    ChangeL3NetworkState: PUT "/l3-networks/{uuid}/actions" "changeL3NetworkState" {
        uuid: Id<L3Network>,
        state_event: StateEvent,
    }
}

impl Api for ChangeL3NetworkState {
    const ROUTE: Route = ChangeL3NetworkState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<L3NetworkInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteL3Network: "/l3-networks/{uuid}" of L3Network: L3NetworkInventory }

/// As it is kept: `8.8.8.8`.
fn dns_server(text: &str) -> Result<String> {
    let address: Option<Ipv4Addr> = text.parse().ok();
    let sound = address.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast());
    sound.map(|ip| ip.to_string()).ok_or_else(|| {
        codes::INVALID_ARGUMENT
            .because(format!("\"dns\" must be the IPv4 address of a server, not \"{text}\""))
    })
}

api! {
    AddDnsToL3Network: POST "/l3-networks/{l3NetworkUuid}/dns" "params" {
        l3_network_uuid: Id<L3Network>,
        dns: String,
    }
}

impl Api for AddDnsToL3Network {
    const ROUTE: Route = AddDnsToL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let dns = dns_server(&self.dns)?;
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::AddDns(dns))).await
    }
}

api! {
    RemoveDnsFromL3Network: DELETE "/l3-networks/{l3NetworkUuid}/dns/{dns}" {
        l3_network_uuid: Id<L3Network>,
        dns: String,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for RemoveDnsFromL3Network {
    const ROUTE: Route = RemoveDnsFromL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let dns = dns_server(&self.dns)?;
        let l3 = network(&job, self.l3_network_uuid).await?;
        job.flow(Change::new(&l3, What::RemoveDns(dns))).await
    }
}

api! {
    GetL3NetworkTypes: GET "/l3-networks/types" {}
}

impl Ask for GetL3NetworkTypes {
    const ROUTE: Route = GetL3NetworkTypes::ROUTE;
    type Reply = Types;

    async fn answer(self, _asked: Asked) -> Result<Types> {
        Ok([TYPE].into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_made_of_host_labels() {
        for sound in ["local", "cloud.example.org", "a-b.c1"] {
            assert!(check_domain("dnsDomain", sound).is_ok(), "{sound}");
        }
        for wrong in ["", ".", "a..b", "-a.org", "a b", "a/b", "x\ny", &"a".repeat(64)] {
            assert!(check_domain("dnsDomain", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dns_server_is_one_address() {
        assert_eq!(dns_server("8.8.8.8").unwrap(), "8.8.8.8");
        for wrong in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "8.8.8", "dns.example.org"] {
            assert!(dns_server(wrong).is_err(), "{wrong}");
        }
    }
}
