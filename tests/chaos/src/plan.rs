//! Which faults happen when: a pure function of the seed.
//!
//! At every moment one controller at least is whole, and the database has one fault at most. The first round
//! has every kind once, as far as there is time.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

pub const CONTROLLERS: usize = 3;

/// Where a controller can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Controller(usize),
    Database,
    Hosts,
    Clients,
}

/// What becomes of packets between two parties that are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Lost both ways.
    Both,
    /// Those to the controller are lost.
    Inward,
    /// Those from the controller are lost.
    Outward,
    /// Connections are reset.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, started again after a while.
    Kill { controller: usize, down: Duration },
    /// SIGSTOP beyond the lease, then SIGCONT.
    Stop { controller: usize, span: Duration },
    /// Cut off from somebody.
    Cut { controller: usize, from: Party, way: Way, span: Duration },
    /// PostgreSQL ends, by order or by kill -9, and starts again.
    Restart { crash: bool, down: Duration },
    /// The primary dies, the standby takes its place.
    FailOver,
    /// The primary is cut off from its synchronous standby.
    Alone { span: Duration },
    /// The primary is cut off from its standby for a while, and dies then.
    Split { span: Duration },
    /// A controller's wall clock jumps, and jumps back.
    Clock { controller: usize, seconds: i64, span: Duration },
    /// Some of what is sent to hosts arrives much later, even when its sender has gone.
    Late { span: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Since the load began.
    pub at: Duration,
    pub fault: Fault,
}

pub const KINDS: [&str; 9] =
    ["kill", "stop", "cut", "restart", "fail-over", "alone", "split", "clock", "late"];

/// Outages of the database leave little to be seen of the others.
const ROUND: [&str; 14] = [
    "kill",
    "kill",
    "kill",
    "stop",
    "cut",
    "cut",
    "cut",
    "cut",
    "restart",
    "fail-over",
    "alone",
    "split",
    "clock",
    "late",
];

/// How long a change of primary takes, with the making of a new standby.
const CHANGE: Duration = Duration::from_secs(8);
const RESTART: Duration = Duration::from_secs(3);

struct Planner {
    dice: Dice,
    lease: Duration,
    span: Duration,
    plan: Vec<Planned>,
}

/// All faults of a run in order; each is healed within `span`. Only those of the kinds named, if any are.
pub fn plan(seed: u64, span: Duration, lease: Duration, only: &[String]) -> Vec<Planned> {
    let mut planner = Planner { dice: Dice::new(seed), lease, span, plan: Vec::new() };
    let mut at = Duration::from_secs(3);
    loop {
        let mut round = ROUND.to_vec();
        round.retain(|kind| only.is_empty() || only.iter().any(|one| one == kind));
        planner.dice.shuffle(&mut round);
        for kind in round {
            let Some(next) = planner.place(kind, at) else { return planner.plan };
            at = next;
        }
    }
}

impl Planner {
    /// Puts one in at the first moment from `at` on that takes it: the moment from which to go on.
    fn place(&mut self, kind: &str, at: Duration) -> Option<Duration> {
        let mut at = at;
        let fault = loop {
            let fault = self.fault(kind, at);
            match fault {
                Some(fault) if self.is_free(at, fault) => break fault,
                _ => at += Duration::from_millis(500),
            }
            if at > self.span {
                return None;
            }
        };
        if at + fault.length() > self.span {
            return None;
        }
        self.plan.push(Planned { at, fault });
        let pause = match self.dice.below(10) {
            0..4 => Duration::ZERO,
            _ => fault.length(),
        };
        Some(at + pause + self.dice.millis(500, 3000))
    }

    fn fault(&mut self, kind: &str, at: Duration) -> Option<Fault> {
        let lease = u64::try_from(self.lease.as_millis()).unwrap_or(10_000);
        let beyond = self.dice.millis(lease + 500, lease + lease / 2 + 1500);
        let (whole, down) = (self.whole(at, beyond), self.dice.millis(200, lease + 3000));
        let needs_one = ["kill", "stop", "cut", "clock"].contains(&kind);
        // One stays whole.
        if needs_one && whole.len() < 2 {
            return None;
        }
        let controller = whole.first().map_or(0, |_| self.dice.pick(&whole));
        Some(match kind {
            "kill" => Fault::Kill { controller, down },
            "stop" => Fault::Stop { controller, span: beyond },
            "cut" => self.cut(controller, &whole),
            "restart" => Fault::Restart { crash: self.dice.one_in(2), down: self.dice.millis(100, 2500) },
            "fail-over" => Fault::FailOver,
            "alone" => Fault::Alone { span: self.dice.millis(4_000, 13_000) },
            "split" => Fault::Split { span: self.dice.millis(11_000, 13_000) },
            "clock" => {
                let seconds = self.dice.pick(&[-3500, -700, -30, 30, 700, 3500]);
                Fault::Clock { controller, seconds, span: beyond }
            }
            _ => Fault::Late { span: self.dice.millis(4_000, 10_000) },
        })
    }

    fn cut(&mut self, controller: usize, whole: &[usize]) -> Fault {
        let lease = u64::try_from(self.lease.as_millis()).unwrap_or(10_000);
        let span = self.dice.millis(1_000, lease + 5_000);
        let way = self.dice.pick(&[Way::Both, Way::Inward, Way::Outward, Way::Refused]);
        let other = whole.iter().copied().find(|other| *other != controller).unwrap_or(controller);
        let mut parties = vec![Party::Database, Party::Database, Party::Hosts, Party::Clients];
        if whole.len() == CONTROLLERS {
            parties.extend([Party::Controller(other); 2]);
        }
        Fault::Cut { controller, from: self.dice.pick(&parties), way, span }
    }

