//! A client: a random walk over VMs, zones and images that are its own, one call at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cumulet_tests::site::Site;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::request::{Call, Door, Outcome};
use crate::dice::Dice;

/// So many VMs has a client at most, and as many zones and images.
const VMS: usize = 4;
const OTHERS: usize = 2;
/// How a thing is that is not there.
pub const GONE: &str = "gone";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Vm,
    Zone,
    Image,
}

/// A thing of a client, and how it may be as far as the client was told: VM state, zone name, image status.
#[derive(Clone, Debug)]
pub struct Owned {
    pub kind: Kind,
    pub uuid: String,
    pub may_be: BTreeSet<String>,
}

/// A call that a client may make of a thing that is in some state, and the state when it succeeds.
struct Way {
    name: &'static str,
    method: Method,
    path: String,
    body: Value,
    after: String,
}

pub struct Client {
    number: usize,
    dice: Dice,
    door: Arc<Door>,
    history: Arc<History>,
    site: Site,
    owned: Vec<Owned>,
    gone: Vec<Owned>,
}

impl Client {
    pub fn new(number: usize, dice: Dice, door: Arc<Door>, history: Arc<History>, site: Site) -> Self {
        Client { number, dice, door, history, site, owned: Vec::new(), gone: Vec::new() }
    }

    /// Walks until it is told to stop: what it had, and what it has.
    pub async fn walk(mut self, stop: CancellationToken) -> Vec<Owned> {
        while !stop.is_cancelled() {
            self.step().await;
            let pause = self.dice.millis(20, 400);
            stop.run_until_cancelled(sleep(pause)).await;
        }
        self.gone.extend(self.owned);
        self.gone
    }

    async fn step(&mut self) {
        let kind = match self.dice.below(20) {
            0..2 => Kind::Zone,
            2..4 => Kind::Image,
            _ => Kind::Vm,
        };
        let mine: Vec<_> = (0..self.owned.len()).filter(|at| self.owned[*at].kind == kind).collect();
        let most = if kind == Kind::Vm { VMS } else { OTHERS };
        if mine.is_empty() || mine.len() < most && self.dice.one_in(3) {
            self.make(kind).await;
        } else {
            let at = self.dice.pick(&mine);
            self.change(at).await;
        }
    }

    async fn make(&mut self, kind: Kind) {
        let (uuid, job) = (self.dice.uuid(), self.dice.uuid());
        let name = format!("k{}-{}", self.number, &uuid[..6]);
        let (call, path, mut params, after) = match kind {
            Kind::Vm => ("create", "/vm-instances", self.site.vm(&name), "Running".to_owned()),
            Kind::Zone => ("create zone", "/zones", json!({ "name": name }), name.clone()),
            Kind::Image => ("add image", "/images", self.image(&name), "Ready".to_owned()),
        };
        params["resourceUuid"] = uuid.clone().into();
        let way = Way {
            name: call,
            method: Method::POST,
            path: path.into(),
            body: json!({ "params": params }),
            after,
        };
        let owned = Owned { kind, uuid, may_be: BTreeSet::from([GONE.to_owned()]) };
        let cancel = kind == Kind::Vm && self.dice.one_in(3);
        let owned = match cancel {
            true => self.made_and_cancelled(owned, way, job).await,
            false => self.follow(owned, way, job).await,
        };
        self.keep(owned);
    }

    fn image(&self, name: &str) -> Value {
        json!({
            "name": name,
            "url": "http://images.example.org/other.qcow2",
            "backupStorageUuids": [self.site.backup_storage],
            "format": "qcow2",
            "mediaType": "RootVolumeTemplate",
            "platform": "Linux",
        })
    }

    async fn change(&mut self, at: usize) {
        let owned = self.owned.swap_remove(at);
        let job = self.dice.uuid();
        let way = match (owned.kind, owned.may_be.first().map(String::as_str)) {
            (Kind::Vm, Some(state)) => self.of_vm(&owned.uuid, state),
            (Kind::Zone, _) => self.of_zone(&owned.uuid),
            (Kind::Image, Some(status)) => Self::of_image(&owned.uuid, status),
            _ => None,
        };
        let owned = match way {
            Some(way) => self.follow(owned, way, job).await,
            None => owned,
        };
        self.keep(owned);
    }

