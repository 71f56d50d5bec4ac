use std::net::IpAddr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::add::{Add, Reconnect};
use super::driver::{Facts, HYPERVISORS};
use super::maintain::Maintain;
use super::{Host, HostInventory, store};
use crate::cluster::Cluster;
use crate::validate;

api! {
    /// The agents are installed from packages; `username` and `password` are accepted for ZStack's clients
    /// and not used, the password is not even kept.
    AddKVMHost: POST "/hosts/kvm" "params" unread ["password"] {
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

api! {
    /// `username`, `password` and `sshPort` are what [`AddKVMHost`] says of them.
    UpdateKVMHost: PUT "/hosts/kvm/{uuid}/actions" "updateKVMHost" unread ["password"] {
        uuid: Id<Host>,
        name: Option<String>,
        description: Option<String>,
        management_ip: Option<String>,
        username: Option<String>,
        password: Option<String>,
        ssh_port: Option<u16>,
    }
}

impl Api for UpdateKVMHost {
    const ROUTE: Route = UpdateKVMHost::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.username.as_deref().map_or(Ok(()), |name| validate::name("username", name))?;
        self.management_ip.as_deref().map_or(Ok(()), |ip| address("managementIp", ip))?;
        job.write(move |tx| {
            Box::pin(async move {
                let UpdateKVMHost { uuid, name, description, management_ip, .. } = self;
                store::update(tx, &UpdateHost { uuid, name, description, management_ip }).await?;
                store::set_login(tx, uuid, self.username.as_deref(), self.ssh_port).await?;
                show::<HostInventory>(tx, uuid).await
            })
        })
        .await
    }
}

/// `stateEvent` of a host.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HostStateEvent {
    Enable,
    Disable,
    PreMaintain,
    Maintain,
}

api! {
    /// Maintenance begins when all VMs have left the host, and ends with a new connection.
    ChangeHostState: PUT "/hosts/{uuid}/actions" "changeHostState" {
        uuid: Id<Host>,
        state_event: HostStateEvent,
    }
}

impl Api for ChangeHostState {
    const ROUTE: Route = ChangeHostState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let host: HostInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        let state = match self.state_event {
            HostStateEvent::Enable => "Enabled",
            HostStateEvent::Disable => "Disabled",
            HostStateEvent::PreMaintain | HostStateEvent::Maintain => {
                return job.flow(Maintain { uuid: host.uuid, name: host.name }).await;
            }
        };
        // Nobody looks after one that is maintained: it has its new state when it is connected again.
        if ["PreMaintenance", "Maintenance"].contains(&host.state.as_str()) {
            let (uuid, name, state) = (host.uuid, host.name, Some(state.to_owned()));
            return job.flow(Reconnect { uuid, name, facts: Facts::default(), state }).await;
        }
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
        job.flow(Reconnect { uuid: host.uuid, name: host.name, facts: Facts::default(), state: None }).await
    }
}

deletion! { DeleteHost: "/hosts/{uuid}" of Host: HostInventory }

api! {
    GetHypervisorTypes: GET "/hosts/hypervisor-types" {}
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hypervisors {
    hypervisor_types: Vec<&'static str>,
}

impl Ask for GetHypervisorTypes {
    const ROUTE: Route = GetHypervisorTypes::ROUTE;
    type Reply = Hypervisors;

    async fn answer(self, _asked: Asked) -> Result<Hypervisors> {
        Ok(Hypervisors { hypervisor_types: HYPERVISORS.types() })
    }
}
