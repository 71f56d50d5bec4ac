//! The agent of the model: the product's ledger, asked once for every memory and every event.
//!
//! Memories that decide alike have one number, so that a state of the world names its agent in four bytes.

use std::collections::HashMap;

use wire::agent::memory::{Arrived, Memory, Stage};
use wire::{Fence, TaskId};

use crate::flow::Task;
use crate::{Rule, Rules};

/// The number of a memory.
pub type Number = u32;

/// What may befall an agent.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Arrive(Task, u8),
    Start(Place),
    Finish(Place),
    Restart,
    Reboot,
    Floor(u8),
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Known,
    Stale,
    Done,
}

/// A task in the agent's memory. `copy` counts its runs when a known task may run again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub task: Task,
    pub copy: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub place: Place,
    pub running: bool,
    pub epoch: u8,
}

pub struct Agents {
    rules: Rules,
    memories: Vec<(Memory, Vec<Standing>)>,
    numbers: HashMap<String, Number>,
    answers: HashMap<(Number, Event), (Number, Answer)>,
}

impl Agents {
    pub fn new(rules: Rules) -> Self {
        let mut agents =
            Agents { rules, memories: Vec::new(), numbers: HashMap::new(), answers: HashMap::new() };
        agents.number(Memory::default());
        agents
    }

    /// The tasks that have not ended, in the order in which they were accepted.
    pub fn unfinished(&self, agent: Number) -> &[Standing] {
        &self.memories[agent as usize].1
    }

    pub fn after(&mut self, agent: Number, event: Event) -> (Number, Answer) {
        if let Some(known) = self.answers.get(&(agent, event)) {
            return *known;
        }
        let mut memory = self.memories[agent as usize].0.clone();
        let answer = self.happen(&mut memory, event);
        let after = (self.number(memory), answer);
        self.answers.insert((agent, event), after);
        after
    }

    fn happen(&self, memory: &mut Memory, event: Event) -> Answer {
        match event {
            Event::Arrive(task, epoch) => return self.arrive(memory, task, epoch),
            Event::Start(place) if !memory.start(&place.id()) => return Answer::Stale,
            Event::Start(_) => {}
            Event::Finish(place) => memory.finish(&place.id()),
            Event::Restart if self.rules.has(Rule::JournalFirst) => memory.restart(),
            Event::Restart => *memory = Memory::default(),
            Event::Reboot => memory.reboot(),
            Event::Floor(epoch) => memory.raise_floor(epoch.into()),
        }
        Answer::Done
    }

    fn arrive(&self, memory: &mut Memory, task: Task, epoch: u8) -> Answer {
        let first = Place { task, copy: 0 };
        let fence = self.fence(task, epoch);
        let again = !self.rules.has(Rule::KnownIsNotRunAgain) && has_ended(memory, first);
        let place = if again { Place { copy: 1, ..first } } else { first };
        match memory.arrive(&place.id(), &fence) {
            Arrived::Accepted => Answer::Accepted,
            Arrived::Known => Answer::Known,
            Arrived::Stale => Answer::Stale,
        }
    }

    /// An agent that sees every epoch as a resource of its own cannot compare epochs; one that sees it as a
    /// generation of its own forgets by epochs.
    fn fence(&self, task: Task, epoch: u8) -> Fence {
        let blind = !self.rules.has(Rule::HighestWins);
        let resource = if blind { format!("vm@{epoch}") } else { "vm".to_owned() };
        let by_generation = self.rules.has(Rule::ForgetByGeneration);
        let generation = if by_generation { task.generation() } else { epoch };
        Fence { resource, generation: generation.into(), epoch: epoch.into(), deadline: None }
    }

    fn number(&mut self, memory: Memory) -> Number {
        if let Some(number) = self.numbers.get(&memory.key()) {
            return *number;
        }
        let number = Number::try_from(self.memories.len()).expect("fewer memories than states");
        self.numbers.insert(memory.key(), number);
        let unfinished = unfinished(&memory);
        self.memories.push((memory, unfinished));
        number
    }
}

impl Place {
    fn id(self) -> TaskId {
        TaskId::parse(&format!("{}.{}", self.task, self.copy)).expect("a printable text")
    }

    fn of(id: &TaskId) -> Self {
        let known = Task::ALL.into_iter().flat_map(|task| [0, 1].map(|copy| Place { task, copy }));
        known.into_iter().find(|place| place.id() == *id).expect("a task of the model")
    }
}

fn has_ended(memory: &Memory, place: Place) -> bool {
    let ended = |stage| matches!(stage, Stage::Done);
    memory.standings().iter().any(|standing| standing.task == place.id() && ended(standing.state))
}

fn unfinished(memory: &Memory) -> Vec<Standing> {
    let standings = memory.standings().into_iter();
    let open = standings.filter(|standing| matches!(standing.state, Stage::Queued | Stage::Running));
    let standing = |standing: wire::agent::memory::Standing| Standing {
        place: Place::of(&standing.task),
        running: standing.state == Stage::Running,
        epoch: u8::try_from(standing.epoch).expect("the model's epochs are small"),
    };
    open.map(standing).collect()
}
