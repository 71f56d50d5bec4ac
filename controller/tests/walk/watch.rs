//! The plan as one controller's flows and messages meet it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use engine::flow::FlowView;
use engine::flow::fault::{Fault, Faults, Phase, Point};
use engine::{ErrorCode, Id, Result, codes};
use futures::future::BoxFuture;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, timeout};

use crate::idle::Idle;
use crate::plan::{At, Case, Known, Next, Place, Plan, Spot, Trick, What};

const MOMENT: Duration = Duration::from_millis(200);

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Fired {
    pub flow: Id<FlowView>,
    pub spot: Spot,
    pub deed: Deed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Flow(Fault),
    /// And whether the command's answer is its outcome.
    Wire(Trick, bool),
}

pub struct Watch {
    plan: Arc<Plan>,
    inner: Mutex<Met>,
    /// Counts what was seen.
    changed: Sender<usize>,
    /// Counts what has ended.
    ended: Sender<usize>,
}

#[derive(Default)]
struct Met {
    armed: bool,
    next: HashMap<Id<FlowView>, Next>,
    marked: HashMap<Id<FlowView>, Mark>,
    call: Call,
    /// All faults so far.
    count: usize,
    flows: BTreeSet<&'static str>,
    idle: Option<Idle>,
}

/// A flow that has had a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// None that keeps other messages from having theirs.
    Light,
    Full,
}

/// What happened during one call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub place: Place,
    pub fired: Vec<Fired>,
    /// The first flow that ran, and its name.
    pub top: Option<(Id<FlowView>, &'static str)>,
    /// How ghosts have ended, of so many.
    pub ghosts: Vec<(Id<FlowView>, Result<()>)>,
    pub ghosts_due: usize,
    /// Messages that are still to come.
    pub due: Vec<Letter>,
    /// What was not as it should be with messages.
    pub odd: Vec<String>,
    /// In the order in which it happened.
    seen: Vec<Seen>,
    parked: bool,
    /// Flows whose end was not seen yet.
    live: HashSet<Id<FlowView>>,
    /// Which act of which flow sends the commands of this resource and generation.
    acts: HashMap<(String, u64), (Id<FlowView>, Spot)>,
    strikes: HashMap<Id<FlowView>, Fault>,
}

/// What relays wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An agent has acknowledged a command; and remembers its epoch, unless it only looked.
    Taken {
        agent: SocketAddr,
        resource: String,
        epoch: Option<u64>,
        task: String,
    },
    /// An agent was asked, and told the outcome.
    Known(String),
    /// The outcome of a flow's task was told.
    Told(Id<FlowView>, String),
    /// A flow goes on with another step.
    Went(Id<FlowView>),
    Ended(Id<FlowView>),
}

/// A message to which something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub flow: Id<FlowView>,
    pub case: Case,
    pub trick: Trick,
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deed {
            Deed::Flow(fault) => write!(f, "{fault:?} at {} ({})", self.spot, self.flow),
            Deed::Wire(trick, _) => write!(f, "{trick:?} at {} ({})", self.spot, self.flow),
        }
    }
}

/// A VM that does not move from a host that is to be maintained is stopped.
const DISPENSABLE: &[&str] = &["migrate vm"];

impl Fired {
    fn fails(&self) -> bool {
        matches!(self.deed, Deed::Flow(Fault::Fail) | Deed::Wire(Trick::Outrun, _))
    }

    /// Nobody knows how the step ended.
    fn is_unknown(&self) -> bool {
        matches!(self.deed, Deed::Wire(Trick::Lost | Trick::Unheard | Trick::Late, true))
    }
}

