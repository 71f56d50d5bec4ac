use std::net::IpAddr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use serde::Deserialize;
use serde_json::{Value, json};

use super::add::{Add, Reconnect};
use super::driver::{Facts, HYPERVISORS};
use super::{Host, HostInventory, store};
use crate::cluster::Cluster;
use crate::validate;

api! {
    /// The agents are installed from packages; `username` and `password` are accepted for ZStack's clients
    /// and not used, the password is not even kept.
    AddKVMHost: POST "/hosts/kvm" "params" secret ["password"] {
        name: String,
        description: Option<String>,
        management_ip: String,
        cluster_uuid: Id<Cluster>,
        username: String,
        password: String,
        ssh_port: Option<u16>,
        resource_uuid: Option<Id<Host>>,
    }
}

impl AddKVMHost {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        address("managementIp", &self.management_ip)?;
        validate::name("username", &self.username)?;
        match self.password.is_empty() {
            true => Err(codes::INVALID_ARGUMENT.because("\"password\" must not be empty")),
            false => Ok(()),
        }
    }
}

fn address(field: &str, text: &str) -> Result<()> {
    let parsed = text.parse::<IpAddr>();
    parsed.map(|_| ()).map_err(|_| {
        codes::INVALID_ARGUMENT.because(format!("\"{field}\" must be an IP address, not \"{text}\""))
    })
}

impl Api for AddKVMHost {
    const ROUTE: Route = AddKVMHost::ROUTE;
    const MAKES: Option<&'static str> = Some(HostInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let add = Add {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            name: self.name,
            description: self.description,
            cluster: self.cluster_uuid,
            management_ip: self.management_ip,
            username: self.username,
            ssh_port: self.ssh_port.unwrap_or(22).into(),
            facts: Facts::default(),
        };
        job.flow(add).await
    }
}

api! {
    UpdateHost: PUT "/hosts/{uuid}/actions" "updateHost" {
        uuid: Id<Host>,
        name: Option<String>,
        description: Option<String>,
        management_ip: Option<String>,
    }
}

impl Api for UpdateHost {
    const ROUTE: Route = UpdateHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.management_ip.as_deref().map_or(Ok(()), |ip| address("managementIp", ip))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<HostInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

/// `stateEvent` of a host.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostStateEvent {
    Enable,
    Disable,
    PreMaintain,
    Maintain,
}

api! {
    ChangeHostState: PUT "/hosts/{uuid}/actions" "changeHostState" {
        uuid: Id<Host>,
        state_event: HostStateEvent,
    }
}

impl Api for ChangeHostState {
    const ROUTE: Route = ChangeHostState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let state = match self.state_event {
            HostStateEvent::Enable => "Enabled",
            HostStateEvent::Disable => "Disabled",
            HostStateEvent::PreMaintain | HostStateEvent::Maintain => {
                let details = "maintenance mode is not supported yet: disable the host and stop its VMs";
                return Err(codes::UNIMPLEMENTED.because(details));
            }
        };
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, state).await?;
                show::<HostInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ReconnectHost: PUT "/hosts/{uuid}/actions" "reconnectHost" {
        uuid: Id<Host>,
    }
}

impl Api for ReconnectHost {
    const ROUTE: Route = ReconnectHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let host: HostInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        job.flow(Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default() }).await
    }
}

deletion! { DeleteHost: "/hosts/{uuid}" of Host: HostInventory }

api! {
    GetHypervisorTypes: GET "/hosts/hypervisor-types" {}
}

impl Ask for GetHypervisorTypes {
    const ROUTE: Route = GetHypervisorTypes::ROUTE;

    async fn answer(self, _asked: Asked) -> Result<Value> {
        Ok(json!({ "hypervisorTypes": HYPERVISORS.types().collect::<Vec<_>>() }))
    }
}
