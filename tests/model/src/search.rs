//! Breadth-first search: every state that can be reached, the shortest way to a broken one first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem::{Discriminant, discriminant};

/// A search that is larger has lost its bounds.
const MOST: usize = 6_000_000;

/// A world that moves in steps.
pub trait World {
    type State: Copy + Eq + Hash;
    type Action: Copy + fmt::Debug + fmt::Display;

    fn start(&mut self) -> Self::State;
    /// All that can happen next.
    fn moves(&mut self, from: &Self::State, moves: &mut Vec<Move<Self>>);
    fn broken(&self, state: &Self::State) -> Option<Broken>;
}

/// One step of a world.
pub struct Move<W: World + ?Sized> {
    pub action: W::Action,
    pub to: W::State,
    /// What must not happen, and does so by this very step.
    pub broken: Option<Broken>,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A command took effect after one of a later owner had.
    LateEffect,
    /// A task took effect again after its outcome was known.
    RanTwice,
    /// A flow has ended and the host shows something else.
    WrongOutcome,
    /// Two owners wrote under one epoch.
    TwoWriters,
    /// Two controllers act for one flow, and no clock stands still.
    TwoActors,
    /// A VM runs on two hosts.
    TwoVms,
}

/// What a search has seen.
pub struct Report {
    pub states: usize,
    /// How often each kind of action led anywhere.
    pub fired: BTreeMap<String, u64>,
    pub counterexample: Option<Counterexample>,
}

pub struct Counterexample {
    pub broken: Broken,
    /// The actions from the start to the break; no shorter way leads there.
    pub trace: Vec<String>,
}

/// Goes through all states, until one is broken; if `watched` is given, until one is broken in this way.
pub fn search<W: World>(world: &mut W, watched: Option<Broken>) -> Report {
    let mut seen = Seen::new(world.start());
    let mut fired = HashMap::new();
    let mut moves = Vec::new();
    let mut at = 0;
    let mut counterexample = None;
    while counterexample.is_none() && at < seen.states.len() {
        assert!(at < MOST, "no end after {MOST} states");
        moves.clear();
        world.moves(&seen.states[at].0, &mut moves);
        for Move { action, to, broken } in moves.drain(..) {
            fired.entry(discriminant(&action)).or_insert((action, 0u64)).1 += 1;
            let is_new = seen.visit(to, at);
            let broken = broken.or_else(|| is_new.then(|| world.broken(&to)).flatten());
            if let Some(broken) = broken.filter(|broken| watched.is_none_or(|watched| watched == *broken)) {
                counterexample = Some((broken, action));
                break;
            }
        }
        at += 1;
    }
    let states = seen.states.len();
    let counterexample = counterexample.map(|(broken, last)| {
        let mut trace = seen.trace(world, at - 1);
        trace.push(last.to_string());
        Counterexample { broken, trace }
    });
    Report { states, fired: named(fired), counterexample }
}

impl Report {
    /// Fails when a kind of action never fired: a search that does not do it says nothing about it.
    pub fn assert_fired(&self, kinds: &[&str]) {
        let idle: Vec<_> = kinds.iter().filter(|kind| !self.fired.contains_key(**kind)).collect();
        assert!(idle.is_empty(), "never happened: {idle:?}; what happened: {:?}", self.fired);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Counterexample { broken, trace }) = &self.counterexample else {
            return write!(f, "holds in {} states", self.states);
        };
        writeln!(f, "{broken:?} after {} actions ({} states seen):", trace.len(), self.states)?;
        trace.iter().enumerate().try_for_each(|(at, action)| writeln!(f, "  {:2}. {action}", at + 1))
    }
}

/// The states in the order in which they were found, each with the one it was found from.
struct Seen<S> {
    states: Vec<(S, u32)>,
    known: HashMap<S, (), BuildHasherDefault<Fold>>,
}

impl<S: Copy + Eq + Hash> Seen<S> {
    fn new(start: S) -> Self {
        let mut known = HashMap::default();
        known.insert(start, ());
        Seen { states: vec![(start, 0)], known }
    }

    fn visit(&mut self, state: S, from: usize) -> bool {
        let is_new = self.known.insert(state, ()).is_none();
        if is_new {
            let from = u32::try_from(from).expect("fewer states than memory");
            self.states.push((state, from));
        }
        is_new
    }

    fn trace<W: World<State = S>>(&self, world: &mut W, mut at: usize) -> Vec<String> {
        let mut trace = Vec::new();
        let mut moves = Vec::new();
        while at != 0 {
            let (state, from) = self.states[at];
            moves.clear();
            world.moves(&self.states[from as usize].0, &mut moves);
            let step = moves.iter().find(|step| step.to == state).expect("it was found from there");
            trace.push(step.action.to_string());
            at = from as usize;
        }
        trace.reverse();
        trace
    }
}

fn named<A: fmt::Debug>(fired: HashMap<Discriminant<A>, (A, u64)>) -> BTreeMap<String, u64> {
    let name = |action: A| {
        let text = format!("{action:?}");
        text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
    };
    fired.into_values().map(|(action, times)| (name(action), times)).collect()
}

/// Nobody chooses these keys to harm us, and there are millions of them.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.cast_unsigned() as u64);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}
