//! What passes between the controller and the agents.
//!
//! The contract is ZStack's: a command is a POST that carries `taskuuid` and `callbackurl`; the agent
//! answers 200 at once and later POSTs the outcome to the callback URL with the same `taskuuid`. Ours is
//! stronger by optional headers and paths that an unmodified peer ignores:
//!
//! * **durable**: a command that acts is journalled before it is acknowledged, its outcome before it is
//!   reported; a report is repeated until somebody takes it, the sender or another controller that it named;
//!   the same task never runs twice;
//! * **never late**: a command may carry a [`Fence`]; superseded or expired ones are refused;
//!   a task that runs is told when it is superseded, and may stop;
//! * **known**: `GET /tasks/{taskuuid}` tells queued, running, done with its outcome, or unknown;
//! * **private**: peers prove who they are by certificates of the controller's own authority ([`tls`]).
//!
//! Both halves stand here: [`agent`] serves calls, [`caller`] makes them.

pub mod agent;
mod backoff;
pub mod call;
pub mod caller;
pub mod calls;
mod client;
pub mod heartbeat;
pub mod metrics;
pub mod tls;

pub use call::{Call, Effect, Fault, Fence, Mode, TaskId};
