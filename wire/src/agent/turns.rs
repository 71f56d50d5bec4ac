//! Tasks of one resource run one after another, in the order in which they lined up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The lines, by resource. A resource without a task has no line.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Lines>>);

type Lines = HashMap<Arc<str>, VecDeque<oneshot::Sender<()>>>;

/// A place in a line; whoever stands there gives it up by dropping it.
pub struct Turn {
    turns: Turns,
    resource: Arc<str>,
    called: Option<oneshot::Receiver<()>>,
}

impl Turns {
    /// Takes the last place. Who lines up first is first, whenever it waits.
    pub fn line_up(&self, resource: &str) -> Turn {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((resource, _)) = lines.get_key_value(resource) {
            let resource = resource.clone();
            let (call, called) = oneshot::channel();
            lines.entry(resource.clone()).or_default().push_back(call);
            return Turn { turns: self.clone(), resource, called: Some(called) };
        }
        let resource: Arc<str> = resource.into();
        lines.insert(resource.clone(), VecDeque::new());
        Turn { turns: self.clone(), resource, called: None }
    }

    fn next(&self, resource: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(resource) else { return };
        while let Some(next) = line.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        lines.remove(resource);
    }
}

impl Turn {
    /// Waits until everybody before has given up their place.
    pub async fn wait(&mut self) {
        if let Some(called) = &mut self.called {
            // The line outlives its places, so the call is never lost.
            let _ = called.await;
            self.called = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match &mut self.called {
            None => self.turns.next(&self.resource),
            // Called between its last look and now: the call must go on to the next.
            Some(called) => {
                called.close();
                if called.try_recv().is_ok() {
                    self.turns.next(&self.resource);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_skip_who_left() {
        let turns = Turns::default();
        let first = turns.line_up("vm");
        let (second, mut third) = (turns.line_up("vm"), turns.line_up("vm"));
        let mut other = turns.line_up("other");
        other.wait().await;
        drop(second);
        assert!(futures::poll!(std::pin::pin!(third.wait())).is_pending());
        drop(first);
        third.wait().await;
        drop((third, other));
        assert!(turns.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_turn_given_up_when_it_was_just_called_goes_on() {
        let turns = Turns::default();
        let (first, second) = (turns.line_up("vm"), turns.line_up("vm"));
        let mut third = turns.line_up("vm");
        drop(first);
        drop(second);
        third.wait().await;
    }
}
