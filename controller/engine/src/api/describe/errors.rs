//! How calls are refused.

use serde_json::{Map, Value, json};

/// Statuses with which the portal refuses, and when.
const REFUSALS: &[(&str, &str)] = &[
    ("400", "The request cannot be read, or an argument is not valid."),
    ("401", "There is no valid session."),
    ("403", "The session may not do this."),
    ("404", "There is no such thing, or it belongs to somebody else."),
    ("409", "The state of what it is about does not allow it, or it is no longer what its preview showed."),
    ("413", "The body is too large."),
    ("429", "Too many logins have failed."),
    ("501", "It belongs to ZStack's API and is not there yet."),
    ("503", "It failed, or cannot be done now."),
];

pub(super) fn response(status: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{status}") })
}

/// The responses of these statuses.
pub(super) fn of(statuses: &[&str]) -> Value {
    statuses.iter().map(|status| ((*status).to_owned(), response(status))).collect::<Map<_, _>>().into()
}

pub(super) fn responses() -> Value {
    let told = REFUSALS.iter().map(|(status, description)| {
        let error = json!({ "$ref": "#/components/schemas/ErrorCode" });
        let schema = json!({
            "type": "object",
            "properties": { "error": error },
            "required": ["error"],
            "additionalProperties": false,
        });
        let mut told = super::operation::answer(description, &schema);
        told["headers"] = json!({ "Link": { "$ref": "#/components/headers/Link" } });
        ((*status).to_owned(), told)
    });
    let accepted = ("202".to_owned(), super::operation::accepted());
    told.chain([accepted]).collect::<Map<_, _>>().into()
}

pub(super) fn headers() -> Value {
    json!({ "Link": {
        "description": "Where the error's code is explained: `</docs/errors/SYS.1007>; rel=\"help\"`",
        "schema": { "type": "string" },
    }})
}
