//! When VMs may run on a storage, as the owner of the lease sees it. Nothing here waits, reads or writes: it is
//! told what happened, and when.
//!
//! Invariants: a renewal counts from the moment it was begun, and only when it returned well; once the lease is
//! lost, what runs is killed until nothing is left, whatever returns meanwhile; after that only a renewal that
//! began later makes it held again; every loss has a number of its own ([`Lease::generation`]).

use std::time::Duration;

use crate::sys::clock::Moment;

/// Why a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No renewal counted in time.
    Silence,
    /// Another host has fenced this one, by the mark of this number.
    Fenced(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No renewal has counted yet: what runs goes on for a while, nothing starts.
    Untried,
    Held,
    /// What runs is killed.
    Lost(Cause),
    /// Nothing was left at that moment.
    Quiet(Cause, Moment),
}

/// What stood in the record of a renewal: others rely on it as long as no other record is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What runs may go on for so long after the begin of a renewal.
    pub lasts: Duration,
    /// When the storage does not answer VMs are left alone. Others then never fence this host.
    pub spares: bool,
}

#[derive(Clone, Debug)]
pub struct Lease {
    phase: Phase,
    until: Moment,
    terms: Terms,
    generation: u64,
}

impl Lease {
    /// Of a fencer that has just started, which may have had a predecessor: `until` should be what that one
    /// granted, or little.
    pub fn new(until: Moment, terms: Terms) -> Self {
        Lease { phase: Phase::Untried, until, terms, generation: 0 }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Until when what runs may go on.
    pub fn until(&self) -> Moment {
        self.until
    }

    /// Counts the losses.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn is_held(&self, now: Moment) -> bool {
        self.phase == Phase::Held && now < self.until
    }

    /// Whether what runs is to be killed.
    pub fn kills(&self) -> bool {
        match self.phase {
            Phase::Untried | Phase::Held => false,
            Phase::Lost(Cause::Fenced(_)) | Phase::Quiet(Cause::Fenced(_), _) => true,
            Phase::Lost(Cause::Silence) | Phase::Quiet(Cause::Silence, _) => !self.terms.spares,
        }
    }

    /// Until when the predecessor had the lease.
    pub fn recall(&mut self, until: Moment) {
        if self.phase == Phase::Untried {
            self.until = until;
        }
    }

    /// Time has passed. True when the lease was lost by that.
    pub fn pass(&mut self, now: Moment) -> bool {
        let lost = matches!(self.phase, Phase::Untried | Phase::Held) && now >= self.until;
        if lost {
            self.lose(Cause::Silence);
        }
        lost
    }

    /// A renewal with these terms returned well at `now`, and after that no mark was there.
    pub fn renewed(&mut self, begun: Moment, terms: Terms, now: Moment) {
        self.pass(now);
        let counts = match self.phase {
            Phase::Untried | Phase::Held => true,
            // Nothing was killed: there is nothing to end.
            Phase::Lost(Cause::Silence) => self.terms.spares,
            Phase::Lost(Cause::Fenced(_)) => false,
            Phase::Quiet(_, since) => begun >= since,
        };
        if counts && now < begun + terms.lasts {
            *self = Lease { phase: Phase::Held, until: begun + terms.lasts, terms, ..*self };
        }
    }

    /// The mark was seen. True when that was new.
    pub fn marked(&mut self, mark: u64) -> bool {
        let cause = Cause::Fenced(mark);
        let known = matches!(self.phase, Phase::Lost(of) | Phase::Quiet(of, _) if of == cause);
        if !known {
            self.lose(cause);
        }
        !known
    }

    /// What runs was looked for, from `began` on.
    pub fn searched(&mut self, began: Moment, found: bool) {
        self.phase = match self.phase {
            Phase::Lost(cause) if !found => Phase::Quiet(cause, began),
            Phase::Quiet(cause, _) if found => Phase::Lost(cause),
            phase => phase,
        };
    }

    /// Whether nothing is left of what ran when the mark was seen.
    pub fn may_unmark(&self, mark: u64) -> bool {
        matches!(self.phase, Phase::Quiet(Cause::Fenced(of), _) if of == mark)
    }

