//! What a cloud holds, made through the public API: from the zone to a VM that answers.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ground::{GATEWAY, Ground};
use super::{Narrator, Plan};
use crate::api::{Api, text};
use crate::http::Client;
use crate::lab::Network;

/// The uuids of what every VM needs.
#[derive(Debug, Clone)]
pub struct Site {
    pub zone: String,
    pub cluster: String,
    pub hosts: Vec<String>,
    pub primary_storage: String,
    pub backup_storage: String,
    pub image: String,
    pub l2: String,
    pub l3: String,
    pub offering: String,
}

#[derive(Debug, Clone)]
pub struct Vm {
    pub uuid: String,
    pub name: String,
    pub ip: String,
    pub host: String,
}

/// Says what is made, makes it.
struct Maker<'a> {
    api: &'a Api,
    narrator: &'a Narrator,
}

impl Maker<'_> {
    /// Its uuid.
    async fn make(&self, what: &str, path: &str, params: Value) -> Result<String> {
        (self.narrator)(what);
        let inventory = self.api.create(path, params).await?;
        Ok(text(&inventory, "/uuid")?.to_owned())
    }
}

impl Site {
    pub(super) async fn furnish(api: &Api, ground: &Ground, plan: &Plan) -> Result<Self> {
        let maker = Maker { api, narrator: &plan.narrator };
        let zone = maker.make("zone", "/zones", json!({ "name": "zone-1" })).await?;
        let cluster = json!({ "zoneUuid": zone, "name": "cluster-1", "hypervisorType": "KVM" });
        let cluster = maker.make("cluster", "/clusters", cluster).await?;
        let hosts = hosts(&maker, ground, &cluster).await?;
        let primary_storage = primary_storage(&maker, plan, &zone, &cluster).await?;
        let backup_storage = backup_storage(&maker, ground, plan, &zone).await?;
        let image = image(&maker, plan, &backup_storage).await?;
        let l2 = l2(&maker, ground, &zone, &cluster).await?;
        let l3 = l3(&maker, &l2).await?;
        let offering = json!({ "name": "small", "cpuNum": 1, "memorySize": 128 << 20 });
        let offering = maker.make("instance offering", "/instance-offerings", offering).await?;
        Ok(Self { zone, cluster, hosts, primary_storage, backup_storage, image, l2, l3, offering })
    }

    pub(super) async fn create_vm(&self, api: &Api, name: &str) -> Result<Vm> {
        let vm = json!({
            "name": name,
            "instanceOfferingUuid": self.offering,
            "imageUuid": self.image,
            "l3NetworkUuids": [self.l3],
        });
        let vm = api.create("/vm-instances", vm).await?;
        let state = text(&vm, "/state")?;
        ensure!(state == "Running", "vm {name:?} should run and is {state}");
        let field = |pointer| text(&vm, pointer).map(str::to_owned);
        Ok(Vm {
            uuid: field("/uuid")?,
            name: name.to_owned(),
            ip: field("/vmNics/0/ip")?,
            host: field("/hostUuid")?,
        })
    }

    /// Deletes everything, and the bits of the image too.
    pub(super) async fn delete(&self, api: &Api) -> Result<()> {
        api.delete(&format!("/zones/{}?deleteMode=Permissive", self.zone)).await?;
        api.delete(&format!("/images/{}?deleteMode=Permissive", self.image)).await?;
        let expunge = json!({ "expungeImage": { "backupStorageUuids": [self.backup_storage] } });
        api.call(hyper::Method::PUT, &format!("/images/{}/actions", self.image), expunge).await?;
        api.delete(&format!("/backup-storage/{}?deleteMode=Permissive", self.backup_storage)).await?;
        api.delete(&format!("/instance-offerings/{}?deleteMode=Permissive", self.offering)).await?;
        Ok(())
    }
}

async fn hosts(maker: &Maker<'_>, ground: &Ground, cluster: &str) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for host in &ground.hosts {
        let params = json!({
            "name": host.name,
            "managementIp": host.place.address,
            "clusterUuid": cluster,
            "username": "root",
            "password": "unused",
        });
        hosts.push(maker.make(&format!("host {}", host.name), "/hosts/kvm", params).await?);
    }
    Ok(hosts)
}

