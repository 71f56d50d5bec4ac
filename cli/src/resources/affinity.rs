//! Groups of VMs that are kept together, or apart.

use super::{
    DESCRIPTION, DISABLE, ENABLE, Kind, NAME, Opt, Resource, act, arg, column, delete, opt, post, reference,
};

pub const RESOURCES: &[Resource] = &[AFFINITY_GROUP];

const THIS: Opt = arg("GROUP", "uuid", Kind::Reference("affinity-group"), "name or uuid");
const GROUP: Opt = arg("GROUP", "affinityGroupUuid", Kind::Reference("affinity-group"), "name or uuid");
const VM: Opt = arg("VM", "uuid", Kind::Reference("vm"), "name or uuid");
const ACTIONS: &str = "/affinity-groups/{uuid}/actions";
const MEMBER: &str = "/affinity-groups/{affinityGroupUuid}/vm-instances/{uuid}";
const POLICIES: &[&str] = &["antiHard", "antiSoft", "proHard", "proSoft"];

const AFFINITY_GROUP: Resource = Resource {
    name: "affinity-group",
    title: "affinity group",
    path: Some("/affinity-groups"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("POLICY", "policy"),
        column("STATE", "state"),
        reference("VMS", "usages/*/resourceUuid", "vm"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/affinity-groups",
            "Make a group of VMs that are kept together (pro), or apart (anti)",
            &[
                NAME,
                opt("policy", "policy", Kind::OneOf(POLICIES), "hard: always; soft: where it can be had")
                    .required(),
                opt("zone", "zoneUuid", Kind::Reference("zone"), "goes with this zone"),
                DESCRIPTION,
            ],
        ),
        post("add-vm", MEMBER, "Put a VM into it", &[GROUP, VM]),
        delete("remove-vm", MEMBER, "Take a VM out of it", &[GROUP, VM]),
        act("enable", ACTIONS, "changeAffinityGroupState", "Let it steer", &[THIS]).with(ENABLE),
        act("disable", ACTIONS, "changeAffinityGroupState", "Let it steer nothing", &[THIS]).with(DISABLE),
    ],
    deletable: true,
};
