//! When a controller may believe that it owns anything: two controllers, their clocks, and the database's.
//!
//! A controller asks for its lease to be renewed; the database grants it from that moment on; the answer
//! arrives later. Each of the three may take any time. A clock may lose a tick, though not two within one
//! lease. A process may be stopped, killed, and go on, at any time; its clock goes on meanwhile. (A clock
//! that stands still is in [`crate::flow`]: no lease helps against it, epochs do.)

use std::fmt;

use crate::search::{Broken, Move, World};
use crate::{Rule, Rules};

/// Ticks for which the database grants a lease.
const LEASE: u8 = 3;
/// Ticks by which it is trusted for less.
const MARGIN: u8 = 1;

pub struct Leases {
    rules: Rules,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    owner: u8,
    nodes: [Node; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    /// Ticks that its lease still has by the database's clock.
    granted: u8,
    /// Ticks for which it still trusts in it.
    trusted: u8,
    renewal: Renewal,
    /// Ticks until its clock may lose one again.
    exact: u8,
    /// It has the flow in memory.
    drives: bool,
    stopped: bool,
}

/// A request for the lease, and its age by the controller's own clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Renewal {
    None,
    Asked(u8),
    Granted(u8),
}

/// One event; controllers are numbered.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Tick,
    Lag(u8),
    Ask(u8),
    Grant(u8),
    Hear(u8),
    Adopt(u8),
    Stop(u8),
    Resume(u8),
    Crash(u8),
}

impl Leases {
    pub fn new(rules: Rules) -> Self {
        Leases { rules }
    }

    fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// Time passes; the clocks of `late` do not notice.
    fn tick(&self, from: &State, late: u8) -> Option<State> {
        let mut to = *from;
        for (who, node) in to.nodes.iter_mut().enumerate() {
            let is_late = late & (1 << who) != 0;
            if is_late && node.exact > 0 {
                return None;
            }
            node.granted = node.granted.saturating_sub(1);
            node.exact = if is_late { LEASE } else { node.exact.saturating_sub(1) };
            if !is_late {
                self.clock(node);
            }
        }
        Some(to)
    }

    /// The controller's own clock goes on.
    fn clock(&self, node: &mut Node) {
        node.trusted = node.trusted.saturating_sub(1);
        node.renewal = match node.renewal {
            Renewal::None => Renewal::None,
            Renewal::Asked(age) => Renewal::Asked(LEASE.min(age + 1)),
            Renewal::Granted(age) => Renewal::Granted(LEASE.min(age + 1)),
        };
        let looks = self.has(Rule::ActUnderLease) && self.has(Rule::ForgetWhenLost);
        node.drives &= node.trusted > 0 || !looks;
    }

    fn hear(&self, node: &mut Node, age: u8) {
        let margin = if self.has(Rule::Margin) { MARGIN } else { 0 };
        let gone = if self.has(Rule::TrustFromStart) { age } else { 0 };
        node.trusted = node.trusted.max(LEASE.saturating_sub(gone + margin));
        node.renewal = Renewal::None;
    }

    fn acts(&self, node: &Node) -> bool {
        node.drives && !node.stopped && (node.trusted > 0 || !self.has(Rule::ActUnderLease))
    }

    fn renew(&self, from: &State, who: u8, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        let node = &mut to.nodes[usize::from(who)];
        let action = match node.renewal {
            Renewal::Granted(_) | Renewal::None if node.stopped => return,
            Renewal::None => {
                node.renewal = Renewal::Asked(0);
                Action::Ask(who)
            }
            Renewal::Asked(age) => {
                (node.granted, node.renewal) = (LEASE, Renewal::Granted(age));
                Action::Grant(who)
            }
            Renewal::Granted(age) => {
                self.hear(node, age);
                Action::Hear(who)
            }
        };
        push(moves, action, to);
    }

    fn adopt(&self, from: &State, who: u8, moves: &mut Vec<Move<Self>>) {
        let node = from.nodes[usize::from(who)];
        let over = from.nodes[usize::from(from.owner)].granted == 0 || from.owner == who;
        if node.drives || node.stopped || node.trusted == 0 || (!over && self.has(Rule::ExpiryByDatabase)) {
            return;
        }
        let mut to = *from;
        to.owner = who;
        to.nodes[usize::from(who)].drives = true;
        push(moves, Action::Adopt(who), to);
    }
}

impl World for Leases {
    type State = State;
    type Action = Action;

    fn start(&mut self) -> State {
        let node =
            Node { granted: 0, trusted: 0, renewal: Renewal::None, exact: 0, drives: false, stopped: false };
        State { owner: 0, nodes: [node, node] }
    }

    fn moves(&mut self, from: &State, moves: &mut Vec<Move<Self>>) {
        for late in 0..4 {
            let action = if late == 0 { Action::Tick } else { Action::Lag(late) };
            self.tick(from, late).into_iter().for_each(|to| push(moves, action, to));
        }
        for who in [0, 1] {
            self.renew(from, who, moves);
            self.adopt(from, who, moves);
            process(from, who, moves);
        }
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        state.nodes.iter().all(|node| self.acts(node)).then_some(Broken::TwoActors)
    }
}

/// What befalls any process.
fn process(from: &State, who: u8, moves: &mut Vec<Move<Leases>>) {
    let mut to = *from;
    let node = &mut to.nodes[usize::from(who)];
    node.stopped = !node.stopped;
    let action = if node.stopped { Action::Stop(who) } else { Action::Resume(who) };
    push(moves, action, to);
    let mut to = *from;
    let node = &mut to.nodes[usize::from(who)];
    *node = Node { trusted: 0, renewal: Renewal::None, drives: false, stopped: false, ..*node };
    push(moves, Action::Crash(who), to);
}

fn push(moves: &mut Vec<Move<Leases>>, action: Action, to: State) {
    moves.push(Move { action, to, broken: None });
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |who: &u8| if *who == 0 { 'A' } else { 'B' };
        match self {
            Action::Tick => f.write_str("a tick passes"),
            Action::Lag(3) => f.write_str("a tick passes, which no controller's clock counts"),
            Action::Lag(late) => {
                write!(f, "a tick passes, which {}'s clock does not count", name(&(late - 1)))
            }
            Action::Ask(who) => write!(f, "{} asks for its lease to be renewed", name(who)),
            Action::Grant(who) => write!(f, "the database renews {}'s lease", name(who)),
            Action::Hear(who) => write!(f, "{} hears that its lease is renewed", name(who)),
            Action::Adopt(who) => write!(f, "{} takes the flow over", name(who)),
            Action::Stop(who) => write!(f, "{} is stopped", name(who)),
            Action::Resume(who) => write!(f, "{} goes on", name(who)),
            Action::Crash(who) => write!(f, "{} is killed and starts again", name(who)),
        }
    }
}
