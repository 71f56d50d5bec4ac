//! The ground that a cloud stands on: machines, and the links between them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::lab::{Bind, Lab, Libvirt, Machine, Network, Spec, Veth};

/// Where the parts of a cloud run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One host in the network that the lab runs in, everything on loopback.
    Here,
    /// The controller and each host in a network of its own.
    Apart { hosts: u8 },
}

/// The gateway of the VMs' network, `192.168.100.0/24`.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
const GATEWAY_ADDRESS: &str = "192.168.100.1/24";
const PHYSICAL: &str = "eth1";
/// Where local storage lies, below the cloud's directory.
pub const PRIMARY: &str = "primary";
/// What all hosts have mounted, below the cloud's directory: a file system that is not their root's.
pub const SHARED: &str = "shared";
/// What all hosts can mount, as an NFS share.
pub const SHARE_URL: &str = "192.0.2.1:/export/cumulet";
/// A name for people to type; there is one cloud of [`Shape::Here`] at most, as its ports are fixed.
const OUTSIDE_HERE: &str = "cumulet-demo";

/// A machine with a role, and how it is reached.
#[derive(Debug)]
pub struct Place {
    /// Its index in [`Ground::machines`].
    pub machine: usize,
    pub address: Ipv4Addr,
    pub network: Option<Network>,
}

/// A hypervisor host.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    pub place: Place,
    pub libvirt: Libvirt,
}

#[derive(Debug)]
pub struct Ground {
    /// Where the controller runs.
    front: Place,
    pub hosts: Vec<Host>,
    pub machines: Vec<Machine>,
    pub outside: Network,
    /// The hosts' interface for VMs.
    pub physical: String,
    /// Goes after the machines.
    pub share: Option<Share>,
}

/// A file system in memory, by the name of an NFS share.
#[derive(Debug)]
pub struct Share(PathBuf);

