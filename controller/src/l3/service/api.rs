use std::collections::BTreeMap;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Assigned, NETWORK_SERVICES, store};
use crate::l3::L3Network;
use crate::l3::api::network;
use crate::l3::change::{Change, What};
use engine::cascade::DeleteMode;

/// Provider (its uuid or type) to types of services.
type Services = BTreeMap<String, Vec<String>>;

/// As rows name them; refuses what no provider can provide.
async fn resolve(tx: &mut Tx, services: Services) -> Result<Vec<Assigned>> {
    let mut resolved = Vec::new();
    for (named, types) in services {
        let Some(provider) = store::provider(tx, &named).await? else {
            return Err(codes::NOT_FOUND.because(format!("there is no network service provider \"{named}\"")));
        };
        let can = NETWORK_SERVICES.get(&provider)?.types();
        for service in types {
            if !can.contains(&service.as_str()) {
                let details = format!("{provider} does not provide {service}, but {}", can.join(", "));
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            resolved.push(Assigned { service, provider: provider.clone() });
        }
    }
    match resolved.is_empty() {
        false => Ok(resolved),
        true => Err(codes::INVALID_ARGUMENT.because("\"networkServices\" names no service")),
    }
}

api! {
    AttachNetworkServiceToL3Network: POST "/l3-networks/{l3NetworkUuid}/network-services" "params" {
        l3_network_uuid: Id<L3Network>,
        network_services: Services,
    }
}

impl Api for AttachNetworkServiceToL3Network {
    const ROUTE: Route = AttachNetworkServiceToL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let l3 = network(&job, self.l3_network_uuid).await?;
        let services = resolve(&mut job.engine().db().read().await?, self.network_services).await?;
        job.flow(Change::new(&l3, What::Attach(services))).await
    }
}

api! {
    /// A URL carries no map, so the services may stand in the body, or one of them be named by `service`.
    DetachNetworkServiceFromL3Network: DELETE "/l3-networks/{l3NetworkUuid}/network-services" "params" {
        l3_network_uuid: Id<L3Network>,
        network_services: Option<Services>,
        service: Option<String>,
        delete_mode: Option<DeleteMode>,
    }
}

impl DetachNetworkServiceFromL3Network {
    async fn services(self, tx: &mut Tx) -> Result<Vec<Assigned>> {
        match (self.network_services, self.service) {
            (Some(services), None) => resolve(tx, services).await,
            (None, Some(service)) => {
                let assigned = store::assigned(tx, self.l3_network_uuid).await?;
                let found = assigned.into_iter().find(|assigned| assigned.service == service);
                found.map(|one| vec![one]).ok_or_else(|| {
                    codes::INVALID_ARGUMENT.because(format!("the l3 network has no provider of {service}"))
                })
            }
            _ => Err(codes::INVALID_ARGUMENT.because("give either \"networkServices\" or \"service\"")),
        }
    }
}

impl Api for DetachNetworkServiceFromL3Network {
    const ROUTE: Route = DetachNetworkServiceFromL3Network::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let l3 = network(&job, self.l3_network_uuid).await?;
        let services = self.services(&mut job.engine().db().read().await?).await?;
        job.flow(Change::new(&l3, What::Detach(services))).await
    }
}

api! {
    GetNetworkServiceTypes: GET "/network-services/types" {}
}

#[derive(Serialize, JsonSchema)]
pub struct Provided {
    types: Services,
}

impl Ask for GetNetworkServiceTypes {
    const ROUTE: Route = GetNetworkServiceTypes::ROUTE;
    type Reply = Provided;

    /// Type of service to the uuids of its providers.
    async fn answer(self, asked: Asked) -> Result<Provided> {
        let mut types = Services::new();
        for (uuid, provider) in store::providers(&mut asked.engine.db().read().await?).await? {
            for service in NETWORK_SERVICES.get(&provider)?.types() {
                types.entry((*service).to_owned()).or_default().push(uuid.clone());
            }
        }
        Ok(Provided { types })
    }
}
