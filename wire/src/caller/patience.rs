//! How long a caller waits for an agent's word.

use std::time::Duration;

/// None of these ends a call: what an agent does not say in time it is asked for, or told again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long an agent may take to acknowledge.
    pub acknowledge: Duration,
    /// How long it may take to answer a question.
    pub answer: Duration,
    /// When the callback stays out, the agent is asked, later and later.
    pub ask_after: Duration,
    pub ask_latest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            acknowledge: Duration::from_secs(15),
            answer: Duration::from_secs(10),
            ask_after: Duration::from_secs(2),
            ask_latest: Duration::from_secs(15),
        }
    }
}
