//! What the controllers and the database can do.

use super::state::{Job, Lease, Outcome, State, Status, Task, Who};
use super::{Action, Flows};
use crate::Rule;
use crate::agent::{Answer, Event};
use crate::search::{Broken, Move};

type Moves = Vec<Move<Flows>>;

impl Flows {
    pub(super) fn controllers(&mut self, from: &State, moves: &mut Moves) {
        for who in Who::BOTH {
            self.adopt(from, who, moves);
            self.begin(from, who, moves);
            let Some(job) = from.nodes[who as usize].job else {
                expire(from, who, moves);
                continue;
            };
            self.live(from, who, moves);
            self.send(from, who, job, moves);
            self.write(from, who, job, moves);
        }
        self.give_up(from, moves);
    }

    /// Whose lease is over by the database's clock may be succeeded; it need not know.
    fn adopt(&self, from: &State, who: Who, moves: &mut Moves) {
        let owner = from.row.owner;
        let over = matches!(from.nodes[owner as usize].lease, Lease::Over | Lease::Believed);
        let may = who != owner || from.nodes[who as usize].job.is_none();
        if from.row.status != Status::Running || !over || !may {
            return;
        }
        let mut to = *from;
        let Some(epoch) = self.epoch(&mut to, Rule::AdoptUnderNewEpoch, from.row.at.epoch) else { return };
        to.row.owner = who;
        to.row.at.epoch = epoch;
        let at = to.row.at;
        *to.node(who) = holding(at);
        let broken = (epoch == from.row.at.epoch).then_some(Broken::TwoWriters);
        moves.push(Move { action: Action::Adopt(who, epoch), to, broken });
    }

    fn begin(&self, from: &State, who: Who, moves: &mut Moves) {
        let ended = matches!(from.row.status, Status::Done | Status::Undone);
        let idle = from.nodes[who as usize].job.is_none();
        if !ended || from.row.at.second || !self.shape.second || !idle || from.next > self.shape.epochs {
            return;
        }
        let mut to = *from;
        let at = Job { second: true, back: false, step: 1, epoch: to.fresh() };
        to.row = super::state::Row { status: Status::Running, at, owner: who };
        *to.node(who) = holding(at);
        push(moves, Action::Begin(who, at.epoch), to);
    }

    /// What befalls any process.
    fn live(&self, from: &State, who: Who, moves: &mut Moves) {
        let mut to = *from;
        let node = to.node(who);
        (node.job, node.checked) = (None, false);
        if node.lease == Lease::Holds {
            node.lease = Lease::Ending;
        }
        push(moves, Action::Crash(who), to);
        expire(from, who, moves);
        let lease = from.nodes[who as usize].lease;
        if lease == Lease::Holds {
            push(moves, Action::Pause(who), leased(from, who, Lease::Believed));
        } else {
            push(moves, Action::RenewLease(who), leased(from, who, Lease::Holds));
        }
    }

    /// A look at the lease, and the sending. Between the two there may be any time.
    fn send(&self, from: &State, who: Who, job: Job, moves: &mut Moves) {
        let (task, epoch) = (job.task(), job.epoch);
        let node = from.nodes[who as usize];
        let trusts = matches!(node.lease, Lease::Holds | Lease::Believed);
        let mut to = *from;
        to.node(who).checked = !node.checked;
        if node.checked {
            to.send(task, epoch);
            push(moves, Action::Send(who, task, epoch), to);
        } else if trusts && !from.was_sent(task, epoch) {
            push(moves, Action::Check(who, task, epoch), to);
        }
        if !self.has(Rule::SaveThenSend) && task == Task::Do1 && self.shape.steps == 2 {
            let mut to = *from;
            to.send(Task::Do2, epoch);
            push(moves, Action::SendAhead(who, Task::Do2, epoch), to);
        }
    }

    fn write(&mut self, from: &State, who: Who, job: Job, moves: &mut Moves) {
        let task = job.task();
        let may = from.owns(who, job) || !self.has(Rule::WriteOnlyOwn);
        let silence = job.back && !self.has(Rule::SilenceIsNoOutcome);
        let (done, failed) = (from.heard(task, Outcome::Done), from.heard(task, Outcome::Failed));
        let stale = self.hears_stale(from, job);
        if !may {
            if done || failed || stale {
                let mut to = *from;
                to.node(who).job = None;
                to.node(who).checked = false;
                push(moves, Action::Lost(who), to);
            }
            return;
        }
        if done || silence {
            self.advance(from, who, job, moves);
        }
        if !job.back && !job.second {
            // Cancelled, or failed: what the step did is undone.
            self.turn(from, who, job, job.step, moves);
            if failed && !self.has(Rule::UndoWhatFailed) {
                self.turn(from, who, job, job.step - 1, moves);
            }
        }
        if stale {
            self.told_stale(from, who, job, moves);
        }
    }

    /// Refused on arrival, or told so by an outcome that may be old.
    fn hears_stale(&mut self, from: &State, job: Job) -> bool {
        let task = job.task();
        let arrive = Event::Arrive(task, job.epoch);
        from.heard(task, Outcome::Stale)
            || (from.was_sent(task, job.epoch) && self.agents.after(from.agent, arrive).1 == Answer::Stale)
    }

