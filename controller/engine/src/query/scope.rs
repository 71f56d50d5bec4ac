//! Who asks, and what they may see.
//!
//! A [`Sight`] is asked wherever a statement begins to read rows of an inventory: in the outermost `FROM` as
//! in every nested one. Nobody can therefore find out by a condition about rows that they may not see.

use super::schema::Entity;
use super::value::Args;
use crate::api::Session;

/// Who asks.
#[derive(Clone)]
pub enum Viewer {
    /// The controller itself, for work of its own: it sees everything.
    Controller,
    /// A client.
    Client(Session),
}

/// What must be true of a row of `entity`, which the statement calls `alias`, for the viewer to see it: a
/// piece of SQL whose values are marked in `args`. `None` when they see all.
pub type Sight = fn(viewer: &Viewer, entity: &Entity, alias: &str, args: &mut Args) -> Option<String>;

/// Everybody sees everything.
pub fn everything(_: &Viewer, _: &Entity, _: &str, _: &mut Args) -> Option<String> {
    None
}
