//! Where things are: hosts and backup storages, and the programs there that say what there is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use engine::db::Tx;
use engine::flow::{Agent, Cx};
use engine::inventory::find;
use engine::{Any, Engine, Id, Result, codes};
use wire::agent::Owned;
use wire::calls::inventory::{List, Listed};

use crate::backup_storage::{self, BackupStorage, BackupStorageInventory, sftp};
use crate::config::Ports;
use crate::host::{self, Host, HostInventory, kvm};

/// How long an inventory may take.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(super) enum Place {
    Host(Box<HostInventory>),
    Storage(Box<BackupStorageInventory>),
}

/// Who says what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Kvm,
    Vrouter,
    Storage,
}

/// What an agent said last: its digest, and all of it.
type Heard = (String, Arc<Vec<Owned>>);

/// By address. Lost at a restart, which costs one whole inventory of each agent.
static HEARD: LazyLock<Mutex<HashMap<String, Heard>>> = LazyLock::new(Mutex::default);

/// Forgets what agents said that are at none of these places.
pub(super) fn forget_others(engine: &Engine, places: &[Place]) {
    let agents = places.iter().flat_map(|place| Program::ALL.map(|program| program.at(engine, place)));
    let known: HashSet<String> = agents.flatten().map(|agent| agent.url).collect();
    HEARD.lock().expect("never poisoned").retain(|url, _| known.contains(url));
}

impl Program {
    pub const ALL: [Program; 3] = [Program::Kvm, Program::Vrouter, Program::Storage];

    pub fn name(self) -> &'static str {
        match self {
            Program::Kvm => "kvm-agent",
            Program::Vrouter => "vrouter-agent",
            Program::Storage => "storage-agent",
        }
    }

    /// The program at the place, if it runs at such places.
    fn at(self, engine: &Engine, place: &Place) -> Option<Agent> {
        match (self, place) {
            (Program::Kvm, Place::Host(host)) => Some(kvm::agent(engine, host)),
            (Program::Vrouter, Place::Host(host)) => {
                Some(host.agent(engine, self.name(), engine.of::<Ports>().vrouter_agent))
            }
            (Program::Storage, Place::Storage(storage)) => Some(sftp::agent(engine, storage)),
            _ => None,
        }
    }

    /// Asks for what it has there; nothing when it does not run at such places. What it has not changed
    /// since it was last asked it does not tell again.
    pub async fn inventory(self, engine: &Engine, place: &Place) -> Result<Option<Arc<Vec<Owned>>>> {
        let Some(agent) = self.at(engine, place) else { return Ok(None) };
        let heard = HEARD.lock().expect("never poisoned").get(&agent.url).cloned();
        let known = heard.as_ref().map(|(digest, _)| digest.clone()).unwrap_or_default();
        let told: Listed = engine.ask(&agent, &List { known }, LIMIT).await?;
        let (whole, heard) = match (told.owned, heard) {
            (Some(owned), _) => (Arc::new(owned), (told.digest)),
            (None, Some((digest, owned))) if digest == told.digest => (owned, digest),
            (None, _) => {
                let details = format!("{} tells no inventory and knows none that was told", agent.name);
                return Err(codes::OPERATION.because(details));
            }
        };
        HEARD.lock().expect("never poisoned").insert(agent.url, (heard, Arc::clone(&whole)));
        Ok(Some(Arc::new(whole.iter().filter(|thing| place.holds(thing)).cloned().collect())))
    }

    /// Whether it has the thing now, asked by the flow that is about to take it away.
    pub async fn has(self, cx: &Cx, place: &Place, thing: &Owned) -> Result<bool> {
        let Some(agent) = self.at(cx.engine(), place) else { return Ok(false) };
        let told = cx.call(&agent, &List::default()).await?;
        Ok(told.owned.is_some_and(|all| all.contains(thing)))
    }
}

impl Place {
    /// All that answer.
    pub async fn all(tx: &mut Tx) -> Result<Vec<Place>> {
        let hosts = host::connected(tx).await?.into_iter().map(|host| Place::Host(Box::new(host)));
        let storages = backup_storage::connected(tx).await?.into_iter();
        Ok(hosts.chain(storages.map(|storage| Place::Storage(Box::new(storage)))).collect())
    }

    /// The place of a finding, if commands may be sent there.
    pub async fn of(
        tx: &mut Tx,
        host: Option<Id<Host>>,
        storage: Option<Id<BackupStorage>>,
    ) -> Result<Place> {
        match (host, storage) {
            (Some(host), _) => Ok(Place::Host(Box::new(host::usable(tx, host).await?))),
            (None, Some(storage)) => {
                let storage: BackupStorageInventory = find(tx, storage).await?;
                match storage.is_connected() {
                    true => Ok(Place::Storage(Box::new(storage))),
                    false => Err(codes::STATE.because(format!(
                        "backup storage \"{}\" is {}: wait until it is connected again",
                        storage.name, storage.status
                    ))),
                }
            }
            (None, None) => Err(codes::INTERNAL.because("a finding is at no place")),
        }
    }

    pub fn uuid(&self) -> Id<Any> {
        match self {
            Place::Host(host) => host.uuid.cast(),
            Place::Storage(storage) => storage.uuid.cast(),
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match self {
            Place::Host(host) => format!("host \"{}\"", host.name),
            Place::Storage(storage) => format!("backup storage \"{}\"", storage.name),
        }
    }

    pub fn host(&self) -> Result<&HostInventory> {
        match self {
            Place::Host(host) => Ok(host),
            Place::Storage(_) => Err(codes::INTERNAL.because(format!("{} is no host", self.title()))),
        }
    }

    pub fn storage(&self) -> Result<&BackupStorageInventory> {
        match self {
            Place::Storage(storage) => Ok(storage),
            Place::Host(_) => Err(codes::INTERNAL.because(format!("{} is no backup storage", self.title()))),
        }
    }

    /// Fails unless its agents obey this cloud: one that another controller has introduced itself to has
    /// another cloud's things.
    pub async fn check_ours(&self, engine: &Engine) -> Result<()> {
        match self {
            Place::Host(host) => {
                let introduced = host.hypervisor()?.ping(engine, host).await?;
                match introduced == host.uuid.to_string() {
                    true => Ok(()),
                    false => {
                        Err(codes::STATE.because(format!("{} must be connected again first", self.title())))
                    }
                }
            }
            Place::Storage(storage) => storage.driver()?.ping(engine, storage).await.map(|_| ()),
        }
    }

    /// Whether the thing lies there at all: one storage-agent may serve several stores.
    fn holds(&self, thing: &Owned) -> bool {
        match self {
            Place::Host(_) => true,
            Place::Storage(storage) => {
                let below = thing.name.strip_prefix(storage.url.trim_end_matches('/'));
                below.is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}