    fn lose(&mut self, cause: Cause) {
        self.phase = Phase::Lost(cause);
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { lasts: Duration::from_secs(10), spares: false };
    const SPARES: Terms = Terms { spares: true, ..TERMS };

    fn at(seconds: u64) -> Moment {
        Moment::from_secs(seconds)
    }

    /// Renewed at 100, so that it lasts until 110.
    fn held() -> Lease {
        let mut lease = Lease::new(at(104), TERMS);
        lease.renewed(at(100), TERMS, at(101));
        assert_eq!((lease.phase(), lease.until()), (Phase::Held, at(110)));
        lease
    }

    #[test]
    fn a_renewal_counts_from_its_begin() {
        let mut lease = held();
        lease.renewed(at(104), TERMS, at(109));
        assert!(lease.is_held(at(113)) && !lease.is_held(at(114)));
        assert!(!lease.pass(at(113)) && lease.pass(at(114)) && !lease.pass(at(115)));
        assert!(lease.kills());
        assert_eq!((lease.phase(), lease.generation()), (Phase::Lost(Cause::Silence), 1));
    }

    #[test]
    fn a_renewal_that_returns_too_late_counts_for_nothing() {
        let mut lease = held();
        lease.renewed(at(105), TERMS, at(110));
        assert_eq!(lease.phase(), Phase::Lost(Cause::Silence), "it was lost before that returned");
        let mut lease = Lease::new(at(200), TERMS);
        lease.renewed(at(100), TERMS, at(110));
        assert_eq!(lease.phase(), Phase::Untried, "it had run out when it returned");
    }

    #[test]
    fn what_is_lost_is_killed_to_the_last_before_it_is_held_again() {
        let mut lease = held();
        lease.pass(at(110));
        lease.renewed(at(111), TERMS, at(112));
        assert!(lease.kills() && !lease.is_held(at(112)));
        lease.searched(at(112), true);
        assert!(lease.kills());
        lease.searched(at(113), false);
        lease.renewed(at(112), TERMS, at(114));
        assert_eq!(lease.phase(), Phase::Quiet(Cause::Silence, at(113)), "begun before nothing was left");
        lease.searched(at(114), true);
        lease.renewed(at(115), TERMS, at(116));
        assert_eq!(lease.phase(), Phase::Lost(Cause::Silence), "one that came late is killed too");
        lease.searched(at(116), false);
        lease.renewed(at(116), TERMS, at(117));
        assert!(lease.is_held(at(117)) && !lease.kills());
        assert_eq!(lease.generation(), 1);
    }

    #[test]
    fn nothing_is_held_before_a_renewal() {
        let mut lease = Lease::new(at(104), TERMS);
        assert!(!lease.is_held(at(100)) && !lease.kills());
        lease.recall(at(101));
        assert!(!lease.pass(at(100)) && lease.pass(at(101)) && lease.kills());
        lease.recall(at(200));
        assert!(lease.kills(), "what was lost stays so");
    }

    #[test]
    fn the_mark_kills_and_goes_when_nothing_is_left() {
        let mut lease = held();
        assert!(lease.marked(7) && !lease.marked(7) && lease.kills() && !lease.may_unmark(7));
        lease.renewed(at(102), TERMS, at(103));
        assert!(lease.kills(), "a renewal does not help against a mark");
        lease.searched(at(103), false);
        assert!(lease.may_unmark(7) && !lease.may_unmark(8));
        assert!(lease.marked(8) && !lease.may_unmark(8), "another mark is another reason");
        assert_eq!(lease.generation(), 2);
        lease.searched(at(104), false);
        lease.renewed(at(105), TERMS, at(106));
        assert!(lease.is_held(at(106)));
    }

    #[test]
    fn who_spares_vms_reports_and_goes_on_but_obeys_a_mark() {
        let mut lease = Lease::new(at(104), SPARES);
        lease.renewed(at(100), SPARES, at(101));
        assert!(lease.pass(at(110)) && !lease.kills());
        lease.renewed(at(120), SPARES, at(121));
        assert!(lease.is_held(at(121)));
        lease.marked(7);
        assert!(lease.kills());
    }

    #[test]
    fn new_terms_hold_from_the_renewal_that_told_them() {
        let mut lease = held();
        let longer = Terms { lasts: Duration::from_secs(30), spares: true };
        lease.pass(at(110));
        assert!(lease.kills(), "the old record still stands there");
        let mut lease = held();
        lease.renewed(at(102), longer, at(103));
        assert_eq!(lease.until(), at(132));
        lease.pass(at(132));
        assert!(!lease.kills());
    }
}
