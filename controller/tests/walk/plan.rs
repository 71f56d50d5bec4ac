//! Which faults there are, which of them have happened, and which happens next.
//!
//! Nobody writes a list of faults. A point that a flow comes to for the first time, and a command that it
//! sends for the first time, brings its faults with it; each of them happens once, in whatever run of the
//! flow comes there again. A run of a flow has one fault; of those that only delay a message it has as many
//! as it has messages. A fault on the way back belongs to the failure that showed the way there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use engine::Engine;
use engine::flow::fault::{Fault, Phase, Point};

/// A fault that cannot be brought about in so many attempts is not where it was seen.
const ATTEMPTS: usize = 8;

/// A point of every run of a flow: `delete VmInstance`, `record`, forward, before; or one of its commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The flow's title without names and uuids: what a cascade deletes is a matter of its own.
    pub flow: String,
    pub step: &'static str,
    pub back: bool,
    pub at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    Phase(Phase),
    /// A command to this path, and the word of its outcome.
    Message(String),
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    Fail,
    Twice,
    Crash,
    /// The controller stops, its successor turns the flow back, and then the first one wakes up.
    Overtaken,
    Wire(Trick),
}

/// What happens to a command, or to the word of its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trick {
    /// The command does not arrive.
    Lost,
    /// It arrives, and its sender does not hear so.
    Unheard,
    /// It arrives after its own repetition.
    Late,
    /// It arrives once more when the flow has gone on.
    Again,
    /// The outcome is told before the command is acknowledged.
    Early,
    /// The outcome is taken, and told to nobody.
    Untold,
    /// The outcome is told, and the agent does not hear that it was taken.
    Unthanked,
    /// The outcome is told after that of what the flow does next; it had to be asked for.
    Overdue,
    /// The outcome is told once more when the flow has gone on.
    Retold,
    /// The step fails while the command is on its way, which arrives after what its flow does next.
    Outrun,
    /// The same, and the controller dies.
    Outlived,
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

