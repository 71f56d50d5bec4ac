//! A long job: a call that is submitted by its message's name and JSON, kept by a name of its own, and can be
//! cancelled and run again.
//!
//! ```text
//!  Running ──▶ Succeeded | Failed        what became of the call's own job, told by the database when it ends
//!     └──▶ Canceling ──▶ Canceled        its flow is turned back; what was done is undone
//! ```
//!
//! The call is a job like every other, so it outlives controllers; a long job may do nothing that who submits
//! it could not call.

mod api;
mod cascade;
mod store;

use engine::module::Module;
use engine::{Any, Id, Stamp, inventory};

/// Marks ids of long jobs.
#[derive(Debug)]
pub enum LongJob {}

inventory! {
    /// A long job as the API shows it. `api_id` is the job that does it; `execute_time` in seconds.
    LongJobInventory in "long_job_view" seen Owned("uuid") {
        uuid: Id<LongJob>,
        name: String,
        description: Option<String>,
        api_id: Id<Any>,
        job_name: String,
        job_data: String,
        job_result: Option<String>,
        state: String,
        target_resource_uuid: Option<Id<Any>>,
        management_node_uuid: Option<Id<Any>>,
        execute_time: Option<i64>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

impl LongJobInventory {
    fn has_ended(&self) -> bool {
        ["Succeeded", "Canceled", "Failed"].contains(&self.state.as_str())
    }
}

pub fn module() -> Module {
    Module::new("long job")
        .category("longjob")
        .query::<LongJobInventory>("QueryLongJob", "/longjobs")
        .api::<api::SubmitLongJob>()
        .api::<api::CancelLongJob>()
        .api::<api::RerunLongJob>()
        .api::<api::UpdateLongJob>()
        .api::<api::DeleteLongJob>()
        .cascade(&cascade::LongJobKind, cascade::EDGES)
}

#[cfg(test)]
mod tests;
