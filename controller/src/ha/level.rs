//! How much a VM shall run: tags, and the calls that ZStack has for them.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::inventory::{Inventory, find, show};
use engine::tag::{self, Hold, SystemTag};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store;
use crate::vm::{VmInstance, VmInstanceInventory};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "VmHaLevel")]
pub enum HaLevel {
    /// It is started elsewhere when its host was given up or has lost its storage.
    OnHostFailure,
    /// Also when it stops for any other reason than that somebody has stopped it.
    NeverStop,
}

impl HaLevel {
    fn word(self) -> &'static str {
        match self {
            HaLevel::OnHostFailure => "OnHostFailure",
            HaLevel::NeverStop => "NeverStop",
        }
    }

    fn of(word: &str) -> Option<HaLevel> {
        [HaLevel::OnHostFailure, HaLevel::NeverStop].into_iter().find(|level| level.word() == word)
    }
}

pub(super) const LEVEL: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "ha::{level}",
    help: "NeverStop or OnHostFailure: when the VM is started again by itself",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match HaLevel::of(tokens.get("level")) {
        Some(_) => Ok(()),
        None => {
            let level = tokens.get("level");
            Err(codes::INVALID_ARGUMENT
                .because(format!("an ha level is NeverStop or OnHostFailure, not \"{level}\"")))
        }
    },
};

/// Says it, or nothing any more. What has fallen before that stays as it is.
async fn say(job: Job, vm: Id<VmInstance>, level: Option<HaLevel>) -> Result<Settled> {
    job.write(move |tx| {
        Box::pin(async move {
            find::<VmInstanceInventory>(tx, vm).await?;
            let text = level.map(|level| LEVEL.text(&[level.word()]));
            tag::replace(tx, &LEVEL, vm.cast(), text.as_deref()).await?;
            store::let_lie(tx, vm).await?;
            show::<VmInstanceInventory>(tx, vm).await
        })
    })
    .await
}

api! {
    SetVmInstanceHaLevel: POST "/vm-instances/{uuid}/ha-levels" "params" {
        uuid: Id<VmInstance>,
        level: HaLevel,
    }
}

impl Api for SetVmInstanceHaLevel {
    const ROUTE: Route = SetVmInstanceHaLevel::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        say(job, self.uuid, Some(self.level)).await
    }
}

api! {
    DeleteVmInstanceHaLevel: DELETE "/vm-instances/{uuid}/ha-levels" {
        uuid: Id<VmInstance>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteVmInstanceHaLevel {
    const ROUTE: Route = DeleteVmInstanceHaLevel::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        say(job, self.uuid, None).await
    }
}

api! {
    GetVmInstanceHaLevel: GET "/vm-instances/{uuid}/ha-levels" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct LevelTold {
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<HaLevel>,
}

impl Ask for GetVmInstanceHaLevel {
    const ROUTE: Route = GetVmInstanceHaLevel::ROUTE;
    type Reply = LevelTold;

    async fn answer(self, asked: Asked) -> Result<LevelTold> {
        let mut tx = asked.engine.db().read().await?;
        find::<VmInstanceInventory>(&mut tx, self.uuid).await?;
        let tokens = tag::tokens(&mut tx, &LEVEL, self.uuid.cast()).await?;
        Ok(LevelTold { level: tokens.first().and_then(|tokens| HaLevel::of(tokens.get("level"))) })
    }
}
