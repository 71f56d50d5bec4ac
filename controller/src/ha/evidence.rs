//! Evidence that a host is down: kinds of it, asked in order.

use engine::boxed;
use engine::db::Tx;
use engine::driver::Family;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Engine, Id, Result};
use serde::{Deserialize, Serialize};

use super::{leases, power, store};
use crate::host::{self, Host, HostInventory};
use crate::primary_storage::PrimaryStorage;

/// A host that does not answer, as it is when it is looked at.
#[derive(Clone, Debug)]
pub struct Case {
    pub host: HostInventory,
    /// How often it had been connected.
    pub connection: i64,
    /// The shared storages on which its VMs have disks.
    pub needed: Vec<Id<PrimaryStorage>>,
}

impl Case {
    pub(super) async fn of(tx: &mut Tx, host: Id<Host>) -> Result<Case> {
        let host: HostInventory = find(tx, host).await?;
        let connection = host::connections(tx, host.uuid).await?;
        Ok(Case { needed: store::needed(tx, host.uuid).await?, host, connection })
    }
}

/// A lease that was not renewed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Silent {
    pub storage: Id<PrimaryStorage>,
    pub mount_path: String,
    /// Those who have watched it.
    pub observers: Vec<Id<Host>>,
    pub sequence: u64,
}

/// What shows that a host is down, as far as it was looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// Whose it is.
    pub evidence: String,
    pub connection: i64,
    pub leases: Vec<Silent>,
}

/// What comes of looking.
#[derive(Clone, Debug)]
pub enum Sight {
    /// It is alive, and nothing else counts.
    Lives(String),
    /// Nobody can tell, and why.
    Unknown(String),
    /// These leases are silent, if it goes by leases.
    Down(Vec<Silent>),
}

/// One kind of evidence.
#[boxed]
pub trait Evidence: Sync {
    /// Looks, and changes nothing.
    async fn look(&self, engine: &Engine, case: &Case) -> Result<Sight>;

    /// Sees to it that the host writes no more, and that this is certain; fails when it lives. It may run again.
    async fn settle(&self, cx: &Cx, host: &HostInventory, proof: &Proof) -> Result<()>;

    /// Whether none of its VMs runs after that, whatever storage it is on.
    fn is_total(&self) -> bool;
}

/// In the order in which they are asked: who looks disturbs less than who switches off.
pub static EVIDENCE: Family<dyn Evidence> =
    Family::new("evidence", &[("storage", &leases::Leases), ("power", &power::Off)]);

/// What all of them together show.
pub(super) enum Verdict {
    Lives(String),
    Unknown(String),
    Down(Proof),
}

/// The first that shows something counts.
pub(super) async fn look(engine: &Engine, case: &Case) -> Verdict {
    let mut reasons = Vec::new();
    for (name, evidence) in EVIDENCE.all() {
        match evidence.look(engine, case).await {
            Ok(Sight::Lives(how)) => return Verdict::Lives(how),
            Ok(Sight::Down(leases)) => {
                let (evidence, connection) = (name.to_owned(), case.connection);
                return Verdict::Down(Proof { evidence, connection, leases });
            }
            Ok(Sight::Unknown(why)) => reasons.push(format!("{name}: {why}")),
            Err(error) => reasons.push(format!("{name}: {}", error.details())),
        }
    }
    Verdict::Unknown(reasons.join("; "))
}
