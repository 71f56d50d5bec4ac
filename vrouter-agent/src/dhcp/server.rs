//! Makes dnsmasq serve what a record says.

use std::path::Path;

use host::netns::{self, Namespace};
use wire::Fault;

use super::Dhcp;
use super::files::{Files, Step};
use super::name::Name;
use super::network::Network;
use crate::sys::{dnsmasq, filter, port};

impl Dhcp {
    /// Rules, route, files and server, as the record says.
    pub(super) async fn serve(&self, network: &Network, namespace: &Namespace) -> Result<(), Fault> {
        let uplinks = port::uplinks(&network.name).await?;
        filter::apply(network, &uplinks).await?;
        port::route(namespace, network.gateway()).await?;
        let dir = self.records.dnsmasq_dir(&network.name);
        let files = self.files(network);
        match self.step(&files, &dir, namespace)? {
            Step::Nothing => {}
            Step::Add => files.add(&dir)?,
            Step::Restart => restart(&files, &dir, namespace).await?,
        }
        Ok(())
    }

    /// Starts the server when it is not there or not the one it should be.
    pub(super) async fn revive(&self, name: &Name) -> Result<(), Fault> {
        let Some(network) = self.records.load(name)? else { return Ok(()) };
        let Some(namespace) = netns::open(&name.to_string())? else { return Ok(()) };
        let dir = self.records.dnsmasq_dir(name);
        if self.step(&self.files(&network), &dir, &namespace)? != Step::Nothing {
            tracing::warn!(namespace = %name, "it is not served as it was: serving it again");
            self.serve(&network, &namespace).await?;
        }
        Ok(())
    }

    fn files(&self, network: &Network) -> Files {
        Files::of(network, &self.user, Path::new(dnsmasq::SEEN_AT))
    }

    fn step(&self, files: &Files, dir: &Path, namespace: &Namespace) -> Result<Step, Fault> {
        match dnsmasq::find(dir, namespace)? {
            Some(_) => Ok(files.step(dir)?),
            None => Ok(Step::Restart),
        }
    }
}

/// What a server that runs has read is what lies there: nothing is written before the old one has stopped.
async fn restart(files: &Files, dir: &Path, namespace: &Namespace) -> Result<(), Fault> {
    dnsmasq::stop(dir).await?;
    files.rewrite(dir)?;
    dnsmasq::start(dir, namespace).await?;
    tracing::info!(namespace = namespace.name(), "dnsmasq started");
    Ok(())
}
