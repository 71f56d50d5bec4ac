//! Events for programs outside: what happened, in order, told until it was heard.
//!
//! Each listener has a place in the outbox of its own ([`engine::event`]) and is told from there on, so that
//! nothing is missed by who was away. What was told may be told again after a crash: `seq` tells it apart.
//!
//! * *Web hooks*: a POST for each event, signed with the hook's own secret. One that is not heard in
//!   [`TRIES`] tries becomes a dead letter, visible, and can be sent again.
//! * *A message broker* (AMQP), when the configuration names one: a topic exchange.
//! * *Streams*: `GET /v1/events` as server-sent events.

mod api;
pub mod broker;
mod deliver;
mod store;

use engine::module::Module;
use engine::setting::{AnySetting, Setting, number};
use engine::{Any, Id, Stamp, inventory};

/// Marks ids of web hooks.
#[derive(Debug)]
pub enum WebHook {}

/// Marks ids of dead letters.
#[derive(Debug)]
pub enum DeadLetter {}

inventory! {
    /// A web hook as the API shows it. `type` is the name of the events that it is told, or the beginning of
    /// names and `*`.
    WebhookInventory in "web_hook" {
        uuid: Id<WebHook>,
        name: String,
        description: Option<String>,
        url: String,
        r#type: String,
        opaque: Option<String>,
        seq: i64,
        failures: i64,
        last_error: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    }
}

inventory! {
    /// An event that a web hook did not take.
    DeadLetterInventory in "dead_letter" {
        uuid: Id<DeadLetter>,
        web_hook_uuid: Id<WebHook>,
        seq: i64,
        name: String,
        resource: Id<Any>,
        payload: String,
        event_date: Stamp,
        error: String,
        create_date: Stamp,
    }
}

inventory! {
    /// Something that has happened, as the API shows it: `category` is the event's name, `content` what it
    /// tells, as JSON text. Kept for a week.
    EventLogInventory in "event_log" {
        id: i64,
        category: String,
        content: String,
        resource_uuid: Id<Any>,
        create_date: Stamp,
    }
}

pub(crate) const TRIES: Setting<i64> = Setting {
    category: "event",
    name: "webHook.tries",
    default: "15",
    help: "so often a web hook is told of an event, with growing pauses, before it becomes a dead letter",
    read: number::<1, 1000>,
};

const SETTINGS: &[AnySetting] = &[TRIES.entry(|text| TRIES.accepts(text)).within(1, 1000)];

pub fn module() -> Module {
    Module::new("event")
        .query::<WebhookInventory>("QueryWebhook", "/web-hooks")
        .query::<EventLogInventory>("QueryEventLog", "/eventlogs")
        .query::<DeadLetterInventory>("QueryDeadLetter", "/web-hooks/dead-letters")
        .api::<api::CreateWebhook>()
        .api::<api::UpdateWebhook>()
        .api::<api::DeleteWebhook>()
        .api::<api::RedeliverDeadLetter>()
        .api::<api::DeleteDeadLetter>()
        .settings(SETTINGS)
        .sweep(deliver::SWEEP)
        .sweep(broker::SWEEP)
        .admin()
}

#[cfg(test)]
mod tests;
