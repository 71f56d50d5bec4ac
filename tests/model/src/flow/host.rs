//! What the network and the agent can do.

use super::state::{Outcome, State, Task};
use super::{Action, Flows};
use crate::Rule;
use crate::agent::{Answer, Event, Place, Standing};
use crate::search::{Broken, Move};

type Moves = Vec<Move<Flows>>;

impl Flows {
    pub(super) fn host(&mut self, from: &State, moves: &mut Moves) {
        for task in Task::ALL {
            for epoch in (1..=self.shape.epochs).filter(|epoch| from.was_sent(task, *epoch)) {
                self.arrive(from, task, epoch, moves);
            }
        }
        for (place, standing) in self.agents.unfinished(from.agent).to_vec().into_iter().enumerate() {
            match standing.running {
                true => self.run(from, standing, moves),
                false => self.start(from, place, standing, moves),
            }
        }
        let restarted = self.agents.after(from.agent, Event::Restart).0;
        if restarted != from.agent {
            push(moves, Action::Restart, State { agent: restarted, ..*from });
        }
    }

    fn arrive(&mut self, from: &State, task: Task, epoch: u8, moves: &mut Moves) {
        let (agent, answer) = self.agents.after(from.agent, Event::Arrive(task, epoch));
        let action = match answer {
            Answer::Accepted => Action::Accept(task, epoch),
            Answer::Known if agent == from.agent => Action::Repeat(task, epoch),
            Answer::Known => Action::Attach(task, epoch),
            Answer::Stale | Answer::Done => return,
        };
        push(moves, action, State { agent, ..*from });
    }

    fn start(&mut self, from: &State, place: usize, standing: Standing, moves: &mut Moves) {
        if place > 0 && self.has(Rule::OneAtATime) {
            return;
        }
        let Standing { place: Place { task, .. }, epoch, .. } = standing;
        let (agent, answer) = self.agents.after(from.agent, Event::Start(standing.place));
        let mut to = State { agent, ..*from };
        if answer == Answer::Done {
            return push(moves, Action::Start(task, epoch), to);
        }
        if !self.has(Rule::LookAgain) {
            let agent = self.agents.after(from.agent, Event::Finish(standing.place)).0;
            return effect(from, State { agent, ..*from }, standing, moves);
        }
        to.tell(task, Outcome::Stale);
        push(moves, Action::Refuse(task, epoch), to);
    }

    fn run(&mut self, from: &State, standing: Standing, moves: &mut Moves) {
        let task = standing.place.task;
        effect(from, *from, standing, moves);
        let agent = self.agents.after(from.agent, Event::Finish(standing.place)).0;
        let ended = State { agent, ..*from };
        if task.applied(from.effects) == from.effects {
            let mut to = ended;
            to.tell(task, Outcome::Done);
            push(moves, Action::Done(task), to);
        }
        if task.may_fail() {
            let mut to = ended;
            to.tell(task, Outcome::Failed);
            push(moves, Action::Fail(task), to);
        }
    }
}

/// The command does what it is for.
fn effect(from: &State, mut to: State, standing: Standing, moves: &mut Moves) {
    let Standing { place: Place { task, .. }, epoch, .. } = standing;
    let told = from.heard(task, Outcome::Done) || from.heard(task, Outcome::Failed);
    let late = epoch < from.acted;
    let broken = if late { Some(Broken::LateEffect) } else { told.then_some(Broken::RanTwice) };
    to.effects = task.applied(from.effects);
    to.acted = from.acted.max(epoch);
    moves.push(Move { action: Action::Effect(task, epoch), to, broken });
}

fn push(moves: &mut Moves, action: Action, to: State) {
    moves.push(Move { action, to, broken: None });
}
