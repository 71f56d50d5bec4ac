//! Work queues by key: what may not happen at the same time waits its turn here.
//!
//! A queue orders the work of one controller; it excludes nobody else. Exclusion is the ownership that a
//! flow takes in the database ([`crate::flow`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{Ask, Asked, Route};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result};
use crate::id::Id;
use crate::module::Module;
use crate::node::Node;

/// All queues of this controller; clones share them.
#[derive(Clone, Default)]
pub struct Queues {
    lines: Arc<Mutex<HashMap<String, Line>>>,
}

struct Line {
    gate: Arc<Semaphore>,
    width: usize,
    holders: Vec<User>,
    waiting: Vec<User>,
    next: u64,
}

/// Who holds a queue or waits in it, since when.
struct User {
    number: u64,
    who: String,
    since: Instant,
}

/// A place in a queue, held until it is dropped.
pub struct Turn {
    place: Place,
    _permit: Option<OwnedSemaphorePermit>,
}

struct Place {
    queues: Queues,
    key: String,
    number: u64,
}

/// One queue as an operator sees it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Queue")]
pub struct View {
    pub key: String,
    /// 0: unlimited.
    pub width: usize,
    pub holders: Vec<UserView>,
    /// In order.
    pub waiting: Vec<UserView>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserView {
    pub who: String,
    pub seconds: u64,
}

impl Queues {
    /// Waits for a turn in the queue `key`, in which at most `width` work at a time (0: unlimited).
    /// `who` is shown to operators.
    pub async fn enter(&self, key: &str, width: usize, who: &str) -> Turn {
        let (gate, place) = self.join(key, width, who);
        let permit = match width {
            0 => None,
            _ => Some(gate.acquire_owned().await.expect("queues are never closed")),
        };
        place.hold();
        Turn { place, _permit: permit }
    }

    /// The queues that are in use now.
    pub fn views(&self) -> Vec<View> {
        let shown = |users: &Vec<User>| users.iter().map(User::view).collect();
        let lines = self.lock();
        let view = |(key, line): (&String, &Line)| View {
            key: key.clone(),
            width: line.width,
            holders: shown(&line.holders),
            waiting: shown(&line.waiting),
        };
        lines.iter().map(view).collect()
    }

    fn join(&self, key: &str, width: usize, who: &str) -> (Arc<Semaphore>, Place) {
        let mut lines = self.lock();
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line {
            gate: Arc::new(Semaphore::new(width.max(1))),
            width,
            holders: Vec::new(),
            waiting: Vec::new(),
            next: 0,
        });
        line.next += 1;
        let number = line.next;
        line.waiting.push(User { number, who: who.to_owned(), since: Instant::now() });
        (Arc::clone(&line.gate), Place { queues: self.clone(), key: key.to_owned(), number })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().expect("no code panics while it holds the queues")
    }
}

impl User {
    fn view(&self) -> UserView {
        UserView { who: self.who.clone(), seconds: self.since.elapsed().as_secs() }
    }
}

impl Place {
    /// Its waiting is over.
    fn hold(&self) {
        let mut lines = self.queues.lock();
        let Some(line) = lines.get_mut(&self.key) else { return };
        let Some(at) = line.waiting.iter().position(|user| user.number == self.number) else { return };
        let user = line.waiting.remove(at);
        line.holders.push(User { since: Instant::now(), ..user });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.queues.lock();
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.holders.retain(|user| user.number != self.number);
        line.waiting.retain(|user| user.number != self.number);
        if line.holders.is_empty() && line.waiting.is_empty() {
            lines.remove(&self.key);
        }
    }
}

impl Turn {
    /// The queue that it is a place in.
    pub fn key(&self) -> &str {
        &self.place.key
    }
}

crate::api! {
    /// All queues in use, of all controllers, with who holds them and who waits, and for how long.
    GetQueues: GET "/queues" {}
}

/// Without those of controllers that do not answer, which are named.
#[derive(Serialize, JsonSchema)]
pub struct QueuesInUse {
    inventories: Vec<ViewAt>,
    unreached: Vec<Unreached>,
}