impl Watch {
    pub fn new(plan: &Arc<Plan>) -> Watch {
        Watch {
            plan: Arc::clone(plan),
            inner: Mutex::default(),
            changed: Sender::new(0),
            ended: Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Met> {
        self.inner.lock().expect("no code panics while it holds what was met")
    }

    /// From now on faults happen, or none do.
    pub fn arm(&self, armed: bool) {
        self.lock().armed = armed;
    }

    /// From now on an undo does nothing, and nothing else happens.
    pub fn be_idle(&self, idle: Option<Idle>) {
        self.lock().idle = idle;
    }

    /// How often the undo was asked for that does nothing.
    pub fn idled(&self) -> usize {
        self.lock().idle.as_ref().map_or(0, |idle| idle.count)
    }

    /// The flows that ran since this was asked the last time.
    pub fn flows(&self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.lock().flows)
    }

    /// How many faults its flows have met.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Another call begins.
    pub fn begin(&self, place: Place) {
        let mut met = self.lock();
        met.call = Call { place, ..Call::default() };
        met.next.clear();
        met.marked.clear();
    }

    pub fn call(&self) -> Call {
        self.lock().call.clone()
    }

    /// A command leaves: what shall happen to it, and which flow sends it.
    pub fn message(
        &self,
        sender: (String, u64),
        path: &str,
        sync: bool,
    ) -> Option<(Id<FlowView>, Option<Letter>)> {
        let (mut met, mut known) = (self.lock(), self.plan.lock());
        let (flow, act) = met.call.acts.get(&sender)?.clone();
        let spot = Spot { at: At::Message(path.to_owned()), ..act };
        // What ghosts and successors say is not the flow as it is without faults.
        if met.call.has_died(flow) || met.idle.is_some() {
            return Some((flow, None));
        }
        known.learn_message(&spot, &met.path(flow), met.call.place, sync);
        if !met.armed {
            return Some((flow, None));
        }
        let Some(trick) = met.trick(&mut known, flow, &spot, sync) else { return Some((flow, None)) };
        let letter = Letter { flow, case: Case { spot: spot.clone(), what: What::Wire(trick) }, trick };
        met.call.due.push(letter.clone());
        met.count += 1;
        met.call.fired.push(Fired { flow, spot, deed: Deed::Wire(trick, sync) });
        Some((flow, Some(letter)))
    }

    /// What shall happen to the letter has happened.
    pub fn settled(&self, letter: &Letter) {
        self.lock().call.due.retain(|due| due != letter);
        self.ended.send_modify(|count| *count += 1);
    }

    /// It cannot happen this time.
    pub fn spoilt(&self, letter: &Letter) {
        self.settled(letter);
        self.plan.lock().spoilt(&letter.case);
    }

    pub fn odd(&self, text: String) {
        self.lock().call.odd.push(text);
    }

    /// The flow fails, or its controller dies, in the midst of an act.
    pub fn strike(&self, flow: Id<FlowView>, fault: Fault) {
        self.lock().call.strikes.insert(flow, fault);
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn saw(&self, seen: Seen) {
        self.lock().call.seen.push(seen);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether some flow of the call was parked.
    pub fn has_parked(&self) -> bool {
        self.lock().call.parked
    }

    /// Waits until something has ended, but not longer than that.
    pub async fn stir(&self, longest: Duration) {
        let _ = timeout(longest, self.ended.subscribe().changed()).await;
    }

    /// No flow lives in the database any more: waits until their drivers say so too. One that has died in
    /// between never does.
    pub async fn all_have_ended(&self) {
        let began = Instant::now();
        while !self.lock().call.live.is_empty() && began.elapsed() < MOMENT {
            self.stir(Duration::from_millis(1)).await;
        }
        let mut met = self.lock();
        let silent: Vec<Seen> = met.call.live.drain().map(Seen::Ended).collect();
        met.call.seen.extend(silent);
        drop(met);
        self.changed.send_modify(|count| *count += 1);
    }

    /// How much was seen so far.
    pub fn now(&self) -> usize {
        self.lock().call.seen.len()
    }

    /// Waits until something is seen that was not `from` the beginning; that.
    pub async fn until(&self, from: usize, what: impl Fn(&Seen) -> bool) -> Seen {
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(seen) = self.lock().call.seen.iter().skip(from).find(|seen| what(seen)) {
                return seen.clone();
            }
            let _ = changes.changed().await;
        }
    }
}

impl Met {
    /// What happens to a message.
    fn trick(&mut self, known: &mut Known, flow: Id<FlowView>, spot: &Spot, sync: bool) -> Option<Trick> {
        let mark = self.marked.get(&flow).copied();
        if mark == Some(Mark::Full) {
            let what = self.follow_case(known, flow, spot)?;
            return if let What::Wire(trick) = what { Some(trick) } else { None };
        }
        let trick = known.choose_trick(spot, sync, mark.is_some())?;
        let mark = if trick.is_light(sync) { Mark::Light } else { Mark::Full };
        self.marked.insert(flow, mark);
        Some(trick)
    }

    /// What a flow's failures have led to, if it is here.
    fn follow_case(&mut self, known: &mut Known, flow: Id<FlowView>, spot: &Spot) -> Option<What> {
        let Some(Next::Path(path, case)) = self.next.get(&flow) else { return None };
        if !path.is_empty() || case.spot != *spot {
            return None;
        }
        let case = case.clone();
        known.done(&case);
        self.next.remove(&flow);
        Some(case.what)
    }

    /// What happens to a flow that has had its fault.
    fn follow(&mut self, known: &mut Known, flow: Id<FlowView>, spot: &Spot) -> Fault {
        let beside = matches!(spot.at, At::Phase(Phase::Before | Phase::After));
        match self.next.get_mut(&flow) {
            Some(Next::Path(path, _)) if path.last() == Some(spot) => {
                path.pop();
                Fault::Fail
            }
            Some(Next::Overtaken) if beside => {
                self.next.remove(&flow);
                Fault::Fail
            }
            _ => self.follow_case(known, flow, spot).map_or(Fault::None, What::fault),
        }
    }

    /// Where the flow was made to fail, as long as nothing else has happened to it.
    fn path(&self, flow: Id<FlowView>) -> Vec<Spot> {
        let its: Vec<&Fired> = self.call.fired.iter().filter(|fired| fired.flow == flow).collect();
        match its.iter().all(|fired| fired.deed == Deed::Flow(Fault::Fail)) {
            true => its.iter().map(|fired| fired.spot.clone()).collect(),
            false => Vec::new(),
        }
    }

    /// Relays want to know how flows go on.
    fn note(&mut self, point: &Point<'_>, spot: &Spot) {
        self.call.top.get_or_insert((point.flow, point.name));
        self.flows.insert(point.name);
        if point.phase != Phase::Asked {
            self.call.live.insert(point.flow);
        }
        match point.phase {
            Phase::Saved if point.step == "end" => {
                self.call.live.remove(&point.flow);
                self.call.seen.push(Seen::Ended(point.flow));
            }
            Phase::Saved => self.call.seen.push(Seen::Went(point.flow)),
            Phase::Parked => self.call.parked = true,
            Phase::Before if !point.record => {
                let sender = (point.resource.to_string(), point.generation.unsigned_abs());
                self.call.acts.insert(sender, (point.flow, spot.clone()));
            }
            _ => {}
        }
    }

    fn decide(&mut self, known: &mut Known, point: &Point<'_>, spot: &Spot) -> Fault {
        if self.marked.contains_key(&point.flow) {
            return self.follow(known, point.flow, spot);
        }
        let Some((fault, next)) = known.choose(spot, self.call.place) else { return Fault::None };
        self.marked.insert(point.flow, Mark::Full);
        if let Some(next) = next {
            self.next.insert(point.flow, next);
        }
        fault
    }
}

impl Faults for Watch {
    fn at(&self, point: &Point<'_>) -> Fault {
        let (spot, mut met, mut known) = (Spot::of(point), self.lock(), self.plan.lock());
        met.note(point, &spot);
        self.changed.send_modify(|count| *count += 1);
        if point.phase == Phase::Parked || point.phase == Phase::Saved && point.step == "end" {
            self.ended.send_modify(|count| *count += 1);
        }
        let call = met.call.place;
        let fault = if let Some(idle) = &mut met.idle {
            idle.at(point, call)
        } else {
            known.learn(point, &spot, &met.path(point.flow), call);
            if met.armed { met.decide(&mut known, point, &spot) } else { Fault::None }
        };
        if fault != Fault::None {
            let beside = matches!(point.phase, Phase::Before | Phase::After);
            let ghost = fault == Fault::Crash || fault == Fault::Twice && point.record;
            met.call.ghosts_due += usize::from(beside && ghost || point.phase == Phase::Writing);
            met.count += 1;
            met.call.fired.push(Fired { flow: point.flow, spot, deed: Deed::Flow(fault) });
        }
        fault
    }

    fn during(&self, flow: Id<FlowView>) -> BoxFuture<'_, Fault> {
        Box::pin(async move {
            let mut changes = self.changed.subscribe();
            loop {
                if let Some(fault) = self.lock().call.strikes.remove(&flow) {
                    return fault;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }

    fn haunted(&self, flow: Id<FlowView>, outcome: Result<()>) {
        self.lock().call.ghosts.push((flow, outcome));
        self.ended.send_modify(|count| *count += 1);
    }
}

impl Call {
    pub fn is_haunted(&self) -> bool {
        self.ghosts.len() < self.ghosts_due
    }

    /// Ghosts that were not refused, by the database or by their own controller, which has died again.
    pub fn at_large(&self) -> impl Iterator<Item = &(Id<FlowView>, Result<()>)> {
        let refused = |outcome: &Result<()>| {
            let refusal = |error: &ErrorCode| {
                [codes::LOST, codes::NO_LEASE].iter().any(|code| error.is_rooted_in(*code))
            };
            outcome.as_ref().is_err_and(refusal)
        };
        self.ghosts.iter().filter(move |(_, outcome)| !refused(outcome))
    }

    /// Flows that went on for the first time when that of the call had ended.
    pub fn begun_after_the_end(&self) -> Vec<Id<FlowView>> {
        let Some((top, _)) = self.top else { return Vec::new() };
        let end = self.seen.iter().position(|seen| *seen == Seen::Ended(top));
        let (before, after) = self.seen.split_at(end.unwrap_or(self.seen.len()));
        let went = |seen: &Seen| if let Seen::Went(flow) = seen { Some(*flow) } else { None };
        let known: HashSet<_> = before.iter().filter_map(went).chain([top]).collect();
        after.iter().filter_map(went).filter(|flow| !known.contains(flow)).collect()
    }

    /// Whether the flow's controller has died, or has not heard of a commit.
    fn has_died(&self, flow: Id<FlowView>) -> bool {
        let died = |deed: Deed| match deed {
            Deed::Flow(fault) => fault != Fault::Fail,
            Deed::Wire(trick, _) => trick == Trick::Outlived,
        };
        self.fired.iter().any(|fired| fired.flow == flow && died(fired.deed))
    }

    /// Whether the call must have failed; `None` when it may end either way.
    pub fn must_fail(&self) -> Option<bool> {
        // Who died while it failed may succeed the next time; who waited for a parked flow and died may not
        // have been told of it; when others died too, their successors may find that what failed is no longer
        // needed; a part that was parked may have been done at the next try before who waits for it looks; and
        // some parts need not succeed.
        let died_failing = |fired: &Fired| matches!(fired.spot.at, At::Phase(Phase::Turning | Phase::Parked));
        let one = self.fired.iter().all(|fired| fired.flow == self.fired[0].flow);
        let failed = self.fired.iter().any(Fired::fails);
        let unknown = self.fired.iter().any(Fired::is_unknown);
        let of_part = |fired: &Fired| self.top.is_some_and(|(top, _)| fired.flow != top);
        let part_parked = self.parked && self.fired.iter().any(of_part);
        let dispensable =
            self.fired.iter().any(|fired| of_part(fired) && DISPENSABLE.contains(&&*fired.spot.flow));
        let either = !one || part_parked || dispensable || self.fired.iter().any(died_failing);
        match unknown || failed && either {
            true => None,
            false => Some(failed),
        }
    }

    pub fn shown(&self) -> String {
        let all: Vec<String> = self.fired.iter().map(ToString::to_string).collect();
        let due: Vec<String> = self.due.iter().map(|letter| format!(", due: {}", letter.case)).collect();
        let fired = if all.is_empty() { "no fault".into() } else { all.join(", then ") };
        fired + &due.concat()
    }
}
