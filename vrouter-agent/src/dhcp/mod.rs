//! DHCP and DNS of L3 networks on this host.
//!
//! For each network: a namespace `<bridge>_<uuid>`, a port on the bridge, rules that keep its DHCP on
//! this host, a record of what is served, one dnsmasq. All of it is made by `prepare`, completed by
//! whatever command comes next if a crash left it half made, and taken away by `deletenamespace`.
//!
//! Commands for one network run one after another. A command writes the record first and then makes the
//! machine follow it, so repeating it after a crash at any point ends in the same state.

mod apply;
mod delete;
pub mod files;
mod lease;
pub mod name;
pub mod network;
mod prepare;
mod release;
mod server;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wire::Fault;
use wire::agent::{Cx, Routes};
use wire::calls::Done;
use wire::calls::dhcp::Connect;

use crate::config::Config;
use crate::locks::Locks;
use name::Name;
use network::Records;

/// How soon a server that died is started again.
const WATCH: Duration = Duration::from_secs(60);

pub struct Dhcp {
    records: Records,
    /// Whom dnsmasq becomes.
    user: String,
    locks: Locks,
}

pub fn routes(routes: Routes<Dhcp>) -> Routes<Dhcp> {
    routes
        .on(prepare::one)
        .on(prepare::batch)
        .on(apply::one)
        .on(apply::batch)
        .on(release::release)
        .on(delete::delete)
        .on(connect)
}

async fn connect(_: Cx<Dhcp>, _: Connect) -> Result<Done, Fault> {
    Ok(Done {})
}

impl Dhcp {
    pub fn open(config: &Config) -> io::Result<Self> {
        let records = Records::open(&config.state_dir)?;
        Ok(Dhcp { records, user: config.dnsmasq_user.clone(), locks: Locks::default() })
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Finds what an earlier run of this program left: servers that died meanwhile are started again,
    /// and networks whose namespace is gone (the host was rebooted) are forgotten. The controller tells
    /// them anew when it connects the host.
    pub async fn adopt(&self) {
        for name in self.names() {
            let _held = self.locks.hold(&name.to_string()).await;
            let adopted = match host::netns::open(&name.to_string()) {
                Ok(None) => self.take_away(&name).await,
                Ok(Some(_)) => self.revive(&name).await,
                Err(error) => Err(error.into()),
            };
            report(&name, adopted);
        }
    }

    /// Starts servers again that died, until `shutdown`.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            for name in self.names() {
                let _held = self.locks.hold(&name.to_string()).await;
                report(&name, self.revive(&name).await);
            }
        }
    }

    fn names(&self) -> Vec<Name> {
        self.records.names().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list what is served");
            Vec::new()
        })
    }
}

fn report(name: &Name, outcome: Result<(), Fault>) {
    if let Err(error) = outcome {
        tracing::error!(namespace = %name, %error, "a network is not served as it should be");
    }
}

/// All that was tried, as one outcome: nothing is left out because something before it failed.
fn together(outcomes: Vec<Result<Done, Fault>>) -> Result<Done, Fault> {
    let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).map(|fault| fault.error).collect();
    if errors.is_empty() { Ok(Done {}) } else { Err(Fault::new(errors.join("; "))) }
}
