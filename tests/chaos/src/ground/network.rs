//! A bridge, a namespace for each party on it, and rules that part them. The namespace with the bridge is the
//! clients'; it is this process's own, and goes with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use cumulet_tests::lab::program::run;
use cumulet_tests::lab::{Lab, Network, Veth};
use nix::sched::{CloneFlags, unshare};

use crate::plan::Way;

const BRIDGE: &str = "br-chaos";
pub const CLIENTS: Ipv4Addr = address(1);
/// Where the primary is, whoever it is.
pub const PRIMARY: Ipv4Addr = address(20);

pub const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// Packets between a party and some addresses that are lost or refused, as long as it is there.
pub struct Cut {
    network: Network,
    table: String,
}

/// Leaves the network that this process was started in. Before there are threads.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network: run as root")?;
    run("ip", ["link", "set", "lo", "up"])?;
    run("ip", ["link", "add", BRIDGE, "type", "bridge"])?;
    run("ip", ["addr", "add", &format!("{CLIENTS}/24"), "dev", BRIDGE])?;
    run("ip", ["link", "set", BRIDGE, "up"]).map(drop)
}

/// A party's namespace, on the bridge.
pub fn join(lab: &Lab, name: &str, addresses: &[Ipv4Addr]) -> Result<Network> {
    let network = lab.network(&lab.name(name))?;
    let outside = format!("v-{name}");
    lab.veth(Veth { names: [&outside, "eth0"], networks: [None, Some(&network)] })?;
    run("ip", ["link", "set", &outside, "master", BRIDGE])?;
    for address in addresses {
        network.address("eth0", &format!("{address}/24"))?;
    }
    Ok(network)
}

/// Has `to` own the address, and everybody know it.
pub fn move_address(address: Ipv4Addr, to: &Network, all: &[Network]) -> Result<()> {
    let text = format!("{address}/32");
    for network in all {
        let _it_was_elsewhere = network.ip(["addr", "del", &text, "dev", "eth0"]);
    }
    let _it_was_not_silent = nft(to, "delete table inet silent\n");
    to.address("eth0", &text)?;
    for network in all {
        let _nobody_was_known = network.ip(["neigh", "flush", "to", &text]);
    }
    let _nobody_was_known = run("ip", ["neigh", "flush", "to", &text]);
    Ok(())
}

/// What the kernel still has to say from an address that was taken away stays unsaid.
pub fn silence(network: &Network, address: Ipv4Addr) -> Result<()> {
    let rule = format!("ip saddr {address} drop");
    let rules = format!(
        "table inet silent {{\nchain output {{\ntype filter hook output priority 0;\n{rule}\n}}\n}}\n"
    );
    nft(network, &rules)
}

/// Parts a network from addresses.
pub fn cut(network: &Network, number: usize, from: &[Ipv4Addr], way: Way) -> Result<Cut> {
    let table = format!("cut{number}");
    let list: Vec<_> = from.iter().map(ToString::to_string).collect();
    let list = list.join(", ");
    let (lost, refused) = ("drop", "meta l4proto tcp reject with tcp reset");
    let (inward, outward) = match way {
        Way::Both => (Some(lost), Some(lost)),
        Way::Inward => (Some(lost), None),
        Way::Outward => (None, Some(lost)),
        Way::Refused => (Some(refused), Some(refused)),
    };
    let rule = |which: &str, what: Option<&str>| {
        what.map(|what| format!("ip {which} {{ {list} }} {what}\n")).unwrap_or_default()
    };
    let rules = format!(
        "table inet {table} {{\nchain input {{\ntype filter hook input priority 0;\n{}}}\n\
         chain output {{\ntype filter hook output priority 0;\n{}}}\n}}\n",
        rule("saddr", inward),
        rule("daddr", outward)
    );
    nft(network, &rules)?;
    Ok(Cut { network: network.clone(), table })
}

impl Cut {
    /// Whether nothing gets through to where somebody listens.
    pub async fn works(&self, to: SocketAddr) -> bool {
        self.network.connect(to, Duration::from_millis(400)).await.is_err()
    }

    pub fn heal(&self) -> Result<()> {
        nft(&self.network, &format!("delete table inet {}\n", self.table))
    }
}

fn nft(network: &Network, rules: &str) -> Result<()> {
    let net = format!("--net={}", network.path().display());
    run("nsenter", [&net, "nft", rules]).map(drop)
}

pub fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}
