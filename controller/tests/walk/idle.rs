//! An undo that says that it is done and does nothing: a mistake, which the truths must find.

use std::collections::HashSet;

use engine::Id;
use engine::flow::fault::{Fault, Phase, Point};
use engine::flow::{FlowType, FlowView};

use crate::plan::{Place, Spot};

/// One undo of the registry, out of work.
#[derive(Clone, Debug)]
pub struct Idle {
    flow: &'static str,
    steps: Vec<&'static str>,
    index: usize,
    /// Where flows were made to fail so that they come to it, and in which calls.
    tried: HashSet<(Spot, Place)>,
    failed: HashSet<Id<FlowView>>,
    /// How often it was asked for.
    pub count: usize,
}

impl Idle {
    /// Every undo of the type.
    pub fn all(flow: &FlowType) -> impl Iterator<Item = Idle> {
        let undone = flow.undone.iter().enumerate().filter(|(_, undone)| **undone);
        undone.map(|(index, _)| Idle {
            flow: flow.name,
            steps: flow.steps.clone(),
            index,
            tried: HashSet::new(),
            failed: HashSet::new(),
            count: 0,
        })
    }

    pub fn flow(&self) -> &'static str {
        self.flow
    }

    pub fn name(&self) -> String {
        format!("the undo of step \"{}\" of {}", self.steps[self.index], self.flow)
    }

    /// Flows fail behind the step, at each point once in each call; the undo does nothing.
    pub fn at(&mut self, point: &Point<'_>, call: Place) -> Fault {
        let Some(step) = self.steps.iter().position(|step| *step == point.step) else { return Fault::None };
        if point.name != self.flow {
            return Fault::None;
        }
        if point.back && step == self.index && point.phase == Phase::Before {
            self.count += 1;
            return Fault::Idle;
        }
        let behind = step > self.index || step == self.index && point.phase == Phase::After;
        let act = !point.record && matches!(point.phase, Phase::Before | Phase::After);
        let may = behind && act && !point.back && !self.failed.contains(&point.flow);
        if may && self.tried.insert((Spot::of(point), call)) {
            self.failed.insert(point.flow);
            return Fault::Fail;
        }
        Fault::None
    }
}
