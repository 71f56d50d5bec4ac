//! Giving a host up: begin → see to it that it writes no more → it is so, or it lives → its VMs are written off.

use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, codes};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bury::Bury;
use super::evidence::{EVIDENCE, Proof};
use super::{HostFencingInventory, NO_EVIDENCE, TOO_MANY, store};
use crate::host::{self, Host, HostInventory};

/// How long an observer may take to make a mark, or a machine to be off.
const SETTLE: Duration = Duration::from_secs(60);
/// So many VMs are written off at a time.
const AT_ONCE: usize = 8;

/// It owns the host, so nobody connects it meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GiveUp {
    pub host: Id<Host>,
    pub name: String,
    pub proof: Proof,
    pub outcome: Option<Outcome>,
}

/// What came of fencing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Fenced,
    /// It lives, and how that showed.
    Lives(String),
    /// Nobody knows, and why.
    Unknown(String),
}

impl GiveUp {
    pub fn new(host: &HostInventory, proof: Proof) -> GiveUp {
        GiveUp { host: host.uuid, name: host.name.clone(), proof, outcome: None }
    }

    /// The proof is of now: the host has not answered since it was looked at.
    async fn check(&self, tx: &mut Tx) -> Result<HostInventory> {
        let host: HostInventory = find(tx, self.host).await?;
        if host.status != "Disconnected" || ["PreMaintenance", "Maintenance"].contains(&host.state.as_str()) {
            let details = format!(
                "host \"{}\" is {} and {}: only one that is Disconnected and not maintained is given up",
                host.name, host.status, host.state
            );
            return Err(codes::STATE.because(details));
        }
        match host::connections(tx, self.host).await? == self.proof.connection {
            true => Ok(host),
            false => {
                let details =
                    format!("host \"{}\" has answered since it was looked at: look again", host.name);
                Err(codes::STATE.because(details))
            }
        }
    }

    async fn begin(&mut self, tx: &mut Tx) -> Result<()> {
        let host = self.check(tx).await?;
        if store::is_capped(tx, &host).await? {
            return Err(TOO_MANY.because(capped(tx, &host).await?));
        }
        let reason = format!("its {} shows that it is down", self.proof.evidence);
        store::note(tx, self.host, "Fencing", &reason, Some(&self.proof.evidence)).await
    }

    /// A mark that was made cannot be taken back by us, but it does a host that lives no harm that lasts. What fails
    /// is the outcome too: nobody shall wait for an observer, least of all the host itself.
    async fn settle(&mut self, cx: &Cx) -> Result<()> {
        let host = find(&mut cx.read().await?, self.host).await?;
        let settled = EVIDENCE.get(&self.proof.evidence)?.settle(cx, &host, &self.proof).await;
        self.outcome = Some(match settled {
            Ok(()) => Outcome::Fenced,
            Err(error) if error.says_nothing() => return Err(error),
            Err(error) if error.is(NO_EVIDENCE) => Outcome::Lives(error.details().to_owned()),
            Err(error) => Outcome::Unknown(error.details().to_owned()),
        });
        Ok(())
    }

    async fn settled(&mut self, tx: &mut Tx) -> Result<()> {
        match &self.outcome {
            Some(Outcome::Fenced) => self.fenced(tx).await,
            Some(Outcome::Lives(how)) => store::note(tx, self.host, "Alive", how, None).await,
            Some(Outcome::Unknown(why)) => store::note(tx, self.host, "Undecided", why, None).await,
            None => Ok(()),
        }
    }

    async fn fenced(&self, tx: &mut Tx) -> Result<()> {
        let host: HostInventory = find(tx, self.host).await?;
        store::fenced(tx, self.host, &self.proof).await?;
        let told = json!({ "evidence": self.proof.evidence, "name": host.name });
        tx.emit("/ha/host/fenced", self.host.cast(), told).await
    }

    /// A VM that a flow works on has its turn when that has ended.
    async fn bury(&mut self, cx: &Cx) -> Result<()> {
        let vms = store::left(&mut cx.read().await?, self.host).await?;
        let host = self.host;
        let burials = vms.into_iter().map(|vm| async move {
            let bury = Bury { vm: vm.uuid, name: vm.name, host };
            match cx.sub(&format!("bury {}", vm.uuid), bury).await {
                Err(error) if error.is(codes::BUSY) || error.is(codes::NOT_FOUND) => {
                    tracing::warn!(vm = %vm.uuid, %error, "is not written off yet");
                    Ok(())
                }
                buried => buried.map(|_| ()),
            }
        });
        stream::iter(burials).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Why the host is not given up although it is down.
pub(super) async fn capped(tx: &mut Tx, host: &HostInventory) -> Result<String> {
    let count = store::lately(tx, host).await?;
    Ok(format!(
        "host \"{}\" is down, and {count} others of its zone were given up lately: look what is wrong with the \
         zone, then raise the setting ha fencing.cap, or wait",
        host.name
    ))
}

impl Flow for GiveUp {
    const NAME: &'static str = "ha.give_up";

    fn resource(&self) -> Id<Any> {
        self.host.cast()
    }

    fn title(&self) -> String {
        format!("give up host \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("begin", Self::begin)
            .act("settle", Self::settle)
            .limit(SETTLE)
            .onward()
            .record("settled", Self::settled)
            .act("bury", Self::bury)
            .unless(|it| !matches!(it.outcome, Some(Outcome::Fenced)))
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        match store::stands(tx, self.host).await? {
            Some(stands) => show::<HostFencingInventory>(tx, stands.uuid).await,
            None => Ok(json!({})),
        }
    }
}
