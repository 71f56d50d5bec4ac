use engine::api::{Api, Ask, Asked, Job, Route, Settled, Types};
use engine::cascade::{Delete, DeleteMode};
use engine::db::Tx;
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, codes, deletion};
use schemars::JsonSchema;
use serde::Serialize;

use super::attach::{Attach, attachment};
use super::{
    L2_NETWORKS, L2Network, L2NetworkInventory, L2VlanNetworkInventory, no_vlan, store, vlan, vxlan,
};
use crate::cluster::Cluster;
use crate::validate;
use crate::zone::Zone;

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

impl Api for CreateL2NoVlanNetwork {
    const ROUTE: Route = CreateL2NoVlanNetwork::ROUTE;
    const MAKES: Option<&'static str> = Some(L2NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let wanted = Wanted {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            zone: self.zone_uuid,
            physical_interface: Some(self.physical_interface),
            given: self.r#type,
            switch: self.v_switch_type,
            isolated: self.isolated,
            pvlan: self.pvlan,
            r#type: no_vlan::TYPE,
            virtual_network_id: 0,
        };
        wanted.make::<L2NetworkInventory>(job).await
    }
}

api! {
    CreateL2VlanNetwork: POST "/l2-networks/vlan" "params" {
        vlan: i64,
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

impl Api for CreateL2VlanNetwork {
    const ROUTE: Route = CreateL2VlanNetwork::ROUTE;
    const MAKES: Option<&'static str> = Some(L2NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::within("vlan", self.vlan, vlan::IDS)?;
        let wanted = Wanted {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            zone: self.zone_uuid,
            physical_interface: Some(self.physical_interface),
            given: self.r#type,
            switch: self.v_switch_type,
            isolated: self.isolated,
            pvlan: self.pvlan,
            r#type: vlan::TYPE,
            virtual_network_id: self.vlan,
        };
        wanted.make::<L2VlanNetworkInventory>(job).await
    }
}

/// A network of any type, as it is asked for.
pub(super) struct Wanted {
    pub uuid: Option<Id<L2Network>>,
    pub name: String,
    pub description: Option<String>,
    pub zone: Id<Zone>,
    pub physical_interface: Option<String>,
    /// The type as the call gives it, which can only be its own.
    pub given: Option<String>,
    pub switch: Option<String>,
    pub isolated: Option<bool>,
    pub pvlan: Option<String>,
    pub r#type: &'static str,
    pub virtual_network_id: i64,
}

impl Wanted {
    pub(super) fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        self.physical_interface.as_deref().map_or(Ok(()), |name| interface("physicalInterface", name))?;
        if let Some(given) = self.given.as_deref().filter(|given| *given != self.r#type) {
            let details = format!("\"type\" must be \"{}\" here, not \"{given}\"", self.r#type);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        check_switch(self.switch.as_deref())?;
        validate::unsupported("isolated", &self.isolated.filter(|isolated| *isolated))?;
        validate::unsupported("pvlan", &self.pvlan)
    }

    pub(super) async fn make<I: Inventory>(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let new = store::NewL2 {
                    uuid,
                    name: &self.name,
                    description: self.description.as_deref(),
                    zone: self.zone,
                    physical_interface: self.physical_interface.as_deref().unwrap_or_default(),
                    r#type: self.r#type,
                    virtual_network_id: self.virtual_network_id,
                };
                store::insert(tx, new).await?;
                show::<I>(tx, uuid).await
            })
        })
        .await
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

/// The only kind of switch so far.
const SWITCH: &str = "LinuxBridge";

fn check_switch(kind: Option<&str>) -> Result<()> {
    match kind {
        None | Some(SWITCH) => Ok(()),
        Some(other @ ("OvsDpdk" | "MacVlan")) => Err(codes::UNIMPLEMENTED
            .because(format!("\"vSwitchType\": \"{other}\" is not supported yet: use \"LinuxBridge\""))),
        Some(other) => Err(codes::INVALID_ARGUMENT
            .because(format!("\"vSwitchType\" must be \"LinuxBridge\", not \"{other}\""))),
    }
}

api! {
    /// Makes it another VLAN, or with `type` `L2NoVlanNetwork` none, while no cluster has it.
    ChangeL2NetworkVlanId: PUT "/l2-networks/{uuid}/actions" "changeL2NetworkVlanId" {
        uuid: Id<L2Network>,
        vlan: Option<i64>,
        r#type: Option<String>,
    }
}

impl ChangeL2NetworkVlanId {
    /// The type and the number that it gets.
    fn wanted(&self) -> Result<(&'static str, i64)> {
        match (self.r#type.as_deref(), self.vlan) {
            (Some(no_vlan::TYPE), None) => Ok((no_vlan::TYPE, 0)),
            (Some(no_vlan::TYPE), Some(_)) => Err(codes::INVALID_ARGUMENT
                .because(format!("an {} has no \"vlan\": leave it out", no_vlan::TYPE))),
            (None | Some(vlan::TYPE), Some(id)) => {
                validate::within("vlan", id, vlan::IDS).map(|()| (vlan::TYPE, id))
            }
            (None | Some(vlan::TYPE), None) => {
                Err(codes::INVALID_ARGUMENT.because("\"vlan\" is missing: give a number from 1 to 4094"))
            }
            (Some(other), _) => Err(codes::INVALID_ARGUMENT.because(format!(
                "\"type\" must be \"{}\" or \"{}\", not \"{other}\"",
                vlan::TYPE,
                no_vlan::TYPE
            ))),
        }
    }
}

impl Api for ChangeL2NetworkVlanId {
    const ROUTE: Route = ChangeL2NetworkVlanId::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (kind, id) = self.wanted()?;
        job.write(move |tx| {
            Box::pin(async move {
                let l2 = super::usable(tx, self.uuid).await?;
                if ![no_vlan::TYPE, vlan::TYPE].contains(&l2.r#type.as_str()) {
                    let details = format!("l2 network \"{}\" is of type {}, which has no vlan", l2.name, l2.r#type);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                if !store::change_vlan(tx, self.uuid, kind, id).await? {
                    let details = format!(
                        "l2 network \"{}\" is attached to clusters: its bridges there are of the vlan that it \
                         has, so detach it first",
                        l2.name
                    );
                    return Err(codes::STATE.because(details));
                }
                show::<L2NetworkInventory>(tx, self.uuid).await
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
    const LIKE: Option<&'static str> = Some(L2NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        if let Some(other) = self.l2_provider_type.filter(|kind| kind != "LinuxBridge") {
            let details = format!("\"l2ProviderType\" must be \"LinuxBridge\", not \"{other}\"");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let cidr = vxlan::tunnels(job.tags(), self.l2_network_uuid, self.cluster_uuid)?;
        job.flow(Attach { l2: self.l2_network_uuid, cluster: self.cluster_uuid, cidr, along: Vec::new() })
            .await
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

api! {
    GetVSwitchTypes: GET "/l2-networks/vSwitchTypes" {}
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switches {
    v_switch_types: Vec<&'static str>,
}

impl Ask for GetVSwitchTypes {
    const ROUTE: Route = GetVSwitchTypes::ROUTE;
    type Reply = Switches;

    async fn answer(self, _asked: Asked) -> Result<Switches> {
        Ok(Switches { v_switch_types: vec![SWITCH] })
    }
}

impl Ask for GetL2NetworkTypes {
    const ROUTE: Route = GetL2NetworkTypes::ROUTE;
    type Reply = Types;

    async fn answer(self, _asked: Asked) -> Result<Types> {
        Ok(L2_NETWORKS.types().into_iter().collect())
    }
}
