//! Texts that many tasks have in common (paths, callback URLs) are kept once.

use std::collections::HashSet;
use std::sync::Arc;

/// A peer that never repeats itself must not make this grow.
const MOST: usize = 256;

#[derive(Clone, Default)]
pub struct Texts(HashSet<Arc<str>>);

impl Texts {
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(shared.clone());
        shared
    }
}
