use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};
use serde_json::{Value, json};

use super::attach::{Attach, attachment};
use super::{L2_NETWORKS, L2Network, L2NetworkInventory, no_vlan, store};
use crate::cluster::Cluster;
use crate::validate;
use crate::zone::{Zone, ZoneInventory};

/// What Linux takes as the name of an interface.
const LONGEST_INTERFACE: usize = 15;

api! {
    CreateL2NoVlanNetwork: POST "/l2-networks/no-vlan" "params" {
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        physical_interface: String,
        r#type: Option<String>,
        v_switch_type: Option<String>,
        isolated: Option<bool>,
        pvlan: Option<String>,
        resource_uuid: Option<Id<L2Network>>,
    }
}

impl CreateL2NoVlanNetwork {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        interface("physicalInterface", &self.physical_interface)?;
        let kind = self.r#type.as_deref().unwrap_or(no_vlan::TYPE);
        if kind != no_vlan::TYPE {
            let details = format!("\"type\" must be \"{}\" here, not \"{kind}\"", no_vlan::TYPE);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        check_switch(self.v_switch_type.as_deref())?;
        validate::unsupported("isolated", &self.isolated.filter(|isolated| *isolated))?;
        validate::unsupported("pvlan", &self.pvlan)
    }
}

/// Linux's rule for interface names.
fn interface(field: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let sound = (1..=LONGEST_INTERFACE).contains(&name.len()) && !matches!(name, "." | "..");
    match sound && name.chars().all(plain) {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "\"{field}\" must be the name of a network interface, at most {LONGEST_INTERFACE} characters, \
             not \"{name}\""
        ))),
    }
}

fn check_switch(kind: Option<&str>) -> Result<()> {
    match kind {
        None | Some("LinuxBridge") => Ok(()),
        Some(other @ ("OvsDpdk" | "MacVlan")) => Err(codes::UNIMPLEMENTED
            .because(format!("\"vSwitchType\": \"{other}\" is not supported yet: use \"LinuxBridge\""))),
        Some(other) => Err(codes::INVALID_ARGUMENT
            .because(format!("\"vSwitchType\" must be \"LinuxBridge\", not \"{other}\""))),
    }
}

impl Api for CreateL2NoVlanNetwork {
    const ROUTE: Route = CreateL2NoVlanNetwork::ROUTE;
    const MAKES: Option<&'static str> = Some(L2NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                find::<ZoneInventory>(tx, self.zone_uuid).await?;
                store::insert(tx, uuid, &self).await?;
                show::<L2NetworkInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateL2Network: PUT "/l2-networks/{uuid}/actions" "updateL2Network" {
        uuid: Id<L2Network>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateL2Network {
    const ROUTE: Route = UpdateL2Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<L2NetworkInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteL2Network: "/l2-networks/{uuid}" of L2Network: L2NetworkInventory }

api! {
    AttachL2NetworkToCluster: POST "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" "null" {
        l2_network_uuid: Id<L2Network>,
        cluster_uuid: Id<Cluster>,
        l2_provider_type: Option<String>,
    }
}

impl Api for AttachL2NetworkToCluster {
    const ROUTE: Route = AttachL2NetworkToCluster::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if let Some(other) = self.l2_provider_type.filter(|kind| kind != "LinuxBridge") {
            let details = format!("\"l2ProviderType\" must be \"LinuxBridge\", not \"{other}\"");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        job.flow(Attach { l2: self.l2_network_uuid, cluster: self.cluster_uuid }).await
    }
}

api! {
    DetachL2NetworkFromCluster: DELETE "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" {
        l2_network_uuid: Id<L2Network>,
        cluster_uuid: Id<Cluster>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DetachL2NetworkFromCluster {
    const ROUTE: Route = DetachL2NetworkFromCluster::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let root = attachment(tx, self.l2_network_uuid, self.cluster_uuid).await?;
        Ok(Some(Delete::new(root).mode(self.delete_mode)))
    }
}

api! {
    GetL2NetworkTypes: GET "/l2-networks/types" {}
}

impl Ask for GetL2NetworkTypes {
    const ROUTE: Route = GetL2NetworkTypes::ROUTE;

    async fn answer(self, _asked: Asked) -> Result<Value> {
        Ok(json!({ "types": L2_NETWORKS.types().collect::<Vec<_>>() }))
    }
}