async fn primary_storage(maker: &Maker<'_>, plan: &Plan, zone: &str, cluster: &str) -> Result<String> {
    let url = plan.dir.join("primary");
    let params = json!({ "name": "local", "url": url, "zoneUuid": zone });
    let uuid = maker.make("primary storage", "/primary-storage/local-storage", params).await?;
    let path = format!("/clusters/{cluster}/primary-storage/{uuid}");
    maker.make("primary storage for the cluster", &path, json!({})).await?;
    Ok(uuid)
}

async fn backup_storage(maker: &Maker<'_>, ground: &Ground, plan: &Plan, zone: &str) -> Result<String> {
    let params = json!({
        "name": "images",
        "hostname": ground.front().address,
        "username": "root",
        "password": "unused",
        "url": plan.dir.join("backup"),
    });
    let uuid = maker.make("backup storage", "/backup-storage/sftp", params).await?;
    let path = format!("/zones/{zone}/backup-storage/{uuid}");
    maker.make("backup storage for the zone", &path, json!({})).await?;
    Ok(uuid)
}

async fn image(maker: &Maker<'_>, plan: &Plan, backup_storage: &str) -> Result<String> {
    let params = json!({
        "name": "guest",
        "url": format!("file://{}", plan.image.display()),
        "backupStorageUuids": [backup_storage],
        "format": "qcow2",
        "mediaType": "RootVolumeTemplate",
        "platform": "Linux",
    });
    maker.make("image", "/images", params).await
}

async fn l2(maker: &Maker<'_>, ground: &Ground, zone: &str, cluster: &str) -> Result<String> {
    let params = json!({ "name": "l2", "zoneUuid": zone, "physicalInterface": ground.physical });
    let uuid = maker.make("L2 network", "/l2-networks/no-vlan", params).await?;
    let path = format!("/l2-networks/{uuid}/clusters/{cluster}");
    // Of this call, ZStack names no member for its parameters: all of them stand in the path.
    maker.make("L2 network for the cluster", &path, Value::Null).await?;
    Ok(uuid)
}

async fn l3(maker: &Maker<'_>, l2: &str) -> Result<String> {
    let l3 = maker.make("L3 network", "/l3-networks", json!({ "name": "l3", "l2NetworkUuid": l2 })).await?;
    let [a, b, c, _] = GATEWAY.octets();
    let range = json!({
        "name": "range",
        "startIp": format!("{a}.{b}.{c}.10"),
        "endIp": format!("{a}.{b}.{c}.200"),
        "netmask": "255.255.255.0",
        "gateway": GATEWAY,
    });
    maker.make("IP range", &format!("/l3-networks/{l3}/ip-ranges"), range).await?;
    maker.make("DNS", &format!("/l3-networks/{l3}/dns"), json!({ "dns": GATEWAY })).await?;
    let providers = maker.api.get("/network-services/providers?q=type=Flat").await?;
    let provider = text(&providers, "/inventories/0/uuid").context("no provider of flat networks")?;
    let services = json!({ "networkServices": { provider: ["DHCP", "DNS"] } });
    maker.make("DHCP and DNS", &format!("/l3-networks/{l3}/network-services"), services).await?;
    Ok(l3)
}

/// Asks the guest's own web server, from `outside`, until it answers.
pub(super) async fn guest_answers(outside: &Network, vm: &Vm, patience: Duration) -> Result<String> {
    let client = Client { network: Some(outside.clone()) };
    let deadline = Instant::now() + patience;
    let url = format!("http://{}/", vm.ip);
    loop {
        match client.get(&url, Duration::from_secs(3)).await {
            Ok(answer) => return greeting(vm, answer.text()),
            Err(error) if Instant::now() > deadline => {
                let limit = patience.as_secs();
                return Err(error.context(format!("guest {:?} does not answer within {limit} s", vm.name)));
            }
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

fn greeting(vm: &Vm, said: String) -> Result<String> {
    let said = said.trim().to_owned();
    if !said.contains(&vm.ip) {
        bail!("guest {:?} should know its address {} and says {said:?}", vm.name, vm.ip);
    }
    Ok(said)
}

pub(super) async fn console(api: &Api, vm: &Vm) -> Result<String> {
    let access = api.create("/consoles", json!({ "vmInstanceUuid": vm.uuid })).await?;
    let field = |pointer| text(&access, pointer);
    let port = access["port"].as_u64().context("the console has no port")?;
    let (scheme, host, token) = (field("/scheme")?, field("/hostname")?, field("/token")?);
    Ok(format!("{scheme}://{host}:{port}/vnc.html?token={token}"))
}
