//! A repair: judge → look again → do it → record.

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::agent::Owned;

use super::kind::{self, Cure, Kind};
use super::place::Place;
use super::{Finding, FindingInventory, store};
use crate::backup_storage::BackupStorage;
use crate::host::Host;

/// How long an agent may take to take something away.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

/// A finding as its repair needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub finding: Id<Finding>,
    pub kind: String,
    pub host: Option<Id<Host>>,
    pub storage: Option<Id<BackupStorage>>,
    pub thing: Owned,
    /// Owned by the repair while it lives.
    pub owner: Id<Any>,
    /// The state that a VM is found in.
    pub to: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Repair {
    case: Case,
    /// It is still wrong.
    so: bool,
}

impl Case {
    /// Why it cannot be repaired, if so.
    pub fn of(finding: FindingInventory) -> Result<Case> {
        let kind = kind::find(&finding.kind)?;
        let listed = kind.listed.as_ref().map_or(kind.name, |listed| listed.kind);
        let resource = finding.mark;
        let thing = Owned { kind: listed.to_owned(), name: finding.name, resource };
        let hopeless = |why: &str| {
            codes::STATE.because(format!("{} \"{}\" cannot be repaired: {why}", kind.name, thing.name))
        };
        if let Some(why) = kind.hopeless(&thing) {
            return Err(hopeless(why));
        }
        let owner = finding.owner_uuid.ok_or_else(|| hopeless("whose it is cannot be told"))?;
        let (host, storage) = (finding.host_uuid, finding.backup_storage_uuid);
        Ok(Case { finding: finding.uuid, kind: finding.kind, host, storage, thing, owner, to: None })
    }

    fn kind(&self) -> Result<&'static Kind> {
        kind::find(&self.kind)
    }
}

impl Repair {
    pub fn new(case: Case) -> Self {
        Repair { case, so: false }
    }

    async fn judge(&mut self, tx: &mut Tx) -> Result<()> {
        let finding: FindingInventory = find(tx, self.case.finding).await?;
        self.so = matches!(finding.state.as_str(), "Open" | "Ignored");
        Ok(())
    }

    /// Whether it is still there. Not asked again when the next step is repeated: by then it may be gone
    /// because of that step.
    async fn look(&mut self, cx: &Cx) -> Result<()> {
        if self.so && self.case.kind()?.listed.is_some() {
            let place = self.place(cx).await?;
            self.so = self.case.kind()?.program.has(cx, &place, &self.case.thing).await?;
        }
        Ok(())
    }

    async fn cure(&mut self, cx: &Cx) -> Result<()> {
        if !self.so {
            return Ok(());
        }
        let place = self.place(cx).await?;
        self.so = self.is_nobodys(cx, &place).await?;
        match self.case.kind()?.cure {
            Cure::By(remedy) if self.so => self.so = remedy.cure(cx, &place, &mut self.case).await?,
            _ => {}
        }
        Ok(())
    }

    async fn place(&self, cx: &Cx) -> Result<Place> {
        let place = Place::of(&mut cx.read().await?, self.case.host, self.case.storage).await?;
        place.check_ours(cx.engine()).await?;
        Ok(place)
    }

    /// The records are asked after the inventory: what a flow makes is in them before it is on a host.
    async fn is_nobodys(&self, cx: &Cx, place: &Place) -> Result<bool> {
        let Some(listed) = &self.case.kind()?.listed else { return Ok(true) };
        match listed.unknown(&mut cx.read().await?, place.uuid(), &[&self.case.thing]).await? {
            Some(unknown) => Ok(!unknown.is_empty()),
            None => {
                let details = format!("{} is at work with such things: try again later", place.title());
                Err(codes::BUSY.because(details))
            }
        }
    }

    async fn recorded(&mut self, tx: &mut Tx) -> Result<()> {
        if !self.so {
            return store::is_gone(tx, self.case.finding).await;
        }
        if let Cure::By(remedy) = self.case.kind()?.cure {
            remedy.record(tx, &self.case).await?;
        }
        store::is_repaired(tx, self.case.finding).await
    }
}

impl Flow for Repair {
    const NAME: &'static str = "sweep.repair";

    fn resource(&self) -> Id<Any> {
        self.case.owner
    }

    fn title(&self) -> String {
        format!("repair {} \"{}\"", self.case.kind, self.case.thing.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("judge", Self::judge)
            .act("look", Self::look)
            .limit(LIMIT)
            .act("cure", Self::cure)
            .limit(LIMIT)
            .record("recorded", Self::recorded)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<FindingInventory>(tx, self.case.finding).await
    }
}
