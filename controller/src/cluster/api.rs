use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};

use super::{Cluster, ClusterInventory, store};
use crate::validate::{self, Architecture, StateEvent};
use crate::zone::{Zone, ZoneInventory};

api! {
    CreateCluster: POST "/clusters" "params" {
        zone_uuid: Id<Zone>,
        name: String,
        description: Option<String>,
        hypervisor_type: String,
        r#type: Option<String>,
        architecture: Option<Architecture>,
        resource_uuid: Option<Id<Cluster>>,
    }
}

impl CreateCluster {
    pub(super) fn architecture(&self) -> &'static str {
        self.architecture.unwrap_or_default().name()
    }

    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        crate::modules::check_hypervisor(&self.hypervisor_type)?;
        match self.r#type.as_deref() {
            None | Some("zstack") => Ok(()),
            Some(other) => Err(codes::UNIMPLEMENTED
                .because(format!("clusters of type \"{other}\" are not supported: use \"zstack\""))),
        }
    }
}

impl Api for CreateCluster {
    const ROUTE: Route = CreateCluster::ROUTE;
    const MAKES: Option<&'static str> = Some(ClusterInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or_else(Id::random);
        job.write(move |tx| {
            Box::pin(async move {
                find::<ZoneInventory>(tx, self.zone_uuid).await?;
                store::insert(tx, uuid, &self).await?;
                show::<ClusterInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateCluster: PUT "/clusters/{uuid}/actions" "updateCluster" {
        uuid: Id<Cluster>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateCluster {
    const ROUTE: Route = UpdateCluster::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<ClusterInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeClusterState: PUT "/clusters/{uuid}/actions" "changeClusterState" {
        uuid: Id<Cluster>,
        state_event: StateEvent,
    }
}

impl Api for ChangeClusterState {
    const ROUTE: Route = ChangeClusterState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<ClusterInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteCluster: "/clusters/{uuid}" of Cluster: ClusterInventory }
