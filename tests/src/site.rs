//! What every VM needs, made through the public API: from the zone to an instance offering.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::{Api, text};

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

/// What a site shall consist of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Names and addresses.
    pub hosts: Vec<(String, IpAddr)>,
    /// Where the hosts keep volumes.
    pub primary: String,
    /// Where the storage-agent is.
    pub images_at: IpAddr,
    /// Where it keeps images.
    pub backup: String,
    /// From where the image comes.
    pub image: String,
    /// The hosts' interface for VMs.
    pub physical: String,
    pub range: Range,
}

/// The addresses that VMs get.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
    pub netmask: Ipv4Addr,
    /// Also their DNS server.
    pub gateway: Ipv4Addr,
}

/// Says what is made, makes it.
struct Maker<'a> {
    api: &'a Api,
    narrate: &'a (dyn Fn(&str) + Send + Sync),
}

impl Site {
    /// Makes all of it; `narrate` is told what is about to be made.
    pub async fn furnish(api: &Api, wanted: &Wanted, narrate: &(dyn Fn(&str) + Send + Sync)) -> Result<Self> {
        let maker = Maker { api, narrate };
        let zone = maker.make("zone", "/zones", json!({ "name": "zone-1" })).await?;
        let cluster = json!({ "zoneUuid": zone, "name": "cluster-1", "hypervisorType": "KVM" });
        let cluster = maker.make("cluster", "/clusters", cluster).await?;
        let hosts = maker.hosts(wanted, &cluster).await?;
        let primary_storage = maker.primary_storage(wanted, &zone, &cluster).await?;
        let backup_storage = maker.backup_storage(wanted, &zone).await?;
        let image = maker.image(wanted, &backup_storage).await?;
        let l2 = maker.l2(wanted, &zone, &cluster).await?;
        let l3 = maker.l3(wanted.range, &l2).await?;
        let offering = json!({ "name": "small", "cpuNum": 1, "memorySize": 128 << 20 });
        let offering = maker.make("instance offering", "/instance-offerings", offering).await?;
        Ok(Self { zone, cluster, hosts, primary_storage, backup_storage, image, l2, l3, offering })
    }

    /// The parameters that create a VM here.
    pub fn vm(&self, name: impl Display) -> Value {
        json!({
            "name": name.to_string(),
            "instanceOfferingUuid": self.offering,
            "imageUuid": self.image,
            "l3NetworkUuids": [self.l3],
        })
    }

    /// The same without an image: one whose disks begin with something else.
    pub fn vm_of_nothing(&self, name: impl Display) -> Value {
        let mut params = self.vm(name);
        if let Some(params) = params.as_object_mut() {
            params.remove("imageUuid");
        }
        params
    }
}

impl Maker<'_> {
    /// Its uuid.
    async fn make(&self, what: &str, path: &str, params: Value) -> Result<String> {
        (self.narrate)(what);
        let inventory = self.api.create(path, params).await?;
        Ok(text(&inventory, "/uuid")?.to_owned())
    }

    async fn hosts(&self, wanted: &Wanted, cluster: &str) -> Result<Vec<String>> {
        let mut hosts = Vec::new();
        for (name, address) in &wanted.hosts {
            let params = json!({
                "name": name,
                "managementIp": address,
                "clusterUuid": cluster,
                "username": "root",
                "password": "unused",
            });
            hosts.push(self.make(&format!("host {name}"), "/hosts/kvm", params).await?);
        }
        Ok(hosts)
    }

    async fn primary_storage(&self, wanted: &Wanted, zone: &str, cluster: &str) -> Result<String> {
        let params = json!({ "name": "local", "url": wanted.primary, "zoneUuid": zone });
        let uuid = self.make("primary storage", "/primary-storage/local-storage", params).await?;
        let path = format!("/clusters/{cluster}/primary-storage/{uuid}");
        self.make("primary storage for the cluster", &path, json!({})).await?;
        Ok(uuid)
    }

    async fn backup_storage(&self, wanted: &Wanted, zone: &str) -> Result<String> {
        let params = json!({
            "name": "images",
            "hostname": wanted.images_at,
            "username": "root",
            "password": "unused",
            "url": wanted.backup,
        });
        let uuid = self.make("backup storage", "/backup-storage/sftp", params).await?;
        let path = format!("/zones/{zone}/backup-storage/{uuid}");
        self.make("backup storage for the zone", &path, json!({})).await?;
        Ok(uuid)
    }

    async fn image(&self, wanted: &Wanted, backup_storage: &str) -> Result<String> {
        let params = json!({
            "name": "guest",
            "url": wanted.image,
            "backupStorageUuids": [backup_storage],
            "format": "qcow2",
            "mediaType": "RootVolumeTemplate",
            "platform": "Linux",
        });
        self.make("image", "/images", params).await
    }

    async fn l2(&self, wanted: &Wanted, zone: &str, cluster: &str) -> Result<String> {
        let params = json!({ "name": "l2", "zoneUuid": zone, "physicalInterface": wanted.physical });
        let uuid = self.make("L2 network", "/l2-networks/no-vlan", params).await?;
        let path = format!("/l2-networks/{uuid}/clusters/{cluster}");
        // Of this call, ZStack names no member for its parameters: all of them stand in the path.
        self.make("L2 network for the cluster", &path, Value::Null).await?;
        Ok(uuid)
    }

    async fn l3(&self, range: Range, l2: &str) -> Result<String> {
        let l3 =
            self.make("L3 network", "/l3-networks", json!({ "name": "l3", "l2NetworkUuid": l2 })).await?;
        let Range { start, end, netmask, gateway } = range;
        let range = json!({ "name": "range", "startIp": start, "endIp": end, "netmask": netmask,
            "gateway": gateway });
        self.make("IP range", &format!("/l3-networks/{l3}/ip-ranges"), range).await?;
        self.make("DNS", &format!("/l3-networks/{l3}/dns"), json!({ "dns": gateway })).await?;
        let providers = self.api.get("/network-services/providers?q=type=Flat").await?;
        let provider = text(&providers, "/inventories/0/uuid").context("no provider of flat networks")?;
        let services = json!({ "networkServices": { provider: ["DHCP", "DNS"] } });
        self.make("DHCP and DNS", &format!("/l3-networks/{l3}/network-services"), services).await?;
        Ok(l3)
    }
}
