//! Changing what a network tells its guests: rows first, then every host that serves it.

use std::net::Ipv4Addr;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, Stamp, codes};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::{self, UsedIp};
use super::service::{self, Assigned};
use super::store::{self, Facts, HostRoute};
use super::{L3Network, L3NetworkInventory};
use crate::l2;

/// A host that does not answer for so long is not there.
const HOST_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum What {
    AddDns(String),
    RemoveDns(String),
    AddRoute { prefix: String, nexthop: String },
    RemoveRoute(String),
    Mtu(i64),
    DhcpServer(Ipv4Addr),
    Facts(Facts),
    Attach(Vec<Assigned>),
    Detach(Vec<Assigned>),
}

/// before → change → refresh every connected host → settle.
///
/// The first step does nothing; its undo, which runs when the rows are back as they were, brings the
/// hosts back too.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Change {
    l3: Id<L3Network>,
    name: String,
    what: What,
    before: Option<Before>,
    /// The address that the DHCP servers had.
    #[serde(default)]
    aside: Option<Id<UsedIp>>,
}

/// What the change may have overwritten.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    facts: Facts,
    dns: Vec<(String, i64)>,
    routes: Vec<HostRoute>,
    services: Vec<Assigned>,
}

impl Change {
    pub(super) fn new(l3: &L3NetworkInventory, what: What) -> Self {
        Change { l3: l3.uuid, name: l3.name.clone(), what, before: None, aside: None }
    }

    async fn nothing(&mut self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    async fn restored(&mut self, cx: &Cx) -> Result<()> {
        match self.before {
            Some(_) => refresh(cx, self.l3).await,
            None => Ok(()),
        }
    }

    async fn change(&mut self, tx: &mut Tx) -> Result<()> {
        let l3: L3NetworkInventory = find(tx, self.l3).await?;
        store::refuse_deleting(tx, &l3).await?;
        self.before = Some(Before {
            facts: store::facts(tx, self.l3).await?,
            dns: store::dns(tx, self.l3).await?,
            routes: store::routes(tx, self.l3).await?,
            services: service::assigned(tx, self.l3).await?,
        });
        match self.what {
            What::DhcpServer(ip) => self.aside = address::move_dhcp_server(tx, &l3, ip).await?,
            _ => self.what.enter(tx, &l3).await?,
        }
        Ok(())
    }

    async fn restore(&mut self, tx: &mut Tx) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        store::restore(tx, self.l3, &before.facts).await?;
        store::clear_dns(tx, self.l3).await?;
        for (dns, added) in &before.dns {
            store::add_dns(tx, self.l3, dns, Stamp(*added)).await?;
        }
        store::clear_routes(tx, self.l3).await?;
        for route in &before.routes {
            store::put_route(tx, self.l3, route).await?;
        }
        address::put_dhcp_server_back(tx, self.l3, self.aside).await?;
        service::replace(tx, self.l3, &before.services).await
    }

    async fn refresh(&mut self, cx: &Cx) -> Result<()> {
        if let What::Mtu(_) = self.what {
            let l3: L3NetworkInventory = find(&mut cx.read().await?, self.l3).await?;
            l2::refresh(cx, l3.l2_network_uuid).await?;
        }
        refresh(cx, self.l3).await
    }

    async fn settle(&mut self, tx: &mut Tx) -> Result<()> {
        match self.aside {
            Some(aside) => address::drop_aside(tx, aside).await,
            None => Ok(()),
        }
    }
}

impl What {
    async fn enter(&self, tx: &mut Tx, l3: &L3NetworkInventory) -> Result<()> {
        match self {
            What::AddDns(dns) => match store::add_dns(tx, l3.uuid, dns, Stamp::now()).await? {
                true => Ok(()),
                false => Err(codes::INVALID_ARGUMENT
                    .because(format!("l3 network \"{}\" has the dns server {dns} already", l3.name))),
            },
            What::RemoveDns(dns) => {
                match store::remove_dns(tx, l3.uuid, dns).await? {
                    true => Ok(()),
                    false => Err(codes::NOT_FOUND
                        .because(format!("l3 network \"{}\" has no dns server {dns}", l3.name))),
                }
            }
            What::AddRoute { prefix, nexthop } => match store::add_route(tx, l3.uuid, prefix, nexthop).await?
            {
                true => Ok(()),
                false => Err(codes::INVALID_ARGUMENT.because(format!(
                    "l3 network \"{}\" has a route to {prefix} already: remove it first",
                    l3.name
                ))),
            },
            What::RemoveRoute(prefix) => {
                match store::remove_route(tx, l3.uuid, prefix).await? {
                    true => Ok(()),
                    false => Err(codes::NOT_FOUND
                        .because(format!("l3 network \"{}\" has no route to {prefix}", l3.name))),
                }
            }
            What::Mtu(mtu) => {
                let facts = Facts { mtu: Some(*mtu), ..store::facts(tx, l3.uuid).await? };
                store::restore(tx, l3.uuid, &facts).await
            }
            // What they had is kept by the flow.
            What::DhcpServer(_) => Ok(()),
            What::Facts(facts) => store::restore(tx, l3.uuid, facts).await,
            What::Attach(services) => service::attach(tx, l3, services).await,
            What::Detach(services) => service::detach(tx, l3, services).await,
        }
    }
}

impl Flow for Change {
    const NAME: &'static str = "l3.change";

    fn resource(&self) -> Id<Any> {
        self.l3.cast()
    }

    fn title(&self) -> String {
        format!("change l3 network \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .act_undo("before", Self::nothing, Self::restored)
            .limit(HOST_LIMIT)
            .record_undo("change", Self::change, Self::restore)
            .act("refresh", Self::refresh)
            .limit(HOST_LIMIT)
            .record("settle", Self::settle)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<L3NetworkInventory>(tx, self.l3).await
    }
}

/// Every connected host that runs VMs of the network serves it as the rows say.
async fn refresh(cx: &Cx, l3: Id<L3Network>) -> Result<()> {
    let mut tx = cx.read().await?;
    let l3: L3NetworkInventory = find(&mut tx, l3).await?;
    let hosts = service::hosts_concerned(&mut tx, l3.uuid).await?;
    drop(tx);
    let connected = hosts.iter().filter(|host| host.is_connected());
    try_join_all(connected.map(|host| service::rebuild(cx, host, &l3))).await.map(|_| ())
}
