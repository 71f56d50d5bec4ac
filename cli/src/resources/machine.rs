//! Who may speak with the controller: machines, and the tokens by which they enrol.

use super::{Answer, Kind, NAME, Opt, Resource, act, arg, column, opt, post, reference};

pub const RESOURCES: &[Resource] = &[MACHINE, TOKEN];

const THIS_MACHINE: Opt = arg("MACHINE", "uuid", Kind::Reference("machine"), "name or uuid");
const ROLES: &[&str] = &["host", "storage", "console-proxy", "auditor"];

const MACHINE: Resource = Resource {
    name: "machine",
    title: "machine",
    path: Some("/machines"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("ADDRESS", "address"),
        column("ROLES", "roles"),
        column("STATE", "state"),
        column("CERTIFIED UNTIL", "certifiedUntil"),
        column("UUID", "uuid"),
    ],
    calls: &[act(
        "revoke",
        "/machines/{uuid}/actions",
        "revokeMachine",
        "Believe its certificates no more, for good",
        &[THIS_MACHINE],
    )],
    deletable: false,
};

const TOKEN: Resource = Resource {
    name: "enrolment-token",
    title: "enrolment token",
    path: Some("/enrolment-tokens"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("ROLES", "roles"),
        column("EXPIRES", "expiredDate"),
        reference("USED BY", "machineUuid", "machine"),
        column("UUID", "uuid"),
    ],
    calls: &[post(
        "create",
        "/enrolment-tokens",
        "Let one machine enrol: the token, told once",
        &[
            NAME,
            opt("role", "roles", Kind::Several(ROLES), "what the machine may do; may be repeated").required(),
            opt("ttl", "ttl", Kind::Number, "how long it is good, seconds (an hour by default)"),
        ],
    )
    .answers(Answer::Member("token"))],
    deletable: true,
};