    fn told_stale(&self, from: &State, who: Who, job: Job, moves: &mut Moves) {
        if !self.has(Rule::StaleIsNoFailure) && !job.back && !job.second {
            return self.turn(from, who, job, job.step - 1, moves);
        }
        if from.next > self.shape.epochs {
            return;
        }
        let mut to = *from;
        let epoch = to.fresh();
        self.save(&mut to, who, Job { epoch, ..job });
        self.push_write(from, who, job, Action::Renewed(who, epoch), to, moves);
    }

    fn advance(&self, from: &State, who: Who, job: Job, moves: &mut Moves) {
        let mut to = *from;
        let last = if job.second { 1 } else { self.shape.steps };
        let action = match job.back {
            false if job.step == last => self.end(&mut to, who, Status::Done),
            true if job.step == 1 => self.end(&mut to, who, Status::Undone),
            false => self.save(&mut to, who, Job { step: job.step + 1, ..job }),
            true => self.save(&mut to, who, Job { step: job.step - 1, ..job }),
        };
        self.push_write(from, who, job, action, to, moves);
    }

    fn turn(&self, from: &State, who: Who, job: Job, step: u8, moves: &mut Moves) {
        let mut to = *from;
        if step == 0 {
            let action = self.end(&mut to, who, Status::Undone);
            return self.push_write(from, who, job, action, to, moves);
        }
        let Some(epoch) = self.epoch(&mut to, Rule::TurnUnderNewEpoch, job.epoch) else { return };
        self.save(&mut to, who, Job { back: true, step, epoch, ..job });
        self.push_write(from, who, job, Action::Turn(who, epoch), to, moves);
    }

    fn save(&self, to: &mut State, who: Who, job: Job) -> Action {
        to.row.at = job;
        let node = to.node(who);
        (node.job, node.checked) = (Some(job), false);
        Action::Advance(who, job.epoch)
    }

    fn end(&self, to: &mut State, who: Who, status: Status) -> Action {
        to.row.status = status;
        let node = to.node(who);
        (node.job, node.checked) = (None, false);
        Action::End(who)
    }

    /// A write that succeeds although the row has passed to another owner or epoch must not be.
    fn push_write(&self, from: &State, who: Who, job: Job, action: Action, to: State, moves: &mut Moves) {
        let broken = (!from.owns(who, job)).then_some(Broken::TwoWriters);
        moves.push(Move { action, to, broken });
    }

    /// The host is lost to one flow or to another, and used again later.
    fn give_up(&mut self, from: &State, moves: &mut Moves) {
        match from.row.status {
            Status::Running if self.shape.given_up => {
                self.switch_off(from, moves);
                self.raise_floor(from, moves);
            }
            Status::GivenUp => self.raise_floor(from, moves),
            _ => {}
        }
    }

    fn switch_off(&mut self, from: &State, moves: &mut Moves) {
        let mut to = *from;
        let lost: Vec<_> = self.agents.unfinished(from.agent).iter().map(|lost| lost.place.task).collect();
        lost.into_iter().for_each(|task| to.tell(task, Outcome::Failed));
        (to.row.status, to.effects) = (Status::GivenUp, 0);
        to.agent = self.agents.after(from.agent, Event::Reboot).0;
        push(moves, Action::GiveUp, to);
    }

    /// The host is connected again, under a floor; what a flow without this host has left is swept away.
    fn raise_floor(&mut self, from: &State, moves: &mut Moves) {
        let busy = self.agents.unfinished(from.agent).iter().any(|standing| standing.running);
        if from.next > self.shape.epochs || (busy && self.has(Rule::FloorWaits)) {
            return;
        }
        let mut to = *from;
        let epoch = to.fresh();
        if self.has(Rule::RaiseFloor) {
            to.agent = self.agents.after(from.agent, Event::Floor(epoch)).0;
            to.acted = epoch;
        }
        if to.row.status == Status::GivenUp {
            (to.row.status, to.effects) = (Status::Undone, 0);
        }
        push(moves, Action::Connect(epoch), to);
    }

    /// A fresh epoch, or the old one when the rule that asks for one is left out; none when there is no more.
    fn epoch(&self, to: &mut State, rule: Rule, old: u8) -> Option<u8> {
        match self.has(rule) {
            true => (to.next <= self.shape.epochs).then(|| to.fresh()),
            false => Some(old),
        }
    }
}

fn expire(from: &State, who: Who, moves: &mut Moves) {
    let lease = match from.nodes[who as usize].lease {
        Lease::Holds => Lease::Ending,
        Lease::Ending | Lease::Believed => Lease::Over,
        Lease::Over => return,
    };
    let mut to = leased(from, who, lease);
    to.normalise();
    if to != *from {
        push(moves, Action::Expire(who), to);
    }
}

fn leased(from: &State, who: Who, lease: Lease) -> State {
    let mut to = *from;
    to.node(who).lease = lease;
    to
}

fn holding(job: Job) -> super::state::Node {
    super::state::Node { job: Some(job), lease: Lease::Holds, checked: false }
}

fn push(moves: &mut Moves, action: Action, to: State) {
    moves.push(Move { action, to, broken: None });
}