    /// Controllers that nothing is planned for then.
    fn whole(&self, at: Duration, span: Duration) -> Vec<usize> {
        let hurt: Vec<_> = self.during(at, span).flat_map(|one| one.fault.controllers()).collect();
        (0..CONTROLLERS).filter(|one| !hurt.contains(one)).collect()
    }

    fn is_free(&self, at: Duration, fault: Fault) -> bool {
        let mut others = self.during(at, fault.length());
        let same = |other: &Planned| match fault {
            Fault::Late { .. } => matches!(other.fault, Fault::Late { .. }),
            _ => fault.is_of_database() && other.fault.is_of_database(),
        };
        let hurt: Vec<_> = self.during(at, fault.length()).flat_map(|one| one.fault.controllers()).collect();
        let mine = fault.controllers();
        let left = (0..CONTROLLERS).any(|one| !hurt.contains(&one) && !mine.contains(&one));
        left && !mine.iter().any(|one| hurt.contains(one)) && !others.any(same)
    }

    fn during(&self, at: Duration, span: Duration) -> impl Iterator<Item = &Planned> {
        let pause = Duration::from_secs(1);
        self.plan
            .iter()
            .filter(move |one| one.at < at + span + pause && at < one.at + one.fault.length() + pause)
    }
}

impl Fault {
    pub fn kind(self) -> &'static str {
        let at = match self {
            Fault::Kill { .. } => 0,
            Fault::Stop { .. } => 1,
            Fault::Cut { .. } => 2,
            Fault::Restart { .. } => 3,
            Fault::FailOver => 4,
            Fault::Alone { .. } => 5,
            Fault::Split { .. } => 6,
            Fault::Clock { .. } => 7,
            Fault::Late { .. } => 8,
        };
        KINDS[at]
    }

    fn length(self) -> Duration {
        match self {
            Fault::Kill { down, .. } => down + RESTART,
            Fault::Restart { down, .. } => down + RESTART,
            Fault::FailOver => CHANGE,
            Fault::Split { span } => span + CHANGE,
            Fault::Alone { span } => span + RESTART,
            Fault::Stop { span, .. }
            | Fault::Cut { span, .. }
            | Fault::Clock { span, .. }
            | Fault::Late { span } => span,
        }
    }

    /// Whom it hurts.
    pub fn controllers(self) -> Vec<usize> {
        match self {
            Fault::Kill { controller, .. } | Fault::Stop { controller, .. } => vec![controller],
            Fault::Cut { controller, from: Party::Controller(other), .. } => vec![controller, other],
            Fault::Cut { controller, .. } | Fault::Clock { controller, .. } => vec![controller],
            _ => Vec::new(),
        }
    }

    pub fn is_of_database(self) -> bool {
        matches!(self, Fault::Restart { .. } | Fault::FailOver | Fault::Alone { .. } | Fault::Split { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill { controller, down } => write!(f, "kill c{controller}, back after {down:?}"),
            Fault::Stop { controller, span } => write!(f, "stop c{controller} for {span:?}"),
            Fault::Cut { controller, from, way, span } => {
                write!(f, "cut c{controller} off from {from:?} ({way:?}) for {span:?}")
            }
            Fault::Restart { crash: true, down } => write!(f, "crash of PostgreSQL, back after {down:?}"),
            Fault::Restart { crash: false, down } => write!(f, "restart of PostgreSQL after {down:?}"),
            Fault::FailOver => write!(f, "fail-over to the standby"),
            Fault::Alone { span } => write!(f, "primary cut off from its standby for {span:?}"),
            Fault::Split { span } => {
                write!(f, "primary cut off from its standby for {span:?}, then fail-over")
            }
            Fault::Clock { controller, seconds, span } => {
                write!(f, "clock of c{controller} jumps by {seconds} s for {span:?}")
            }
            Fault::Late { span } => write!(f, "commands to hosts arrive late for {span:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    #[test]
    fn a_seed_gives_the_same_plan_and_another_one_another() {
        let half_an_hour = Duration::from_secs(1800);
        assert_eq!(plan(7, half_an_hour, LEASE, &[]), plan(7, half_an_hour, LEASE, &[]));
        assert_ne!(plan(7, half_an_hour, LEASE, &[]), plan(8, half_an_hour, LEASE, &[]));
    }

    #[test]
    fn a_longer_run_has_every_kind_and_everything_is_healed_in_time() {
        for seed in 0..50 {
            let span = Duration::from_secs(300);
            let plan = plan(seed, span, LEASE, &[]);
            for kind in KINDS {
                assert!(plan.iter().any(|one| one.fault.kind() == kind), "seed {seed} has no {kind}");
            }
            assert!(plan.iter().all(|one| one.at + one.fault.length() <= span));
        }
    }

    #[test]
    fn one_controller_is_always_whole_and_the_database_has_one_fault_at_a_time() {
        for seed in 0..50 {
            let plan = plan(seed, Duration::from_secs(600), LEASE, &[]);
            for second in 0..600 {
                let now = Duration::from_secs(second);
                let on = plan.iter().filter(|one| one.at <= now && now < one.at + one.fault.length());
                let on: Vec<_> = on.map(|one| one.fault).collect();
                let hurt = |n| on.iter().any(|fault| fault.controllers().contains(&n));
                assert!((0..CONTROLLERS).any(|n| !hurt(n)), "seed {seed} at {second} s: {on:?}");
                assert!(on.iter().filter(|fault| fault.is_of_database()).count() <= 1, "{on:?}");
            }
        }
    }
}
