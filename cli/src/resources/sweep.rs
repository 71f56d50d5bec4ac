//! What is on hosts and storages and should not be so.

use super::{Answer, Kind, Opt, Resource, act, arg, column, opt, reference};

pub const RESOURCES: &[Resource] = &[SWEEP];

const THIS_FINDING: Opt = arg("FINDING", "uuid", Kind::Reference("sweep"), "name or uuid");
const FINDING_ACTIONS: &str = "/sweep/findings/{uuid}/actions";

const SWEEP: Resource = Resource {
    name: "sweep",
    title: "finding",
    path: Some("/sweep/findings"),
    known_by: "name",
    columns: &[
        column("KIND", "kind"),
        column("NAME", "name"),
        reference("HOST", "hostUuid", "host"),
        column("STATE", "state"),
        column("SINCE", "firstSeen"),
        column("DETAIL", "detail"),
        column("ERROR", "error"),
        column("UUID", "uuid"),
    ],
    calls: &[
        act(
            "run",
            "/sweep/actions",
            "runSweep",
            "Compare now what is there with what should be",
            &[opt("host", "hostUuid", Kind::Reference("host"), "only this one")],
        )
        .answers(Answer::All),
        act("repair", FINDING_ACTIONS, "repairFinding", "Do what its detail says", &[THIS_FINDING]),
        act("ignore", FINDING_ACTIONS, "ignoreFinding", "Tell and touch it no more", &[THIS_FINDING]),
    ],
    deletable: false,
};
