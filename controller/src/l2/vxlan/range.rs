//! The numbers of a pool.

use engine::api::{Api, Job, Route, Settled};
use engine::boxed;
use engine::cascade::{How, Kind};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Any, Id, Result, api, codes, deletion};

use super::{L2VxlanNetworkPoolInventory, VNIS, VniRange, VniRangeInventory, store};
use crate::l2::{self, L2Network};
use crate::validate;

api! {
    CreateVniRange: POST "/l2-networks/vxlan-pool/{l2NetworkUuid}/vni-ranges" "params" {
        name: String,
        description: Option<String>,
        start_vni: i64,
        end_vni: i64,
        l2_network_uuid: Id<L2Network>,
        resource_uuid: Option<Id<VniRange>>,
    }
}

impl CreateVniRange {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        validate::within("startVni", self.start_vni, VNIS)?;
        validate::within("endVni", self.end_vni, self.start_vni..=*VNIS.end())
    }

    async fn enter(&self, tx: &mut Tx, uuid: Id<VniRange>) -> Result<()> {
        let pool: L2VxlanNetworkPoolInventory = find(tx, self.l2_network_uuid).await?;
        l2::usable(tx, pool.uuid).await?;
        match store::overlapping(tx, pool.uuid, (self.start_vni, self.end_vni)).await? {
            None => store::insert_range(tx, uuid, self).await,
            Some((name, start, end)) => Err(codes::INVALID_ARGUMENT.because(format!(
                "it overlaps the range \"{name}\" ({start} to {end}) of pool \"{}\"",
                pool.name
            ))),
        }
    }
}

impl Api for CreateVniRange {
    const ROUTE: Route = CreateVniRange::ROUTE;
    const MAKES: Option<&'static str> = Some(VniRangeInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                self.enter(tx, uuid).await?;
                show::<VniRangeInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    UpdateVniRange: PUT "/l2-networks/vxlan-pool/vni-ranges/{uuid}" "updateVniRange" {
        uuid: Id<VniRange>,
        name: String,
    }
}

impl Api for UpdateVniRange {
    const ROUTE: Route = UpdateVniRange::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        job.write(move |tx| {
            Box::pin(async move {
                store::rename_range(tx, self.uuid, &self.name).await?;
                show::<VniRangeInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! {
    DeleteVniRange: "/l2-networks/vxlan-pool/vni-ranges/{uuid}" of VniRange: VniRangeInventory
}

/// Networks that have a number of the range keep it when it goes.
pub(super) struct VniRangeKind;

#[boxed]
impl Kind for VniRangeKind {
    fn name(&self) -> &'static str {
        "VniRange"
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete_range(tx, id.cast()).await
    }
}