/// A controller whose queues are not known.
#[derive(Serialize, JsonSchema)]
pub struct Unreached {
    node: Id<Node>,
    error: ErrorCode,
}

/// A queue, and the controller that has it.
#[derive(Serialize, JsonSchema)]
struct ViewAt {
    #[serde(flatten)]
    view: View,
    node: Id<Node>,
}

impl Ask for GetQueues {
    const ROUTE: Route = GetQueues::ROUTE;
    type Reply = QueuesInUse;

    async fn answer(self, asked: Asked) -> Result<QueuesInUse> {
        let (views, unreached) = gather(&asked.engine).await?;
        let inventories = views.into_iter().map(|(node, view)| ViewAt { view, node }).collect();
        Ok(QueuesInUse { inventories, unreached })
    }
}

type Views = Vec<(Id<Node>, View)>;

/// All queues in use, of all controllers, and whose they are. None, when a controller does not answer.
pub async fn everywhere(engine: &Engine) -> Result<Views> {
    let (views, unreached) = gather(engine).await?;
    unreached.into_iter().next().map_or(Ok(views), |unreached| Err(unreached.error))
}

/// The queues of those who answer, and who does not.
async fn gather(engine: &Engine) -> Result<(Views, Vec<Unreached>)> {
    let (here, ring, client) = (engine.era()?.id, engine.eras().ring(), engine.caller().client());
    let asked = ring.members().iter().map(async |member| match member.id == here {
        true => (member.id, Ok(engine.queues().views())),
        false => (member.id, engine.bus().queues(&client, member).await),
    });
    let (mut all, mut unreached) = (Vec::new(), Vec::new());
    for (node, views) in join_all(asked).await {
        match views {
            Ok(views) => all.extend(views.into_iter().map(|view| (node, view))),
            Err(error) => unreached.push(Unreached { node, error }),
        }
    }
    Ok((all, unreached))
}

/// What operators see of queues.
pub(crate) fn module() -> Module {
    Module::new("queue").ask::<GetQueues>().admin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn who_waits_is_shown_in_order() {
        let queues = Queues::default();
        let _turn = queues.enter("vm-1", 1, "start").await;
        let mut stop = Box::pin(queues.enter("vm-1", 1, "stop"));
        let mut reboot = Box::pin(queues.enter("vm-1", 1, "reboot"));
        assert!(stop.as_mut().now_or_never().is_none() && reboot.as_mut().now_or_never().is_none());
        let waiting: Vec<_> = queues.views()[0].waiting.iter().map(|user| user.who.clone()).collect();
        assert_eq!(waiting, ["stop", "reboot"]);
    }

    #[tokio::test]
    async fn a_serial_queue_lets_one_in_at_a_time() {
        let queues = Queues::default();
        let first = queues.enter("vm-1", 1, "start").await;
        let mut second = Box::pin(queues.enter("vm-1", 1, "stop"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(queues.enter("vm-2", 1, "start").now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_queue_shows_who_holds_it_and_is_forgotten_when_idle() {
        let queues = Queues::default();
        let turn = queues.enter("vm-1", 1, "start").await;
        let gave_up = queues.enter("vm-1", 1, "stop").now_or_never();
        assert!(gave_up.is_none());
        let views = queues.views();
        assert_eq!((views[0].holders[0].who.as_str(), views[0].waiting.len()), ("start", 0));
        drop(turn);
        assert!(queues.views().is_empty());
    }

    #[tokio::test]
    async fn width_counts_and_zero_does_not() {
        let queues = Queues::default();
        let _a = queues.enter("host", 2, "a").await;
        let _b = queues.enter("host", 2, "b").await;
        assert!(queues.enter("host", 2, "c").now_or_never().is_none());
        let all: Vec<_> = futures::future::join_all((0..9).map(|_| queues.enter("free", 0, "x"))).await;
        assert_eq!(all.len(), 9);
    }
}
