//! Where a test lets flows fail, do things twice, or die: at every point at which that can happen, without
//! knowing the flow. In production nobody is asked.
//!
//! ```text
//!  Saved ─ Before ─ (the step) ─ After ─ Saved ─ Before …            forward, and the same backward
//!                       └ failed ─ Turning ─ Saved ─ Before ─ (its undo) ─ After ─ Saved …
//!                                                          └ failed ─ Parked
//! ```
//!
//! A crash ends the era: all work of the controller is dropped where it stands, and a new era takes it over.
//! It leaves a **ghost**: the flow as it would be in a controller that was only stopped. When the flow has
//! ended the ghost goes on from where it was stopped; everything it does must be refused. Of a write in the
//! course of an act the ghost is that write.
//!
//! A test that stands between controller and agents has the act fail, or the controller die, while a message
//! is on its way ([`Faults::during`]).

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{FlowView, ended, store};
use crate::bus::Begin;
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::{Any, Id};
use crate::node::Era;

/// Where a flow stands in relation to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The flow is to begin, and nothing says so but the job, or the step of which it is a part.
    Asked,
    /// The journal says that the step comes next; also when the flow has just begun, turned or ended.
    Saved,
    /// Nothing of the step has happened.
    Before,
    /// An act is about to write down what it brings with it.
    Writing,
    /// All of it has happened, the journal does not say so yet.
    After,
    /// The step has failed, the journal does not say so yet.
    Turning,
    /// The undo has failed, and the journal says so.
    Parked,
}

/// A moment in a flow.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    pub flow: Id<FlowView>,
    pub name: &'static str,
    pub title: &'a str,
    /// Whose commands carry the flow's token.
    pub resource: Id<Any>,
    pub generation: i64,
    pub step: &'static str,
    /// Undoing it.
    pub back: bool,
    pub phase: Phase,
    /// Of rows only: it commits together with the journal.
    pub record: bool,
    /// The flow's last step.
    pub last: bool,
}

/// What shall happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    None,
    /// The step fails. Only before, in and after a step.
    Fail,
    /// The undo says that it is done and does nothing: a mistake that a test must find. Only before an undo.
    Idle,
    /// Before an act: it is done twice. In a record step: the transaction fails, nobody knows how, and the
    /// flow is taken up again. Where the flow was saved: the same, but it was committed.
    Twice,
    /// The controller dies.
    Crash,
}

/// Decides at every point.
pub trait Faults: Send + Sync {
    fn at(&self, point: &Point<'_>) -> Fault;

    /// Waits until something happens in the midst of what the flow does: it fails, or the controller dies.
    fn during(&self, flow: Id<FlowView>) -> BoxFuture<'_, Fault>;

    /// A ghost has gone on after its flow had ended: how that ended.
    fn haunted(&self, flow: Id<FlowView>, outcome: Result<()>);
}

/// What the driver is to do at a point where nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Once,
    Twice,
    /// Not at all.
    Never,
}

/// A step of the table as points name it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub step: &'static str,
    pub back: bool,
    pub record: bool,
    pub last: bool,
}

/// Goes on where the flow stood.
pub(super) type Ghost = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// One flow before who decides; empty in production.
#[derive(Clone, Default)]
pub(super) struct Hook(Option<Arc<Hooked>>);

pub(super) struct Hooked {
    pub faults: Arc<dyn Faults>,
    pub engine: Engine,
    pub era: Arc<Era>,
    pub flow: Id<FlowView>,
    pub name: &'static str,
    pub title: String,
    pub resource: Id<Any>,
    pub generation: i64,
    pub ghost: Ghost,
}

impl Hook {
    pub fn of(hooked: Hooked) -> Hook {
        Hook(Some(Arc::new(hooked)))
    }

    /// Lets happen what is decided. Who gets [`codes::LOST`] has died.
    pub fn at(&self, place: Place, phase: Phase) -> Result<Then> {
        let Some(hooked) = &self.0 else { return Ok(Then::Once) };
        let (beside, step) = (matches!(phase, Phase::Before | Phase::After), place.step);
        match hooked.faults.at(&hooked.point(place, phase)) {
            Fault::None => Ok(Then::Once),
            Fault::Idle => Ok(Then::Never),
            Fault::Fail => Err(codes::OPERATION.because(format!("told to fail at step \"{step}\""))),
            Fault::Twice if beside && !place.record => Ok(Then::Twice),
            Fault::Twice => {
                hooked.haunt(beside);
                Err(codes::DATABASE.because("told not to hear of the commit"))
            }
            Fault::Crash => {
                hooked.haunt(beside);
                Err(hooked.die())
            }
        }
    }

    /// Does the work of an act, unless it fails or the controller dies in the midst of it.
    pub async fn during(&self, work: BoxFuture<'_, Result<()>>) -> Result<()> {
        let Some(hooked) = &self.0 else { return work.await };
        tokio::select! {
            biased;
            fault = hooked.faults.during(hooked.flow) => match fault {
                Fault::Crash => Err(hooked.die()),
                _ => Err(codes::OPERATION.because("told to fail in the midst of it")),
            },
            done = work => done,
        }
    }

    /// Does a write in the course of an act, unless the controller stops right before it.
    pub async fn writing<T: Send + 'static>(
        &self,
        place: Place,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(hooked) = &self.0 else { return write.await };
        if hooked.faults.at(&hooked.point(place, Phase::Writing)) != Fault::Crash {
            return write.await;
        }
        hooked.outlive(async move { write.await.map(drop) });
        Err(hooked.die())
    }
}

impl Hooked {
    fn point(&self, place: Place, phase: Phase) -> Point<'_> {
        let Place { step, back, record, last } = place;
        let (flow, name, title) = (self.flow, self.name, &*self.title);
        let (resource, generation) = (self.resource, self.generation);
        Point { flow, name, title, resource, generation, step, back, phase, record, last }
    }

    fn die(&self) -> ErrorCode {
        self.era.end();
        codes::LOST.because("told to die")
    }

    fn haunt(self: &Arc<Self>, beside: bool) {
        if beside {
            let hooked = Arc::clone(self);
            self.outlive(async move { (hooked.ghost)().await });
        }
    }

    /// Goes on with `ghost` when the flow has ended.
    fn outlive(self: &Arc<Self>, ghost: impl Future<Output = Result<()>> + Send + 'static) {
        let hooked = Arc::clone(self);
        tokio::spawn(async move {
            outlived(&hooked.engine, hooked.flow).await;
            let outcome = ghost.await;
            hooked.faults.haunted(hooked.flow, outcome);
        });
    }
}

/// The flow is about to begin: the controller may die, and the flow has never been.
pub(super) fn asked(engine: &Engine, era: &Era, name: &'static str, begin: &Begin) -> Result<()> {
    let Some(faults) = engine.faults() else { return Ok(()) };
    let (flow, title, resource, phase) = (begin.id, &*begin.title, begin.resource, Phase::Asked);
    let Place { step, back, record, last } = Place::default();
    let generation = 0;
    let point = Point { flow, name, title, resource, generation, step, back, phase, record, last };
    if faults.at(&point) == Fault::Crash {
        era.end();
        return Err(codes::LOST.because("told to die"));
    }
    Ok(())
}

/// Waits until the flow has ended for good.
async fn outlived(engine: &Engine, flow: Id<FlowView>) {
    let lives = async || -> Result<bool, ErrorCode> {
        let _ = ended(engine, flow).await;
        store::lives(&mut engine.db().read().await?, flow).await
    };
    while lives().await.unwrap_or(true) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
