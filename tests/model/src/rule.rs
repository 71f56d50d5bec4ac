//! The rules of ownership and of fencing, each of which can be left out.

/// A rule of controllers, agents or fencers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A step stands in the row before its first command leaves.
    SaveThenSend,
    /// Every write of a flow is conditional on its owner and epoch.
    WriteOnlyOwn,
    /// Who takes a flow over takes a new epoch.
    AdoptUnderNewEpoch,
    /// Who turns back takes a new epoch.
    TurnUnderNewEpoch,
    /// The step that failed is undone too.
    UndoWhatFailed,
    /// Silence says nothing about the outcome.
    SilenceIsNoOutcome,
    /// "Stale" says nothing about what happened before.
    StaleIsNoFailure,
    /// The agent refuses what is below the highest epoch that it has seen.
    HighestWins,
    /// What the agent knows outlives it.
    JournalFirst,
    /// A task that has ended is not run again.
    KnownIsNotRunAgain,
    /// An ended task is forgotten after a later generation only, not after a later epoch.
    ForgetByGeneration,
    /// The tasks of a resource run one after another.
    OneAtATime,
    /// A task's token is looked at once more when its turn comes.
    LookAgain,
    /// A host that had been given up gets a floor before it is used again.
    RaiseFloor,
    /// The floor is raised when nothing older runs any more.
    FloorWaits,
    /// The database's clock says when a lease has run out.
    ExpiryByDatabase,
    /// A controller acts only while its own clock says that its lease holds.
    ActUnderLease,
    /// A lease is trusted from the moment when its renewal was asked for.
    TrustFromStart,
    /// A lease is trusted for less than it lasts.
    Margin,
    /// A controller whose lease has run out forgets its flows.
    ForgetWhenLost,
    /// A fencer renews its lease and then looks for the mark.
    LeaseThenMark,
    /// Who fences writes the mark and then reads the lease.
    MarkThenLease,
    /// Silence is what lasts longer than a lease and the kill after it.
    WatchLonger,
    /// A renewal counts from its begin.
    CountFromBegin,
    /// A fencer that starts trusts a lease for no longer than the last one did.
    RecallLease,
    /// A VM starts only while the lease is held.
    StartUnderLease,
    /// A VM that starts runs only if the lease was not lost since.
    ConfirmStart,
    /// The mark goes when nothing is left that it was for.
    NoneLeft,
    /// Nothing starts after a mark before the fencer is set up again.
    StayGivenUp,
    /// The fencer is set up again when no command from before counts any more.
    ConnectThenSetUp,
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    pub fn all() -> Self {
        Rules(u32::MAX)
    }

    #[must_use]
    pub fn without(self, rule: Rule) -> Self {
        Rules(self.0 & !(1 << rule as u32))
    }

    pub fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}
