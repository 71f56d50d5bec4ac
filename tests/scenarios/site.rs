//! One controller process, one simulated host, and everything that a VM needs.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::path::PathBuf;

use cumulet_tests::api::{Api, Refusal};
use cumulet_tests::controller::{Controller, Ports};
use cumulet_tests::site::{Range, Site as Furnished, Wanted};
use fleet::{Host, Place, Share, Size, World};
use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

/// As it is dropped, from top to bottom.
pub struct Site {
    pub controller: Controller,
    pub host: Host,
    pub api: Api,
    furnished: Furnished,
    _dir: TempDir,
}

/// What is there can be asked for by name: `site.zone`.
impl Deref for Site {
    type Target = Furnished;

    fn deref(&self) -> &Furnished {
        &self.furnished
    }
}

pub fn wanted() -> Wanted {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    Wanted {
        hosts: vec![("hv1".into(), here)],
        primary: "/fleet_ps".into(),
        images_at: here,
        backup: "/fleet_bs".into(),
        image: "http://images.example.org/tiny.qcow2".into(),
        physical: "eth1".into(),
        range: Range {
            start: Ipv4Addr::new(10, 9, 0, 10),
            end: Ipv4Addr::new(10, 9, 0, 40),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: Ipv4Addr::new(10, 9, 0, 1),
        },
    }
}

impl Site {
    pub async fn start() -> Site {
        let program = cumulet_tests::target().join("debug/cumulet-controller");
        Site::of(program, Host::start().await.unwrap()).await
    }

    /// With a second host, beside the first one: at addresses that no other test of this machine uses.
    pub async fn of_two(number: u8) -> (Site, Host) {
        Site::of_two_with(number, [None, None]).await
    }

    /// With what each of them has mounted.
    pub async fn of_two_with(number: u8, shares: [Option<&'static Share>; 2]) -> (Site, Host) {
        let program = cumulet_tests::target().join("debug/cumulet-controller");
        let [.., high, low] = std::process::id().to_be_bytes();
        let at = |host: u8| IpAddr::from(Ipv4Addr::new(127, 128 + (high & 63), low, 4 * number + host));
        let place = Place { address: at(1), share: shares[0], ..Place::default() };
        let first = Host::start_at(place, Size::default()).await.unwrap();
        let (kvm, vrouter, storage) = (first.kvm.port(), first.vrouter.port(), first.storage.port());
        let place = Place { address: at(2), kvm, vrouter, storage, share: shares[1], ..Place::default() };
        let second = Host::start_at(place, Size::default()).await.unwrap();
        let hosts = vec![("hv1".into(), at(1)), ("hv2".into(), at(2))];
        let wanted = Wanted { hosts, images_at: at(1), ..wanted() };
        (Site::with(program, first, &wanted).await, second)
    }

    /// One whose controller is this program.
    pub async fn of(program: PathBuf, host: Host) -> Site {
        Site::with(program, host, &wanted()).await
    }

    async fn with(program: PathBuf, host: Host, wanted: &Wanted) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let ports =
            Ports { kvm: host.kvm.port(), vrouter: host.vrouter.port(), storage: host.storage.port() };
        let mut controller = Controller::new(program, dir.path(), ports).unwrap();
        controller.start().await.unwrap();
        let api = controller.login().await.unwrap();
        let furnished = Furnished::furnish(&api, wanted, &|_| ()).await.unwrap();
        Site { controller, host, api, furnished, _dir: dir }
    }

    pub fn world(&self) -> &World {
        &self.host.world
    }

    /// Acknowledged, and under way from now on: where to ask how it goes.
    pub async fn begin(&self, method: Method, path: &str, body: Value) -> String {
        self.api.begin(method, path, body).await.unwrap()
    }

    /// How what was begun has ended.
    pub async fn end(&self, location: &str) -> Result<Value, String> {
        self.api.follow(location).await.map_err(|error| {
            error.downcast_ref::<Refusal>().map_or_else(|| format!("{error:#}"), |r| r.details.clone())
        })
    }

    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut reply = self.api.get(path).await.unwrap();
        serde_json::from_value(reply["inventories"].take()).unwrap()
    }

    pub async fn refused(&self, method: Method, path: &str, body: Value) -> Refusal {
        let error = self.api.call(method, path, body).await.expect_err("it should be refused");
        error.downcast_ref::<Refusal>().unwrap_or_else(|| panic!("{error:#}")).clone()
    }

    /// CPU and memory that the host has left, and the space of its storage.
    pub async fn capacity(&self) -> [i64; 3] {
        let host = &self.list("/hosts").await[0];
        let storage = &self.list("/primary-storage").await[0];
        let number = |value: &Value| value.as_i64().unwrap();
        [
            number(&host["availableCpuCapacity"]),
            number(&host["availableMemoryCapacity"]),
            number(&storage["availableCapacity"]),
        ]
    }
}