    fn of_vm(&mut self, uuid: &str, state: &str) -> Option<Way> {
        let path = format!("/vm-instances/{uuid}");
        let action = |name: &'static str, key: &str, after: &str| Way {
            name,
            method: Method::PUT,
            path: format!("{path}/actions"),
            body: json!({ key: {} }),
            after: after.into(),
        };
        let destroy = Way {
            name: "destroy",
            method: Method::DELETE,
            path: path.clone(),
            body: Value::Null,
            after: "Destroyed".into(),
        };
        Some(match (state, self.dice.below(10)) {
            ("Running", 0..4) => action("stop", "stopVmInstance", "Stopped"),
            ("Running", 4..7) => action("reboot", "rebootVmInstance", "Running"),
            ("Stopped", 0..8) => action("start", "startVmInstance", "Running"),
            ("Running" | "Stopped", _) => destroy,
            ("Destroyed", 0..3) => action("recover", "recoverVmInstance", "Stopped"),
            ("Destroyed", _) => action("expunge", "expungeVmInstance", GONE),
            _ => return None,
        })
    }

    fn of_zone(&mut self, uuid: &str) -> Option<Way> {
        let path = format!("/zones/{uuid}");
        if self.dice.one_in(4) {
            return Some(Way {
                name: "delete zone",
                method: Method::DELETE,
                path,
                body: Value::Null,
                after: GONE.into(),
            });
        }
        let name = format!("z{}-{:x}", self.number, self.dice.below(1 << 24));
        let body = json!({ "updateZone": { "name": name } });
        Some(Way {
            name: "rename zone",
            method: Method::PUT,
            path: format!("{path}/actions"),
            body,
            after: name,
        })
    }

    fn of_image(uuid: &str, status: &str) -> Option<Way> {
        let path = format!("/images/{uuid}");
        match status {
            "Ready" => Some(Way {
                name: "delete image",
                method: Method::DELETE,
                path,
                body: Value::Null,
                after: "Deleted".into(),
            }),
            "Deleted" => Some(Way {
                name: "expunge image",
                method: Method::PUT,
                path: format!("{path}/actions"),
                body: json!({ "expungeImage": {} }),
                after: GONE.into(),
            }),
            _ => None,
        }
    }

    /// Makes the call; what may be true of the thing then.
    async fn follow(&mut self, mut owned: Owned, way: Way, job: String) -> Owned {
        let Way { name, method, path, body, after } = way;
        let call = Call { object: &owned.uuid, name, method, path, body, job };
        match self.door.call(&call, &self.history, &mut self.dice).await {
            Outcome::Done => owned.may_be = BTreeSet::from([after]),
            Outcome::Failed | Outcome::Refused => {}
            Outcome::Unknown => {
                owned.may_be.insert(after);
            }
        }
        owned
    }

    /// Creates, and turns the creation back while it is at work; either may win.
    async fn made_and_cancelled(&mut self, owned: Owned, way: Way, job: String) -> Owned {
        let (mut dice, uuid) = (self.dice.fork(5), owned.uuid.clone());
        let (door, history, of) = (Arc::clone(&self.door), Arc::clone(&self.history), job.clone());
        let cancel = async move {
            let pause: Duration = dice.millis(20, 1500);
            sleep(pause).await;
            let found = door.list(&format!("/flows?q=job={of}"), &mut dice).await.unwrap_or_default();
            let Some(flow) = found.first().and_then(|flow| flow["uuid"].as_str()) else { return };
            let call = Call {
                object: &uuid,
                name: "cancel",
                method: Method::PUT,
                path: format!("/flows/{flow}/actions"),
                body: json!({ "cancelFlow": {} }),
                job: dice.uuid(),
            };
            door.call(&call, &history, &mut dice).await;
        };
        let (owned, ()) = tokio::join!(self.follow(owned, way, job), cancel);
        owned
    }

    /// What is gone, or of which nobody knows how it is, is left alone.
    fn keep(&mut self, owned: Owned) {
        match owned.may_be.len() == 1 && !owned.may_be.contains(GONE) {
            true => self.owned.push(owned),
            false => self.gone.push(owned),
        }
    }
}
