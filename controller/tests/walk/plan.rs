//! Which faults there are, which of them have happened, and which happens next.
//!
//! Nobody writes a list of faults. A point that a flow comes to for the first time brings its faults with
//! it; each of them happens once, in whatever run of the flow comes to the point again. A run of a flow has
//! one fault. A fault on the way back belongs to the failure that showed the way there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::flow::FlowView;
use engine::flow::fault::{Fault, Faults, Phase, Point};
use engine::{Engine, Id, Result, codes};

/// A fault that cannot be brought about in so many attempts is not where it was seen.
const ATTEMPTS: usize = 8;

/// A point of every run of a flow: `delete VmInstance`, `record`, forward, before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The flow's title without names and uuids: what a cascade deletes is a matter of its own.
    pub flow: String,
    pub step: &'static str,
    pub back: bool,
    pub phase: Phase,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    Fail,
    Twice,
    Crash,
    /// The controller stops, its successor turns the flow back, and then the first one wakes up.
    Overtaken,
}

/// A fault of the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    pub spot: Spot,
    pub what: What,
}

/// What is known of a case.
struct Standing {
    /// For a point that only failures lead to: where the flow was made to fail, in order, when it was seen.
    path: Vec<Spot>,
    attempts: usize,
    done: bool,
}

/// The cases of all flows; shared by all worlds.
#[derive(Default)]
pub struct Plan {
    inner: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    cases: BTreeMap<Case, Standing>,
    /// Flow, step and direction, and whether the step is one of rows.
    seen: BTreeMap<(&'static str, &'static str, bool), bool>,
}

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Fired {
    pub flow: Id<FlowView>,
    pub spot: Spot,
    pub fault: Fault,
}

/// The plan as one controller's flows meet it.
pub struct Watch {
    plan: Arc<Plan>,
    inner: Mutex<Met>,
}

#[derive(Default)]
struct Met {
    armed: bool,
    /// What shall still happen to a flow that has had its fault.
    next: HashMap<Id<FlowView>, Next>,
    marked: HashSet<Id<FlowView>>,
    call: Call,
    /// All faults so far.
    count: usize,
}

enum Next {
    /// These failures, the last one first, and then the fault that they lead to.
    Path(Vec<Spot>, Case),
    /// Its successor fails at once.
    Overtaken,
}

/// What happened during one call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub fired: Vec<Fired>,
    /// The first flow that ran, and its name.
    pub top: Option<(Id<FlowView>, &'static str)>,
    /// How ghosts have ended, of so many.
    pub ghosts: Vec<(Id<FlowView>, Result<()>)>,
    pub ghosts_due: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undo = if self.back { "undo of " } else { "" };
        write!(f, "{}: {:?} {undo}\"{}\"", self.flow, self.phase, self.step)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.what, self.spot)
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ({})", self.fault, self.spot, self.flow)
    }
}

impl What {
    fn fault(self) -> Fault {
        match self {
            What::Fail => Fault::Fail,
            What::Twice => Fault::Twice,
            What::Crash | What::Overtaken => Fault::Crash,
        }
    }

    /// Everything that can happen at a point.
    fn at(point: &Point<'_>) -> &'static [What] {
        match (point.phase, point.record, point.back) {
            (Phase::Saved, ..) => &[What::Twice, What::Crash],
            (Phase::Turning | Phase::Parked, ..) => &[What::Crash],
            (Phase::Before, true, _) | (Phase::After, false, true) => &[What::Fail, What::Crash],
            (Phase::Before, false, false) => &[What::Fail, What::Twice, What::Crash, What::Overtaken],
            (Phase::Before, false, true) | (Phase::After, true, _) => &[What::Fail, What::Twice, What::Crash],
            (Phase::After, false, false) => &[What::Fail, What::Crash, What::Overtaken],
        }
    }
}

/// A title without what is quoted and without uuids.
fn kind(title: &str) -> String {
    let outside: String = title.split('"').step_by(2).collect();
    let words = outside.split_whitespace();
    let uuid = |word: &&str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    words.filter(|word| !uuid(word)).collect::<Vec<_>>().join(" ")
}

impl Spot {
    fn of(point: &Point<'_>) -> Spot {
        Spot { flow: kind(point.title), step: point.step, back: point.back, phase: point.phase }
    }

