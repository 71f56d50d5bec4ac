//! What a cloud holds, from the zone to a VM that answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::ground::{GATEWAY, Ground, PRIMARY};
use crate::api::{Api, text};
use crate::http::Client;
use crate::lab::Network;
use crate::site::{Range, Site, Wanted};

#[derive(Debug, Clone)]
pub struct Vm {
    pub uuid: String,
    pub name: String,
    pub ip: String,
    pub host: String,
}

/// Furnishes the ground.
pub(super) async fn furnish(api: &Api, ground: &Ground, plan: &Plan) -> Result<Site> {
    Site::furnish(api, &wanted(ground, plan), &*plan.narrator).await
}

fn wanted(ground: &Ground, plan: &Plan) -> Wanted {
    let below = |dir| plan.dir.join(dir).display().to_string();
    let [a, b, c, _] = GATEWAY.octets();
    let in_network = |last| Ipv4Addr::new(a, b, c, last);
    Wanted {
        hosts: ground.hosts.iter().map(|host| (host.name.clone(), host.place.address.into())).collect(),
        primary: below(PRIMARY),
        images_at: ground.front().address.into(),
        backup: below("backup"),
        image: format!("file://{}", plan.image.display()),
        physical: ground.physical.clone(),
        range: Range {
            start: in_network(10),
            end: in_network(200),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: GATEWAY,
        },
    }
}

impl Site {
    pub(super) async fn create_vm(&self, api: &Api, name: &str) -> Result<Vm> {
        let vm = api.create("/vm-instances", self.vm(name)).await?;
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
    Ok(text(&access, "/url")?.to_owned())
}
