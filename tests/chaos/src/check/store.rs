//! What stands in the metadata database, read past the controllers.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::postgres::PgConnection;

use super::Finding;
use crate::plan::CONTROLLERS;

const NODES: &str = "SELECT uuid, url FROM node";
const FLOWS: &str = "SELECT uuid, title, state, resource FROM flow WHERE state IN ('running', 'parked')";
const OWNED: &str = "SELECT resource, flow FROM ownership WHERE flow IS NOT NULL \
     AND flow NOT IN (SELECT uuid FROM flow WHERE state IN ('running', 'parked'))";
const JOBS: &str = "SELECT uuid, api, state FROM job WHERE state <> 'done'";
const VMS: &str = "SELECT v.uuid, v.state, v.host_uuid AS host, c.host_uuid AS claim, \
     r.install_path AS root, r.host_uuid AS root_host \
     FROM vm_instance v LEFT JOIN host_claim c ON c.vm_instance_uuid = v.uuid \
     LEFT JOIN volume r ON r.uuid = v.root_volume_uuid";
const HOSTS: &str = "SELECT uuid, management_ip, status FROM host";
const ZONES: &str = "SELECT uuid, name FROM zone";
const IMAGES: &str = "SELECT uuid, status FROM image";
const COPIES: &str = "SELECT image_uuid, status FROM image_backup_storage";
const NICS: &str = "SELECT n.uuid, n.vm_instance_uuid AS vm, n.mac, n.ip, u.ip AS used FROM vm_nic n \
     LEFT JOIN used_ip u ON u.vm_nic_uuid = n.uuid";
const LOOSE: &str = "SELECT 'address ' || ip FROM used_ip WHERE vm_nic_uuid IS NULL AND used_for IS NULL \
     UNION ALL SELECT 'volume ' || uuid FROM volume WHERE vm_instance_uuid IS NULL OR status <> 'Ready' \
     UNION ALL SELECT 'claim of ' || vm_instance_uuid FROM host_claim \
     WHERE cpu <> 1 OR memory <> 134217728";
const PARTS: &str = "SELECT 'backup storage ' || uuid, status FROM backup_storage WHERE status <> 'Connected' \
     UNION ALL SELECT 'host ' || name, status FROM host WHERE status <> 'Connected'";

#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct Vm {
    pub uuid: String,
    pub state: String,
    pub host: Option<String>,
    pub claim: Option<String>,
    pub root: Option<String>,
    pub root_host: Option<String>,
}

#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct Nic {
    pub uuid: String,
    pub vm: String,
    pub mac: String,
    pub ip: Option<String>,
    pub used: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pub nodes: Vec<(String, String)>,
    pub flows: Vec<(String, String, String, String)>,
    pub owned: Vec<(String, String)>,
    pub jobs: Vec<(String, String, String)>,
    pub parts: Vec<(String, String)>,
    pub vms: Vec<Vm>,
    /// Uuid by address.
    pub hosts: BTreeMap<String, String>,
    pub zones: BTreeMap<String, String>,
    pub images: BTreeMap<String, String>,
    pub copies: Vec<(String, String)>,
    pub nics: Vec<Nic>,
    pub loose: Vec<String>,
}

impl Metadata {
    pub async fn read(db: &mut PgConnection) -> Result<Self> {
        let hosts: Vec<(String, String, String)> = sqlx::query_as(HOSTS).fetch_all(&mut *db).await?;
        let zones: Vec<(String, String)> = sqlx::query_as(ZONES).fetch_all(&mut *db).await?;
        let images: Vec<(String, String)> = sqlx::query_as(IMAGES).fetch_all(&mut *db).await?;
        let loose: Vec<(String,)> = sqlx::query_as(LOOSE).fetch_all(&mut *db).await?;
        Ok(Metadata {
            nodes: sqlx::query_as(NODES).fetch_all(&mut *db).await?,
            flows: sqlx::query_as(FLOWS).fetch_all(&mut *db).await?,
            owned: sqlx::query_as(OWNED).fetch_all(&mut *db).await?,
            jobs: sqlx::query_as(JOBS).fetch_all(&mut *db).await?,
            parts: sqlx::query_as(PARTS).fetch_all(&mut *db).await?,
            vms: sqlx::query_as(VMS).fetch_all(&mut *db).await?,
            hosts: hosts.into_iter().map(|(uuid, ip, _)| (ip, uuid)).collect(),
            zones: zones.into_iter().collect(),
            images: images.into_iter().collect(),
            copies: sqlx::query_as(COPIES).fetch_all(&mut *db).await?,
            nics: sqlx::query_as(NICS).fetch_all(&mut *db).await?,
            loose: loose.into_iter().map(|(one,)| one).collect(),
        })
    }

    /// What has not come to rest.
    pub fn restless(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.nodes.len() != CONTROLLERS {
            found.push(Finding::new(format!("{} controllers live: {:?}", self.nodes.len(), self.nodes), &[]));
        }
        for (uuid, title, state, resource) in &self.flows {
            found.push(Finding::new(format!("flow {uuid} ({title}) is {state}"), &[uuid, resource]));
        }
        for (uuid, api, state) in &self.jobs {
            found.push(Finding::new(format!("job {uuid} ({api}) is {state}"), &[uuid]));
        }
        for (resource, flow) in &self.owned {
            found.push(Finding::new(
                format!("{resource} is owned by {flow}, which is over"),
                &[resource, flow],
            ));
        }
        for vm in self.vms.iter().filter(|vm| vm.state.ends_with("ing") && vm.state != "Running") {
            found.push(Finding::new(format!("vm {} is {}", vm.uuid, vm.state), &[&vm.uuid]));
        }
        for (uuid, status) in self.images.iter().filter(|(_, status)| status.ends_with("ing")) {
            found.push(Finding::new(format!("image {uuid} is {status}"), &[uuid]));
        }
        for (part, status) in &self.parts {
            found.push(Finding::new(format!("{part} is {status}"), &[]));
        }
        found
    }
}
