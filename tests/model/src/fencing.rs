//! When a host may be given up: a host with its fencer and one VM, its lease on a storage, a watcher, and what the
//! network and the kernel do to all of them. It is written after `kvm-agent/src/ha`.
//!
//! A renewal is begun, lands on the storage, returns, and then the mark is looked for, with any time between them, or
//! it is lost. The fencer dies and starts again at any time; what must be killed is killed within [`KILL`] ticks. A
//! start command may arrive at any time after it was sent, and libvirt may take any time for it. Once, the machine
//! stands still as a whole, its clock too: no lease helps against that, and the VM goes on afterwards until its fencer
//! has looked once. This is excused; that it goes on after that is not.

use std::fmt;

use crate::search::{Broken, Move, World};
use crate::{Rule, Rules};

/// Ticks that a lease lasts from the begin of its renewal.
const LEASE: u8 = 3;
/// Ticks that a kill may take, also when the fencer dies over it.
const KILL: u8 = 1;
/// Ticks that a watcher sees no renewal before it fences.
const SILENCE: u8 = LEASE + KILL + 1;
const CRASHES: u8 = 2;

pub struct Fencing {
    rules: Rules,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    host: Host,
    storage: Storage,
    watcher: Watcher,
    /// The lease has changed since the watcher first saw it.
    changed: bool,
    /// A command to start the VM on the host is on its way.
    order: bool,
    /// The VM is the other host's.
    given_up: bool,
    /// It runs there.
    elsewhere: bool,
    /// The host was connected after it was given up.
    connected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Storage {
    /// Ticks since the record on it was begun, by the host's clock.
    age: u8,
    mark: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Host {
    keeper: Keeper,
    /// The renewal at hand was begun when nothing was left.
    fresh: bool,
    phase: Phase,
    /// Ticks that the lease is still trusted for.
    left: u8,
    /// Ticks that a VM has outlived it.
    overdue: u8,
    /// Nothing starts before the fencer is set up again.
    refuses: bool,
    vm: Vm,
    /// The lease was not lost since the VM's start began.
    claim: bool,
    crashes: u8,
    still: Still,
}

/// A renewal, and its age.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Keeper {
    Idle,
    Begun(u8),
    Landed(u8),
    Looks(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Untried,
    Held,
    /// By a mark or by silence.
    Lost(bool),
    Quiet(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Vm {
    Off,
    /// libvirt was asked.
    Asked,
    Paused,
    Runs,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Watcher {
    Idle,
    Watches(u8),
    Silent,
    /// One of two things is done: the mark is written, the lease was read again.
    Halfway,
    Done,
}

/// Whether the machine stood still.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Still {
    Never,
    Now,
    /// And its fencer has not looked since.
    Excused,
    Over,
}

#[derive(Clone, Copy, Debug)]
pub enum Action {
    Tick,
    Begin,
    Land,
    LoseWrite,
    Return,
    Look,
    Kill,
    FindNone,
    Crash,
    StandStill,
    GoOn,
    Order,
    Accept,
    Refuse,
    Spawn,
    Confirm,
    Watch,
    Judge,
    Fence,
    Verdict,
    StartElsewhere,
    Connect,
    SetUp,
}

impl Fencing {
    pub fn new(rules: Rules) -> Self {
        Fencing { rules }
    }

    fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    fn silence(&self) -> u8 {
        if self.has(Rule::WatchLonger) { SILENCE } else { LEASE }
    }

    /// Time passes, unless something is due before.
    fn tick(&self, from: &State) -> Option<State> {
        let mut to = *from;
        if let Watcher::Watches(seen) = &mut to.watcher {
            *seen = self.silence().min(*seen + 1);
        }
        if to.host.still == Still::Now {
            return Some(to);
        }
        to.storage.age = LEASE.min(to.storage.age + 1);
        let host = &mut to.host;
        match &mut host.keeper {
            Keeper::Begun(age) | Keeper::Landed(age) | Keeper::Looks(age) => *age = LEASE.min(*age + 1),
            Keeper::Idle => {}
        }
        if matches!(host.phase, Phase::Lost(_)) && host.has_process() {
            host.overdue += 1;
        }
        host.left = host.left.saturating_sub(1);
        host.expire();
        (host.overdue <= KILL).then_some(to)
    }

    fn renewal(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let runs = from.host.still != Still::Now;
        let mut to = *from;
        match from.host.keeper {
            Keeper::Idle if runs => {
                (to.host.keeper, to.host.fresh) = (Keeper::Begun(0), true);
                if !self.has(Rule::LeaseThenMark) && from.storage.mark {
                    self.look(&mut to, 0);
                    to.host.keeper = Keeper::Begun(0);
                }
                push(moves, Action::Begin, to);
            }
            // What the kernel has in hand goes on by itself.
            Keeper::Begun(age) => {
                to.host.keeper = Keeper::Idle;
                push(moves, Action::LoseWrite, to);
                to.host.keeper = Keeper::Landed(age);
                (to.storage.age, to.changed) = (age, true);
                push(moves, Action::Land, to);
            }
            Keeper::Landed(age) if runs => {
                to.host.keeper = Keeper::Looks(age);
                push(moves, Action::Return, to);
            }
            // Who sees a mark waits for the verdict.
            Keeper::Looks(age) if runs && !(from.storage.mark && from.watcher == Watcher::Halfway) => {
                to.host.keeper = Keeper::Idle;
                match self.has(Rule::LeaseThenMark) {
                    true => self.look(&mut to, age),
                    false => self.counts(&mut to.host, age),
                }
                push(moves, Action::Look, to);
            }
            _ => {}
        }
    }

    fn look(&self, to: &mut State, age: u8) {
        if !to.storage.mark {
            return self.counts(&mut to.host, age);
        }
        if !matches!(to.host.phase, Phase::Lost(true) | Phase::Quiet(true)) {
            to.host.lose(true);
        }
        if to.host.phase == Phase::Quiet(true) || !self.has(Rule::NoneLeft) {
            to.storage.mark = false;
            to.host.refuses = self.has(Rule::StayGivenUp);
        }
    }

    fn counts(&self, host: &mut Host, age: u8) {
        let left = if self.has(Rule::CountFromBegin) { LEASE - age } else { LEASE };
        let may = match host.phase {
            Phase::Untried | Phase::Held => true,
            Phase::Lost(_) => false,
            Phase::Quiet(_) => host.fresh,
        };
        if may && left > 0 {
            (host.phase, host.left) = (Phase::Held, left);
            if host.still == Still::Excused && host.fresh {
                host.still = Still::Over;
            }
        }
    }

    fn fencer(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        let host = &mut to.host;
        let (Phase::Lost(fenced) | Phase::Quiet(fenced)) = host.phase else { return };
        if host.has_process() {
            (host.vm, host.overdue, host.phase) = (Vm::Off, 0, Phase::Lost(fenced));
            push(moves, Action::Kill, to);
        } else if host.phase == Phase::Lost(fenced) {
            (host.phase, host.fresh) = (Phase::Quiet(fenced), false);
            push(moves, Action::FindNone, to);
        }
    }

    /// The next one knows what stands on the storage. A write in the kernel's hands is waited for.
    fn crash(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        let host = &mut to.host;
        if host.crashes == CRASHES || matches!(host.keeper, Keeper::Begun(_)) {
            return;
        }
        let left = if self.has(Rule::RecallLease) { LEASE - from.storage.age } else { LEASE };
        (host.keeper, host.fresh, host.phase, host.left) = (Keeper::Idle, false, Phase::Untried, left);
        (host.claim, host.crashes) = (false, host.crashes + 1);
        host.expire();
        push(moves, Action::Crash, to);
    }

    fn agent(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let held = from.host.phase == Phase::Held && !from.host.refuses;
        let may = held || !self.has(Rule::StartUnderLease);
        let mut to = *from;
        match from.host.vm {
            Vm::Off if from.order && may => {
                (to.host.vm, to.host.claim, to.order) = (Vm::Asked, true, false);
                push(moves, Action::Accept, to);
            }
            Vm::Off if from.order => {
                to.order = false;
                push(moves, Action::Refuse, to);
            }
            Vm::Asked => {
                to.host.vm = if self.has(Rule::ConfirmStart) { Vm::Paused } else { Vm::Runs };
                push(moves, Action::Spawn, to);
            }
            Vm::Paused => {
                let goes_on = (held && from.host.claim) || !self.has(Rule::StartUnderLease);
                to.host.vm = if goes_on { Vm::Runs } else { Vm::Off };
                push(moves, Action::Confirm, to);
            }
            _ => {}
        }
    }

    fn machine(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        match from.host.still {
            Still::Never => {
                to.host.still = Still::Now;
                push(moves, Action::StandStill, to);
            }
            Still::Now => {
                // A renewal that was begun before says nothing about what was missed.
                (to.host.still, to.host.fresh) = (Still::Excused, false);
                push(moves, Action::GoOn, to);
            }
            _ => {}
        }
    }

    fn watcher(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        match from.watcher {
            Watcher::Idle => {
                (to.watcher, to.changed) = (Watcher::Watches(0), false);
                push(moves, Action::Watch, to);
            }
            Watcher::Watches(seen) => {
                if from.changed {
                    to.watcher = Watcher::Idle;
                } else if seen == self.silence() {
                    to.watcher = Watcher::Silent;
                } else {
                    return;
                }
                push(moves, Action::Judge, to);
            }
            Watcher::Silent => {
                let writes = !from.changed && self.has(Rule::MarkThenLease);
                to.watcher = if from.changed { Watcher::Idle } else { Watcher::Halfway };
                to.storage.mark |= writes;
                push(moves, Action::Fence, to);
            }
            Watcher::Halfway => {
                let fenced = !from.changed || !self.has(Rule::MarkThenLease);
                to.watcher = if fenced { Watcher::Done } else { Watcher::Idle };
                (to.storage.mark, to.given_up) = (fenced, fenced);
                push(moves, Action::Verdict, to);
            }
            Watcher::Done => {}
        }
    }

    fn controller(&self, from: &State, moves: &mut Vec<Move<Self>>) {
        let mut to = *from;
        if !from.given_up {
            if !from.order && from.host.vm == Vm::Off {
                to.order = true;
                push(moves, Action::Order, to);
            }
            return;
        }
        if !from.elsewhere {
            push(moves, Action::StartElsewhere, State { elsewhere: true, ..to });
        }
        if from.host.still == Still::Now {
            return;
        }
        if !from.connected {
            push(moves, Action::Connect, State { connected: true, order: false, ..to });
        }
        if from.host.refuses && (from.connected || !self.has(Rule::ConnectThenSetUp)) {
            to.host.refuses = false;
            push(moves, Action::SetUp, to);
        }
    }
}

impl Host {
    fn has_process(&self) -> bool {
        matches!(self.vm, Vm::Paused | Vm::Runs)
    }

    fn expire(&mut self) {
        if self.left == 0 && matches!(self.phase, Phase::Untried | Phase::Held) {
            self.lose(false);
        }
    }

    fn lose(&mut self, fenced: bool) {
        (self.phase, self.claim) = (Phase::Lost(fenced), false);
    }
}

impl World for Fencing {
    type State = State;
    type Action = Action;

    /// The VM runs, and its lease was renewed a moment ago.
    fn start(&mut self) -> State {
        let host = Host {
            keeper: Keeper::Idle,
            fresh: false,
            phase: Phase::Held,
            left: LEASE,
            overdue: 0,
            refuses: false,
            vm: Vm::Runs,
            claim: true,
            crashes: 0,
            still: Still::Never,
        };
        State {
            host,
            storage: Storage { age: 0, mark: false },
            watcher: Watcher::Idle,
            changed: false,
            order: false,
            given_up: false,
            elsewhere: false,
            connected: false,
        }
    }

    fn moves(&mut self, from: &State, moves: &mut Vec<Move<Self>>) {
        self.tick(from).into_iter().for_each(|to| push(moves, Action::Tick, to));
        self.renewal(from, moves);
        self.machine(from, moves);
        self.watcher(from, moves);
        self.controller(from, moves);
        if from.host.still != Still::Now {
            self.fencer(from, moves);
            self.crash(from, moves);
            self.agent(from, moves);
        }
    }

    fn broken(&self, state: &State) -> Option<Broken> {
        let excused = matches!(state.host.still, Still::Now | Still::Excused);
        let both = state.host.vm == Vm::Runs && state.elsewhere;
        (both && !excused).then_some(Broken::TwoVms)
    }
}

fn push(moves: &mut Vec<Move<Fencing>>, action: Action, to: State) {
    moves.push(Move { action, to, broken: None });
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Tick => "a tick passes",
            Action::Begin => "the fencer begins a renewal",
            Action::Land => "the renewal is on the storage",
            Action::LoseWrite => "the renewal is lost",
            Action::Return => "the renewal returns",
            Action::Look => "the fencer has looked for the mark",
            Action::Kill => "the fencer kills the VM",
            Action::FindNone => "the fencer finds nothing left",
            Action::Crash => "the fencer dies and starts again",
            Action::StandStill => "the machine stands still",
            Action::GoOn => "the machine goes on",
            Action::Order => "the controller sends a start",
            Action::Accept => "the agent takes the start",
            Action::Refuse => "the agent refuses the start",
            Action::Spawn => "libvirt makes the VM",
            Action::Confirm => "the agent lets the VM run, or not",
            Action::Watch => "the watcher reads the lease",
            Action::Judge => "the watcher has seen enough",
            Action::Fence => "the watcher begins to fence",
            Action::Verdict => "the watcher says whether the host is fenced",
            Action::StartElsewhere => "the VM starts elsewhere",
            Action::Connect => "the controller connects the host",
            Action::SetUp => "the fencer is set up again",
        })
    }
}
