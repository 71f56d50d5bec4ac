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
//! ended the ghost goes on from where it was stopped; everything it does must be refused.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{FlowView, ended, store};
use crate::engine::Engine;
use crate::error::{ErrorCode, Result, codes};
use crate::id::Id;
use crate::node::Era;

/// Where a flow stands in relation to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The journal says that the step comes next; also when the flow has just begun, turned or ended.
    Saved,
    /// Nothing of the step has happened.
    Before,
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
    /// The step fails. Only before and after a step.
    Fail,
    /// Before an act: it is done twice. In a record step: the transaction fails, nobody knows how, and the
    /// flow is taken up again. Where the flow was saved: the same, but it was committed.
    Twice,
    /// The controller dies.
    Crash,
}

/// Decides at every point.
pub trait Faults: Send + Sync {
    fn at(&self, point: &Point<'_>) -> Fault;

    /// A ghost has gone on after its flow had ended: how that ended.
    fn haunted(&self, flow: Id<FlowView>, outcome: Result<()>);
}

/// What the driver is to do at a point where nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Once,
    Twice,
}

/// A step of the table as points name it.
#[derive(Clone, Copy, Debug)]
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
    pub ghost: Ghost,
}

impl Hook {
    pub fn of(hooked: Hooked) -> Hook {
        Hook(Some(Arc::new(hooked)))
    }

    /// Lets happen what is decided. Who gets [`codes::LOST`] has died.
    pub fn at(&self, place: Place, phase: Phase) -> Result<Then> {
        let Some(hooked) = &self.0 else { return Ok(Then::Once) };
        let Place { step, back, record, last } = place;
        let (flow, name, title) = (hooked.flow, hooked.name, &*hooked.title);
        let point = Point { flow, name, title, step, back, phase, record, last };
        let beside = matches!(phase, Phase::Before | Phase::After);
        match hooked.faults.at(&point) {
            Fault::None => Ok(Then::Once),
            Fault::Fail => Err(codes::OPERATION.because(format!("told to fail at step \"{step}\""))),
            Fault::Twice if beside && !record => Ok(Then::Twice),
            Fault::Twice => {
                hooked.haunt(beside);
                Err(codes::DATABASE.because("told not to hear of the commit"))
            }
            Fault::Crash => {
                hooked.haunt(beside);
                hooked.era.end();
                Err(codes::LOST.because("told to die"))
            }
        }
    }
}

impl Hooked {
    fn haunt(self: &Arc<Self>, beside: bool) {
        if beside {
            let hooked = Arc::clone(self);
            tokio::spawn(async move {
                outlived(&hooked.engine, hooked.flow).await;
                let outcome = (hooked.ghost)().await;
                hooked.faults.haunted(hooked.flow, outcome);
            });
        }
    }
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
