//! Networks of a lab: named network namespaces, the links between them, connections made from within.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::program::run;

/// A named network namespace; removed with its lab.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
}

/// A pair of interfaces: their names, and the network of each end (`None`: the one that the lab runs in).
pub struct Veth<'a> {
    pub names: [&'a str; 2],
    pub networks: [Option<&'a Network>; 2],
}

impl Network {
    pub(super) fn make(name: &str) -> Result<Self> {
        run("ip", ["netns", "add", name])?;
        let network = Self { name: name.to_owned() };
        network.ip(["link", "set", "lo", "up"])?;
        Ok(network)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// `ip <args>` in this network.
    pub fn ip<'a>(&'a self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        run("ip", ["-n", &self.name].into_iter().chain(args))
    }

    /// Brings an interface up with an address such as `10.0.0.1/24`.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        self.ip(["addr", "replace", address, "dev", interface])?;
        self.ip(["link", "set", interface, "up"]).map(drop)
    }

    /// Connects from within this network.
    pub async fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let namespace = File::open(self.path()).with_context(|| format!("network {} is gone", self.name))?;
        let (sender, receiver) = oneshot::channel();
        // A thread of its own: a thread that has entered another network must never serve anything else.
        std::thread::spawn(move || {
            let _receiver_gave_up = sender.send(connect_inside(&namespace, to, limit));
        });
        let stream = receiver.await.context("the connecting thread died")??;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream)?)
    }
}

fn connect_inside(namespace: &File, to: SocketAddr, limit: Duration) -> Result<std::net::TcpStream> {
    setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the network")?;
    std::net::TcpStream::connect_timeout(&to, limit).with_context(|| format!("cannot connect to {to}"))
}

impl Veth<'_> {
    pub(super) fn make(&self) -> Result<()> {
        let [first, second] = self.names;
        let mut args = vec!["link", "add", first];
        args.extend(self.networks[0].map(|network| ["netns", network.name()]).into_iter().flatten());
        args.extend(["type", "veth", "peer", "name", second]);
        args.extend(self.networks[1].map(|network| ["netns", network.name()]).into_iter().flatten());
        run("ip", args)?;
        for (name, network) in self.names.into_iter().zip(self.networks) {
            match network {
                Some(network) => network.ip(["link", "set", name, "up"])?,
                None => run("ip", ["link", "set", name, "up"])?,
            };
        }
        Ok(())
    }
}

pub(super) fn remove_interface(name: &str) -> Result<()> {
    if interface_exists(name) {
        run("ip", ["link", "del", name])?;
    }
    Ok(())
}

/// Removes the bridge and the interfaces on it.
pub(super) fn remove_bridge(name: &str) -> Result<()> {
    if let Ok(ports) = fs::read_dir(format!("/sys/class/net/{name}/brif")) {
        for port in ports {
            remove_interface(&port?.file_name().to_string_lossy())?;
        }
    }
    remove_interface(name)
}

pub(super) fn remove_network(name: &str) -> Result<()> {
    if Path::new("/run/netns").join(name).exists() {
        run("ip", ["netns", "del", name])?;
    }
    Ok(())
}

/// In the network that the lab runs in.
pub fn interface_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}