impl Share {
    /// Empty, also when a cloud at this place was killed before.
    fn make(lab: &Lab) -> Result<Share> {
        let name = lab.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let share = Share(Path::new("/dev/shm").join(format!("cumulet-{name}")));
        share.remove();
        let dir = share.dir();
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        mount(Some(SHARE_URL), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("cannot mount {}", dir.display()))?;
        Ok(share)
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    fn remove(&self) {
        while umount2(self.dir(), MntFlags::MNT_DETACH).is_ok() {}
        let _it_is_in_memory = fs::remove_dir(self.dir());
    }

    /// The machine's own `mount.nfs`: the kernels that tests run on have no NFS. It mounts this, whatever it is told.
    fn mounted_by_name(&self, lab: &Lab, machine: &str) -> Result<Bind> {
        let source = lab.make_dir(&format!("machines/{machine}/sbin"))?;
        let program = source.join("mount.nfs");
        fs::write(&program, format!("#!/bin/sh\nexec mount --bind {} \"$2\"\n", self.dir().display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(Bind { source, target: "/usr/local/sbin".into() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Ground {
    pub fn make(lab: &Lab, shape: &Shape) -> Result<Self> {
        match shape {
            Shape::Here => here(lab),
            Shape::Apart { hosts } => apart(lab, *hosts),
        }
    }

    pub fn front(&self) -> &Place {
        &self.front
    }

    pub fn machine(&self, place: &Place) -> &Machine {
        &self.machines[place.machine]
    }
}

fn here(lab: &Lab) -> Result<Ground> {
    let (physical, peer) = (lab.name("0"), lab.name("1"));
    let outside = lab.network(OUTSIDE_HERE)?;
    lab.veth(Veth { names: [&physical, &peer], networks: [None, Some(&outside)] })?;
    outside.address(&peer, GATEWAY_ADDRESS)?;
    lab.will_remove_bridge(&format!("br_{physical}"))?;
    let libvirt = libvirt(lab, "host-1", 1, None)?;
    let binds = host_binds(lab, "host-1", &libvirt, None)?;
    let machine = lab.machine(Spec { name: "host-1".into(), binds, ..Spec::default() })?;
    let place = || Place { machine: 0, address: Ipv4Addr::LOCALHOST, network: None };
    let host = Host { name: "host-1".into(), place: place(), libvirt };
    Ok(Ground { front: place(), hosts: vec![host], machines: vec![machine], outside, physical, share: None })
}

fn apart(lab: &Lab, count: u8) -> Result<Ground> {
    let outside = switches(lab)?;
    let network = lab.network(&lab.name("-front"))?;
    link(lab, &outside, "management", "m0", &network, "eth0")?;
    network.address("eth0", &format!("{}/24", management(0)))?;
    let spec = Spec { name: "front".into(), hostname: Some("front".into()), ..Spec::default() };
    let machine = lab.machine(Spec { network: Some(network.clone()), ..spec })?;
    let front = Place { machine: 0, address: management(0), network: Some(network) };
    let physical = PHYSICAL.to_owned();
    let share = Some(Share::make(lab)?);
    let mut ground = Ground { front, hosts: Vec::new(), machines: vec![machine], outside, physical, share };
    for number in 1..=count {
        add_host(lab, &mut ground, number)?;
    }
    Ok(ground)
}

/// The outside network with two bridges: one for management, one that carries the VMs' frames.
fn switches(lab: &Lab) -> Result<Network> {
    let outside = lab.network(&lab.name("-outside"))?;
    for bridge in ["management", "vms"] {
        outside.ip(["link", "add", bridge, "type", "bridge", "forward_delay", "0"])?;
        outside.ip(["link", "set", bridge, "up"])?;
    }
    outside.address("vms", GATEWAY_ADDRESS)?;
    Ok(outside)
}

fn link(lab: &Lab, outside: &Network, bridge: &str, port: &str, inside: &Network, name: &str) -> Result<()> {
    lab.veth(Veth { names: [name, port], networks: [Some(inside), Some(outside)] })?;
    outside.ip(["link", "set", port, "master", bridge]).map(drop)
}

fn add_host(lab: &Lab, ground: &mut Ground, number: u8) -> Result<()> {
    let name = format!("host-{number}");
    let network = lab.network(&lab.name(&format!("-host{number}")))?;
    link(lab, &ground.outside, "management", &format!("m{number}"), &network, "eth0")?;
    link(lab, &ground.outside, "vms", &format!("v{number}"), &network, PHYSICAL)?;
    network.address("eth0", &format!("{}/24", management(number)))?;
    let libvirt = libvirt(lab, &name, number, Some(management(number).into()))?;
    let binds = host_binds(lab, &name, &libvirt, ground.share.as_ref())?;
    let spec =
        Spec { name: name.clone(), hostname: Some(name.clone()), network: Some(network.clone()), binds };
    ground.machines.push(lab.machine(spec)?);
    let place =
        Place { machine: ground.machines.len() - 1, address: management(number), network: Some(network) };
    ground.hosts.push(Host { name, place, libvirt });
    Ok(())
}

/// Local storage is each host's own, under a path that is the same on all.
fn host_binds(lab: &Lab, name: &str, libvirt: &Libvirt, share: Option<&Share>) -> Result<Vec<Bind>> {
    let source = lab.make_dir(&format!("machines/{name}/primary"))?;
    let primary = Bind { source, target: lab.make_dir(PRIMARY)? };
    let mut binds: Vec<Bind> = libvirt.binds().into_iter().chain([primary]).collect();
    if let Some(share) = share {
        binds.push(Bind { source: share.dir().to_owned(), target: lab.make_dir(SHARED)? });
        binds.push(share.mounted_by_name(lab, name)?);
    }
    Ok(binds)
}

/// Addresses of the management network; 0 is the controller's.
fn management(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, if number == 0 { 254 } else { number })
}

/// libvirt tells hosts apart by this number, also from those of other clouds. Others reach it at `address`.
fn libvirt(lab: &Lab, name: &str, number: u8, address: Option<IpAddr>) -> Result<Libvirt> {
    let unique = u128::from(std::process::id()) << 8 | u128::from(number);
    let uuid = format!("{:08x}-c0de-4c0d-8c0d-{:012x}", unique >> 48, unique & 0xffff_ffff_ffff);
    Libvirt::lay_out(&lab.make_dir(&format!("machines/{name}/libvirt"))?, &uuid, address)
}
