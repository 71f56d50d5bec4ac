//! The call that creates such a network.

use cumulet_controller::l2::{self, L2Network, L2NetworkInventory, NewL2};
use cumulet_controller::zone::Zone;
use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, codes};

use super::TYPE;

api! {
    CreateL2GreNetwork: POST "/l2-networks/gre" "params" {
        name: String,
        description: Option<String>,
        zone_uuid: Id<Zone>,
        physical_interface: String,
        key: i64,
        resource_uuid: Option<Id<L2Network>>,
    }
}

impl Api for CreateL2GreNetwork {
    const ROUTE: Route = CreateL2GreNetwork::ROUTE;
    const MAKES: Option<&'static str> = Some(L2NetworkInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        if !(1..=99_999_999).contains(&self.key) {
            return Err(codes::INVALID_ARGUMENT.because("\"key\" must be between 1 and 99999999"));
        }
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                let new = NewL2 {
                    uuid,
                    name: &self.name,
                    description: self.description.as_deref(),
                    zone: self.zone_uuid,
                    physical_interface: &self.physical_interface,
                    r#type: TYPE,
                    virtual_network_id: self.key,
                };
                l2::insert(tx, new).await?;
                show::<L2NetworkInventory>(tx, uuid).await
            })
        })
        .await
    }
}
