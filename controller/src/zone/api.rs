use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, deletion};
use serde_json::Value;

use super::{Zone, ZoneInventory, store};

use crate::validate::{self, StateEvent};

api! {
    CreateZone: POST "/zones" "params" {
        name: String,
        description: Option<String>,
        is_default: Option<bool>,
        resource_uuid: Option<Id<Zone>>,
    }
}

impl Api for CreateZone {
    const ROUTE: Route = CreateZone::ROUTE;
    const MAKES: Option<&'static str> = Some(ZoneInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        let uuid = self.resource_uuid.unwrap_or_else(Id::random);
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self).await?;
                show::<ZoneInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    GetZone: GET "/zones/{uuid}/info" {
        uuid: Id<Zone>,
    }
}

impl Ask for GetZone {
    const ROUTE: Route = GetZone::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        show::<ZoneInventory>(&mut asked.engine.db().read().await?, self.uuid).await
    }
}

api! {
    UpdateZone: PUT "/zones/{uuid}/actions" "updateZone" {
        uuid: Id<Zone>,
        name: Option<String>,
        description: Option<String>,
        is_default: Option<bool>,
    }
}

impl Api for UpdateZone {
    const ROUTE: Route = UpdateZone::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if let Some(name) = &self.name {
            validate::name("name", name)?;
        }
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<ZoneInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeZoneState: PUT "/zones/{uuid}/actions" "changeZoneState" {
        uuid: Id<Zone>,
        state_event: StateEvent,
    }
}

impl Api for ChangeZoneState {
    const ROUTE: Route = ChangeZoneState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<ZoneInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteZone: "/zones/{uuid}" of Zone: ZoneInventory }
