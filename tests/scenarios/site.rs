//! One controller process, one simulated host, and everything that a VM needs.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use cumulet_tests::api::{Api, Refusal};
use cumulet_tests::controller::{Controller, Ports};
use cumulet_tests::site::{Range, Site as Furnished, Wanted};
use fleet::{Host, World};
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
        let (host, dir) = (Host::start().await.unwrap(), tempfile::tempdir().unwrap());
        let program = cumulet_tests::target().join("debug/cumulet-controller");
        let ports =
            Ports { kvm: host.kvm.port(), vrouter: host.vrouter.port(), storage: host.storage.port() };
        let mut controller = Controller::new(program, dir.path(), ports).unwrap();
        controller.start().await.unwrap();
        let api = controller.login().await.unwrap();
        let furnished = Furnished::furnish(&api, &wanted(), &|_| ()).await.unwrap();
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
