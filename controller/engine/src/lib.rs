//! What the controller is made of and that names no resource: durable flows, jobs, queues, cascades,
//! queries, settings, events. Each room's module says what it promises.

pub mod api;
pub mod bus;
pub mod cascade;
mod clock;
pub mod db;
pub mod driver;
pub mod engine;
pub mod error;
pub mod event;
pub mod flow;
pub mod hook;
pub mod id;
pub mod inventory;
pub mod listener;
pub mod module;
pub mod node;
mod notice;
pub mod query;
pub mod queue;
pub mod quota;
pub mod scope;
pub mod setting;
pub mod sweep;
pub mod tag;

pub use engine::Engine;
pub use engine_derive::boxed;
pub use error::{ErrorCode, Result, codes};
pub use id::{Any, Id, Stamp};

/// What the engine itself adds to the API.
pub fn own_modules() -> Vec<module::Module> {
    vec![flow::module(), query::zql::module(), queue::module(), api::audit::module(), hook::module()]
}