    /// Comes only after a failure.
    fn needs_failure(&self) -> bool {
        self.back || matches!(self.phase, Phase::Turning | Phase::Parked)
    }
}

impl Plan {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.inner.lock().expect("no code panics while it holds the plan")
    }

    /// How many cases there are and how many have happened.
    pub fn count(&self) -> (usize, usize) {
        let known = self.lock();
        (known.cases.len(), known.cases.values().filter(|standing| standing.done).count())
    }

    pub fn by_kind(&self) -> BTreeMap<What, usize> {
        let mut counts = BTreeMap::new();
        for (case, _) in self.lock().cases.iter().filter(|(_, standing)| standing.done) {
            *counts.entry(case.what).or_default() += 1;
        }
        counts
    }

    /// What has not happened.
    pub fn missed(&self) -> Vec<String> {
        let known = self.lock();
        let missed = known.cases.iter().filter(|(_, standing)| !standing.done);
        missed.map(|(case, standing)| format!("{case} (in {} attempts)", standing.attempts)).collect()
    }

    /// Every step of every flow of the registry, and every undo, must have been come to.
    pub fn unseen(&self, engine: &Engine) -> Vec<String> {
        let seen = &self.lock().seen;
        let mut complaints = Vec::new();
        for flow in engine.flow_types() {
            for (at, (step, undone)) in flow.steps.iter().zip(&flow.undone).enumerate() {
                let record = seen.get(&(flow.name, *step, false));
                if record.is_none() {
                    complaints.push(format!("step \"{step}\" of {} was never run", flow.name));
                }
                // The last record step fails or the flow is done: nobody comes back to it.
                let last = at + 1 == flow.steps.len() && record == Some(&true);
                if *undone && !last && !seen.contains_key(&(flow.name, *step, true)) {
                    complaints.push(format!("the undo of step \"{step}\" of {} was never run", flow.name));
                }
            }
        }
        complaints
    }
}

impl Known {
    /// Brings in what can happen here.
    fn learn(&mut self, point: &Point<'_>, spot: &Spot, path: &[Spot]) {
        if matches!(point.phase, Phase::Before | Phase::After) {
            self.seen.insert((point.name, point.step, point.back), point.record);
        }
        // A sub-flow's failure leads there too, but not every time.
        let led = |at: &Spot| point.phase != Phase::Parked || (at.step, at.back) == (spot.step, spot.back);
        if spot.needs_failure() && !path.last().is_some_and(led) {
            return;
        }
        for what in What::at(point) {
            let path = if spot.needs_failure() { path.to_owned() } else { Vec::new() };
            let case = Case { spot: spot.clone(), what: *what };
            self.cases.entry(case).or_insert(Standing { path, attempts: 0, done: false });
        }
    }

    /// What shall happen to a flow here that has had no fault yet.
    fn choose(&mut self, spot: &Spot) -> Option<(Fault, Option<Next>)> {
        for what in [What::Crash, What::Twice, What::Overtaken, What::Fail] {
            let case = Case { spot: spot.clone(), what };
            let Some(standing) = self.cases.get_mut(&case).filter(|s| !s.done) else { continue };
            standing.done = true;
            let next = (what == What::Overtaken).then_some(Next::Overtaken);
            return Some((what.fault(), next));
        }
        let may = |standing: &Standing| {
            !standing.done && standing.attempts < ATTEMPTS && standing.path.first() == Some(spot)
        };
        let (case, standing) = self.cases.iter_mut().find(|(_, standing)| may(standing))?;
        standing.attempts += 1;
        let rest = standing.path[1..].iter().rev().cloned().collect();
        Some((Fault::Fail, Some(Next::Path(rest, case.clone()))))
    }

    fn done(&mut self, case: &Case) {
        if let Some(standing) = self.cases.get_mut(case) {
            standing.done = true;
        }
    }
}

