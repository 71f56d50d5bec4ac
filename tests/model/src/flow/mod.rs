//! Two controllers, the row of a flow, one agent, and a network that forgets nothing.
//!
//! ```text
//! check the lease → (paused?) → send ─▶ sent ─▶ arrive, again and again ─▶ in line → running → ended
//!       ▲                                                                                       │
//!       └── advance, turn, end: writes of the row, by owner and epoch ◀── outcomes, repeated ◀──┘
//! ```
//! What was sent may arrive at any later time, any number of times; an outcome is heard at any later time,
//! any number of times. A controller may die, be stopped between any two of its actions, or find its clock
//! stood still; the agent may die between any two of its own. A user may cancel at any time.

mod action;
mod controller;
mod host;
mod state;

pub use action::Action;
pub use state::{State, Task};

use crate::agent::Agents;
use crate::search::{Broken, Move, World};
use crate::{Rule, Rules};

/// The flows that are played, and how long.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Acts of the first flow: one or two; each has an undo.
    pub steps: u8,
    /// Whether a second flow of the resource follows, which stops what the first has made.
    pub second: bool,
    /// Whether the host may be switched off and given up, and connected again later.
    pub given_up: bool,
    /// How many epochs there are; a path that would need more ends there.
    pub epochs: u8,
}

pub struct Flows {
    rules: Rules,
    shape: Shape,
    agents: Agents,
}

impl Flows {
    pub fn new(shape: Shape, rules: Rules) -> Self {
        Flows { rules, shape, agents: Agents::new(rules) }
    }

    fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// All that the first flow makes.
    fn whole(&self) -> u8 {
        (1 << self.shape.steps) - 1
    }
}

impl World for Flows {
    type State = State;
    type Action = Action;

    fn start(&mut self) -> State {
        State::start()
    }

    fn moves(&mut self, from: &State, moves: &mut Vec<Move<Self>>) {
        self.controllers(from, moves);
        self.host(from, moves);
        moves.iter_mut().for_each(|step| step.to.normalise());
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let expected = match state.row.status {
            state::Status::Done if !state.row.at.second => self.whole(),
            state::Status::Done | state::Status::Undone => 0,
            state::Status::Running | state::Status::GivenUp => return None,
        };
        (state.effects != expected).then_some(Broken::WrongOutcome)
    }
}
