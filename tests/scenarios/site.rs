//! One controller process, one simulated host, and everything that a VM needs.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cumulet_tests::api::{Api, Refusal};
use cumulet_tests::http::Client;
use fleet::{Host, World};
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that can be killed and started again on its database.
pub struct Controller {
    dir: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

pub struct Site {
    pub host: Host,
    pub controller: Controller,
    pub api: Api,
    pub zone: String,
    pub cluster: String,
    pub host_uuid: String,
    pub image: String,
    pub l3: String,
    pub offering: String,
}

impl Controller {
    fn new(host: &Host) -> Controller {
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap();
        let (kvm, vrouter, storage) = (host.kvm.port(), host.vrouter.port(), host.storage.port());
        let config = format!(
            "listen = \"{address}\"\nstate-dir = {:?}\n\n[ports]\nkvm-agent = {kvm}\n\
             vrouter-agent = {vrouter}\nstorage-agent = {storage}\n",
            dir.path()
        );
        std::fs::write(dir.path().join("controller.toml"), config).unwrap();
        Controller { dir, address, child: None }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        let program = cumulet_tests::target().join("debug/cumulet-controller");
        assert!(program.exists(), "{} is missing: cargo build --workspace", program.display());
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the program under test")]
        let child = Command::new(program)
            .arg("--config")
            .arg(self.dir.path().join("controller.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "the controller does not start: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it, from wherever this is called.
    pub fn killer(&self) -> impl FnOnce() + Send + 'static {
        let pid = Pid::from_raw(self.child.as_ref().expect("it runs").id().cast_signed());
        move || kill(pid, Signal::SIGKILL).expect("it lives until now")
    }

    /// Waits for the death that a [`Controller::killer`] brings.
    pub async fn dies(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "the fault did not fire: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            lines.iter().rev().for_each(|line| eprintln!("controller: {line}"));
        }
    }
}

impl Site {
    pub async fn start() -> Site {
        let host = Host::start().await.unwrap();
        let mut controller = Controller::new(&host);
        controller.start().await;
        let base = format!("http://{}/zstack/v1", controller.address);
        let api = Api::login(Client::default(), &base, "admin", "password").await.unwrap();
        let make = async |path: &str, params: Value| -> String {
            let made = api.create(path, params).await.unwrap_or_else(|e| panic!("POST {path}: {e:#}"));
            made["uuid"].as_str().unwrap_or_default().to_owned()
        };
        let zone = make("/zones", json!({ "name": "zone" })).await;
        let cluster = json!({ "name": "cluster", "zoneUuid": zone, "hypervisorType": "KVM" });
        let cluster = make("/clusters", cluster).await;
        let kvm = json!({ "name": "hv1", "managementIp": "127.0.0.1", "clusterUuid": cluster,
            "username": "root", "password": "unused" });
        let host_uuid = make("/hosts/kvm", kvm).await;
        let storage = json!({ "name": "local", "url": "/fleet_ps", "zoneUuid": zone });
        let storage = make("/primary-storage/local-storage", storage).await;
        make(&format!("/clusters/{cluster}/primary-storage/{storage}"), json!({})).await;
        let store = json!({ "name": "images", "hostname": "127.0.0.1", "username": "root",
            "password": "unused", "url": "/fleet_bs" });
        let store = make("/backup-storage/sftp", store).await;
        make(&format!("/zones/{zone}/backup-storage/{store}"), json!({})).await;
        let image = json!({ "name": "tiny", "url": "http://images.example.org/tiny.qcow2",
            "backupStorageUuids": [store], "format": "qcow2", "mediaType": "RootVolumeTemplate",
            "platform": "Linux" });
        let image = make("/images", image).await;
        let l2 = json!({ "name": "l2", "zoneUuid": zone, "physicalInterface": "eth1" });
        let l2 = make("/l2-networks/no-vlan", l2).await;
        make(&format!("/l2-networks/{l2}/clusters/{cluster}"), Value::Null).await;
        let l3 = make("/l3-networks", json!({ "name": "l3", "l2NetworkUuid": l2 })).await;
        let range = json!({ "name": "r", "startIp": "10.9.0.10", "endIp": "10.9.0.40",
            "netmask": "255.255.255.0", "gateway": "10.9.0.1" });
        make(&format!("/l3-networks/{l3}/ip-ranges"), range).await;
        let flat = api.get("/network-services/providers?q=type=Flat").await.unwrap();
        let flat = flat["inventories"][0]["uuid"].as_str().unwrap().to_owned();
        let services = json!({ "networkServices": { flat: ["DHCP", "DNS"] } });
        make(&format!("/l3-networks/{l3}/network-services"), services).await;
        let offering = json!({ "name": "small", "cpuNum": 1, "memorySize": 128 << 20 });
        let offering = make("/instance-offerings", offering).await;
        Site { host, controller, api, zone, cluster, host_uuid, image, l3, offering }
    }

    pub fn world(&self) -> &World {
        &self.host.world
    }

    pub fn vm(&self, name: &str) -> Value {
        json!({ "name": name, "instanceOfferingUuid": self.offering, "imageUuid": self.image,
            "l3NetworkUuids": [self.l3] })
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