impl Watch {
    pub fn new(plan: &Arc<Plan>) -> Watch {
        Watch { plan: Arc::clone(plan), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Met> {
        self.inner.lock().expect("no code panics while it holds what was met")
    }

    /// From now on faults happen, or none do.
    pub fn arm(&self, armed: bool) {
        self.lock().armed = armed;
    }

    /// How many faults its flows have met.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Another call begins.
    pub fn begin(&self) {
        let mut met = self.lock();
        met.call = Call::default();
        met.next.clear();
        met.marked.clear();
    }

    pub fn call(&self) -> Call {
        self.lock().call.clone()
    }
}

impl Met {
    /// What happens to a flow that has had its fault.
    fn follow(&mut self, known: &mut Known, flow: Id<FlowView>, spot: &Spot) -> Fault {
        let fault = match self.next.get_mut(&flow) {
            Some(Next::Path(path, _)) if path.last() == Some(spot) => {
                path.pop();
                return Fault::Fail;
            }
            Some(Next::Path(path, case)) if path.is_empty() && case.spot == *spot => {
                known.done(case);
                case.what.fault()
            }
            Some(Next::Overtaken) if matches!(spot.phase, Phase::Before | Phase::After) => Fault::Fail,
            _ => return Fault::None,
        };
        self.next.remove(&flow);
        fault
    }

    /// Where the flow was made to fail, as long as nothing else has happened to it.
    fn path(&self, flow: Id<FlowView>) -> Vec<Spot> {
        let its: Vec<&Fired> = self.call.fired.iter().filter(|fired| fired.flow == flow).collect();
        match its.iter().all(|fired| fired.fault == Fault::Fail) {
            true => its.iter().map(|fired| fired.spot.clone()).collect(),
            false => Vec::new(),
        }
    }
}

impl Faults for Watch {
    fn at(&self, point: &Point<'_>) -> Fault {
        let (spot, mut met, mut known) = (Spot::of(point), self.lock(), self.plan.lock());
        met.call.top.get_or_insert((point.flow, point.name));
        known.learn(point, &spot, &met.path(point.flow));
        if !met.armed {
            return Fault::None;
        }
        let fault = if met.marked.contains(&point.flow) {
            met.follow(&mut known, point.flow, &spot)
        } else {
            let Some((fault, next)) = known.choose(&spot) else { return Fault::None };
            met.marked.insert(point.flow);
            if let Some(next) = next {
                met.next.insert(point.flow, next);
            }
            fault
        };
        if fault != Fault::None {
            let beside = matches!(point.phase, Phase::Before | Phase::After);
            let ghost = fault == Fault::Crash || fault == Fault::Twice && point.record;
            met.call.ghosts_due += usize::from(beside && ghost);
            met.count += 1;
            met.call.fired.push(Fired { flow: point.flow, spot, fault });
        }
        fault
    }

    fn haunted(&self, flow: Id<FlowView>, outcome: Result<()>) {
        self.lock().call.ghosts.push((flow, outcome));
    }
}

impl Call {
    pub fn is_haunted(&self) -> bool {
        self.ghosts.len() < self.ghosts_due
    }

    /// Ghosts that were not refused.
    pub fn at_large(&self) -> impl Iterator<Item = &(Id<FlowView>, Result<()>)> {
        let refused =
            |outcome: &Result<()>| outcome.as_ref().is_err_and(|error| error.is_rooted_in(codes::LOST));
        self.ghosts.iter().filter(move |(_, outcome)| !refused(outcome))
    }

    /// Whether the call must have failed; `None` when it may end either way.
    pub fn must_fail(&self) -> Option<bool> {
        // Who died while it failed may succeed the next time; who waited for a parked flow and died may not
        // have been told of it; and when others died too, their successors may find that what failed is
        // no longer needed.
        let died_failing = |fired: &Fired| matches!(fired.spot.phase, Phase::Turning | Phase::Parked);
        let one = self.fired.iter().all(|fired| fired.flow == self.fired[0].flow);
        let failed = self.fired.iter().any(|fired| fired.fault == Fault::Fail);
        match failed && (!one || self.fired.iter().any(died_failing)) {
            true => None,
            false => Some(failed),
        }
    }

    pub fn shown(&self) -> String {
        let all: Vec<String> = self.fired.iter().map(ToString::to_string).collect();
        if all.is_empty() { "no fault".into() } else { all.join(", then ") }
    }
}
