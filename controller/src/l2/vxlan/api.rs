use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, find};
use engine::{Id, Result, api, codes};

use super::create::Create;
use super::{L2VxlanNetworkInventory, L2VxlanNetworkPoolInventory, NETWORK, POOL, VNIS};
use crate::l2::L2Network;
use crate::l2::api::Wanted;
use crate::validate;
use crate::zone::Zone;

api! {
    /// A pool of VXLANs, whose tunnels come from addresses of this interface, or of any.
    CreateL2VxlanNetworkPool: POST "/l2-networks/vxlan-pool" "params" {
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        physical_interface: Option<String>,
        r#type: Option<String>,
        v_switch_type: Option<String>,
        isolated: Option<bool>,
        pvlan: Option<String>,
        resource_uuid: Option<Id<L2Network>>,
    }
}

impl Api for CreateL2VxlanNetworkPool {
    const ROUTE: Route = CreateL2VxlanNetworkPool::ROUTE;
    const MAKES: Option<&'static str> = Some(L2VxlanNetworkPoolInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let wanted = Wanted {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            zone: self.zone_uuid,
            physical_interface: self.physical_interface,
            given: self.r#type,
            switch: self.v_switch_type,
            isolated: self.isolated,
            pvlan: self.pvlan,
            r#type: POOL,
            virtual_network_id: 0,
        };
        wanted.make::<L2VxlanNetworkPoolInventory>(job).await
    }
}

api! {
    /// A VXLAN of a pool, at once on all hosts that have the pool; without `vni` the first number that is free.
    CreateL2VxlanNetwork: POST "/l2-networks/vxlan" "params" {
        vni: Option<i64>,
        pool_uuid: Id<L2Network>,
        name: String,
        description: Option<String>,
        zone_uuid: Option<Id<Zone>>,
        physical_interface: Option<String>,
        r#type: Option<String>,
        v_switch_type: Option<String>,
        isolated: Option<bool>,
        pvlan: Option<String>,
        resource_uuid: Option<Id<L2Network>>,
    }
}

impl Api for CreateL2VxlanNetwork {
    const ROUTE: Route = CreateL2VxlanNetwork::ROUTE;
    const MAKES: Option<&'static str> = Some(L2VxlanNetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        let pool: L2VxlanNetworkPoolInventory =
            find(&mut job.engine().db().read().await?, self.pool_uuid).await?;
        self.vni.map_or(Ok(()), |vni| validate::within("vni", vni, VNIS))?;
        if let Some(other) = self.zone_uuid.filter(|zone| *zone != pool.zone_uuid) {
            let details = format!("\"zoneUuid\" must be that of the pool, {}, not {other}", pool.zone_uuid);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let wanted = Wanted {
            uuid: self.resource_uuid,
            name: self.name,
            description: self.description,
            zone: pool.zone_uuid,
            physical_interface: self.physical_interface,
            given: self.r#type,
            switch: self.v_switch_type,
            isolated: self.isolated,
            pvlan: self.pvlan,
            r#type: NETWORK,
            virtual_network_id: 0,
        };
        wanted.check()?;
        let uuid = wanted.uuid.unwrap_or(job.id().cast());
        let create = Create {
            uuid,
            pool: pool.uuid,
            vni: self.vni,
            name: wanted.name,
            description: wanted.description,
            physical_interface: wanted.physical_interface.unwrap_or(pool.physical_interface),
            clusters: Vec::new(),
        };
        job.flow(create).await
    }
}