/// A call of the script: its chapter, and which of its calls.
pub type Place = (&'static str, usize);

/// The cases of all flows; shared by all worlds.
#[derive(Default)]
pub struct Plan {
    inner: Mutex<Known>,
}

#[derive(Default)]
pub struct Known {
    cases: BTreeMap<Case, Standing>,
    /// Those that a failure leads to, by the call and the place of the first one.
    ways: BTreeMap<(Place, Spot), BTreeSet<Case>>,
    /// Flow, step and direction, and whether the step is one of rows.
    seen: BTreeMap<(&'static str, &'static str, bool), bool>,
    /// What has happened to a flow somewhere, when that is enough.
    enough: Option<BTreeSet<Kind>>,
}

/// What happens to a flow, and whether on its way back. Each step fails: failures show the ways back.
type Kind = (String, Option<&'static str>, bool, What);

/// What shall still happen to a flow that has had its fault.
pub enum Next {
    /// These failures, the last one first, and then the fault that they lead to.
    Path(Vec<Spot>, Case),
    /// Its successor fails at once.
    Overtaken,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undo = if self.back { "undo of " } else { "" };
        match &self.at {
            At::Phase(phase) => write!(f, "{}: {phase:?} {undo}\"{}\"", self.flow, self.step),
            At::Message(path) => write!(f, "{}: {path} in {undo}\"{}\"", self.flow, self.step),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.what, self.spot)
    }
}

impl Case {
    fn kind(&self) -> Kind {
        let Spot { flow, step, back, .. } = &self.spot;
        let fails = self.what == What::Fail && !back;
        (flow.clone(), fails.then_some(*step), *back, self.what)
    }
}

impl What {
    pub fn fault(self) -> Fault {
        match self {
            What::Fail => Fault::Fail,
            What::Twice => Fault::Twice,
            What::Crash | What::Overtaken => Fault::Crash,
            What::Wire(_) => Fault::None,
        }
    }

    /// Everything that can happen at a point.
    fn at(point: &Point<'_>) -> &'static [What] {
        match (point.phase, point.record, point.back) {
            (Phase::Saved, ..) => &[What::Twice, What::Crash],
            (Phase::Asked | Phase::Writing | Phase::Turning | Phase::Parked, ..) => &[What::Crash],
            (Phase::Before, true, _) | (Phase::After, false, true) => &[What::Fail, What::Crash],
            (Phase::Before, false, false) => &[What::Fail, What::Twice, What::Crash, What::Overtaken],
            (Phase::Before, false, true) | (Phase::After, true, _) => &[What::Fail, What::Twice, What::Crash],
            (Phase::After, false, false) => &[What::Fail, What::Crash, What::Overtaken],
        }
    }
}

impl Trick {
    /// What can happen to a command whose answer is its outcome.
    const SYNC: &[Trick] =
        &[Trick::Lost, Trick::Unheard, Trick::Late, Trick::Again, Trick::Outrun, Trick::Outlived];
    const ASYNC: &[Trick] = &[
        Trick::Lost,
        Trick::Unheard,
        Trick::Late,
        Trick::Again,
        Trick::Early,
        Trick::Untold,
        Trick::Unthanked,
        Trick::Overdue,
        Trick::Retold,
        Trick::Outrun,
        Trick::Outlived,
    ];

    pub fn on(sync: bool) -> &'static [Trick] {
        if sync { Trick::SYNC } else { Trick::ASYNC }
    }

    /// Whether the flow goes on as if nothing had been, so that something else may happen to it too.
    pub fn is_light(self, sync: bool) -> bool {
        match self {
            Trick::Outrun | Trick::Outlived => false,
            // Nobody knows how it ended: the step may fail.
            Trick::Lost | Trick::Unheard | Trick::Late => !sync,
            _ => true,
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
    pub fn of(point: &Point<'_>) -> Spot {
        let at = At::Phase(point.phase);
        Spot { flow: kind(point.title), step: point.step, back: point.back, at }
    }

    /// Comes only after a failure.
    fn needs_failure(&self) -> bool {
        self.back || matches!(self.at, At::Phase(Phase::Turning | Phase::Parked))
    }
}

impl Plan {
    /// One in which it is enough that a fault happens to a flow anywhere.
    pub fn sparse() -> Plan {
        Plan { inner: Mutex::new(Known { enough: Some(BTreeSet::new()), ..Known::default() }) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Known> {
        self.inner.lock().expect("no code panics while it holds the plan")
    }

    /// How many cases there are and how many have happened.
    pub fn count(&self) -> (usize, usize) {
        let known = self.lock();
        (known.cases.len(), known.cases.values().filter(|standing| standing.done).count())
    }

    /// How many faults of each kind have happened, forward and on the way back.
    pub fn by_kind(&self) -> BTreeMap<What, [usize; 2]> {
        let mut counts = BTreeMap::<_, [usize; 2]>::new();
        for (case, _) in self.lock().cases.iter().filter(|(_, standing)| standing.done) {
            counts.entry(case.what).or_default()[usize::from(case.spot.back)] += 1;
        }
        counts
    }

    /// What has not happened.
    pub fn missed(&self) -> Vec<String> {
        let known = self.lock();
        let missed = known.cases.iter().filter(|(case, standing)| !standing.done && known.lacks(case));
        missed.map(|(case, standing)| format!("{case} (in {} attempts)", standing.attempts)).collect()
    }

    /// Every step of every flow of the registry, and every undo, must have been come to.
    pub fn unseen(&self, engine: &Engine) -> Vec<String> {
        let Known { seen, enough: None, .. } = &*self.lock() else { return Vec::new() };
        let mut complaints = Vec::new();
        for flow in engine.flow_types() {
            let steps = flow.steps.iter().zip(&flow.undone).enumerate();
            for (at, (step, undone)) in steps.filter(|(at, _)| !flow.idle[*at]) {
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
    /// Brings in what can happen at a point.
    pub fn learn(&mut self, point: &Point<'_>, spot: &Spot, path: &[Spot], call: Place) {
        if matches!(point.phase, Phase::Before | Phase::After) {
            self.seen.insert((point.name, point.step, point.back), point.record);
        }
        // A sub-flow's failure leads there too, but not every time.
        let led = |at: &Spot| point.phase != Phase::Parked || (at.step, at.back) == (spot.step, spot.back);
        if !spot.needs_failure() || path.last().is_some_and(led) {
            self.enter(spot, path, call, What::at(point).iter().copied());
        }
    }

    /// Brings in what can happen to a message.
    pub fn learn_message(&mut self, spot: &Spot, path: &[Spot], call: Place, sync: bool) {
        if !spot.needs_failure() || !path.is_empty() {
            self.enter(spot, path, call, Trick::on(sync).iter().copied().map(What::Wire));
        }
    }

    fn enter(&mut self, spot: &Spot, path: &[Spot], call: Place, what: impl Iterator<Item = What>) {
        for what in what {
            let path = if spot.needs_failure() { path.to_owned() } else { Vec::new() };
            let case = Case { spot: spot.clone(), what };
            let Entry::Vacant(new) = self.cases.entry(case.clone()) else { continue };
            if let Some(first) = path.first() {
                self.ways.entry((call, first.clone())).or_default().insert(case);
            }
            new.insert(Standing { path, attempts: 0, done: false });
        }
    }

    /// What shall happen to a flow here that has had no fault yet.
    pub fn choose(&mut self, spot: &Spot, call: Place) -> Option<(Fault, Option<Next>)> {
        for what in [What::Crash, What::Twice, What::Overtaken, What::Fail] {
            if self.take(spot, what) {
                let next = (what == What::Overtaken).then_some(Next::Overtaken);
                return Some((what.fault(), next));
            }
        }
        let case = self.ways.get(&(call, spot.clone()))?.iter().find(|case| self.may(case))?;
        let standing = self.cases.get_mut(case)?;
        standing.attempts += 1;
        let rest = standing.path[1..].iter().rev().cloned().collect();
        Some((Fault::Fail, Some(Next::Path(rest, case.clone()))))
    }

    fn may(&self, case: &Case) -> bool {
        let standing = &self.cases[case];
        !standing.done && standing.attempts < ATTEMPTS && self.lacks(case)
    }

    /// What shall happen to a message of a flow to which nothing but `light` tricks have happened.
    pub fn choose_trick(&mut self, spot: &Spot, sync: bool, light: bool) -> Option<Trick> {
        let may = |trick: &Trick| !light || trick.is_light(sync);
        Trick::on(sync).iter().copied().filter(may).find(|trick| self.take(spot, What::Wire(*trick)))
    }

    /// Has the case happen, unless it has happened.
    fn take(&mut self, spot: &Spot, what: What) -> bool {
        let case = Case { spot: spot.clone(), what };
        let open = self.cases.get(&case).is_some_and(|standing| !standing.done && !spot.needs_failure());
        let open = open && self.lacks(&case);
        if open {
            self.done(&case);
        }
        open
    }

    pub fn done(&mut self, case: &Case) {
        if let Some(standing) = self.cases.get_mut(case) {
            standing.done = true;
        }
        if let Some(enough) = &mut self.enough {
            enough.insert(case.kind());
        }
    }

    /// It was not as it was thought, and is to be tried again.
    pub fn spoilt(&mut self, case: &Case) {
        if let Some(standing) = self.cases.get_mut(case) {
            standing.done = false;
        }
    }

    fn lacks(&self, case: &Case) -> bool {
        self.enough.as_ref().is_none_or(|enough| !enough.contains(&case.kind()))
    }
}
