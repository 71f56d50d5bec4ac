//! VMs, what they are made of, and the flows that work on all resources.

use super::{
    Answer, DESCRIPTION, DISABLE, ENABLE, Kind, NAME, Opt, Resource, act, arg, bytes, column, opt, post,
    reference,
};

pub const RESOURCES: &[Resource] = &[OFFERING, VM, VOLUME, NIC, FLOW];

const THIS_OFFERING: Opt = arg("OFFERING", "uuid", Kind::Reference("offering"), "name or uuid");
const OFFERING_STATE: &str = "/instance-offerings/{uuid}/actions";

const OFFERING: Resource = Resource {
    name: "offering",
    title: "instance offering",
    path: Some("/instance-offerings"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("CPUS", "cpuNum"),
        bytes("MEMORY", "memorySize"),
        column("STATE", "state"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/instance-offerings",
            "Make a size of VMs",
            &[
                NAME,
                opt("cpu", "cpuNum", Kind::Number, "how many CPUs").required(),
                opt("memory", "memorySize", Kind::Size, "such as 512M").required(),
                opt("reserved-memory", "reservedMemorySize", Kind::Size, "memory that is never shared"),
                opt("strategy", "allocatorStrategy", Kind::Text, "how hosts are chosen"),
                DESCRIPTION,
            ],
        ),
        act("enable", OFFERING_STATE, "changeInstanceOfferingState", "Let it be used", &[THIS_OFFERING])
            .with(ENABLE),
        act("disable", OFFERING_STATE, "changeInstanceOfferingState", "Let it not be used", &[THIS_OFFERING])
            .with(DISABLE),
    ],
    deletable: true,
};

const THIS_VM: Opt = arg("VM", "uuid", Kind::Reference("vm"), "name or uuid");
const VM_ACTIONS: &str = "/vm-instances/{uuid}/actions";
const STRATEGIES: &[&str] = &["InstantStart", "CreateStopped"];

const VM: Resource = Resource {
    name: "vm",
    title: "vm",
    path: Some("/vm-instances"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("STATE", "state"),
        column("CPUS", "cpuNum"),
        bytes("MEMORY", "memorySize"),
        column("ADDRESS", "vmNics/*/ip"),
        reference("HOST", "hostUuid", "host"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/vm-instances",
            "Make a VM and start it",
            &[
                NAME,
                opt("image", "imageUuid", Kind::Reference("image"), "what its disk begins with").required(),
                opt("offering", "instanceOfferingUuid", Kind::Reference("offering"), "its size"),
                opt("cpu", "cpuNum", Kind::Number, "how many CPUs"),
                opt("memory", "memorySize", Kind::Size, "such as 512M"),
                opt(
                    "l3",
                    "l3NetworkUuids",
                    Kind::References("l3"),
                    "a network that it joins; may be repeated",
                )
                .required(),
                opt(
                    "default-l3",
                    "defaultL3NetworkUuid",
                    Kind::Reference("l3"),
                    "the network of its gateway",
                ),
                opt("disk", "rootDiskSize", Kind::Size, "the size of its disk, such as 10G"),
                opt("zone", "zoneUuid", Kind::Reference("zone"), "where it must be"),
                opt("cluster", "clusterUuid", Kind::Reference("cluster"), "where it must be"),
                opt("host", "hostUuid", Kind::Reference("host"), "where it must be"),
                opt(
                    "primary-storage",
                    "primaryStorageUuidForRootVolume",
                    Kind::Reference("primary-storage"),
                    "where its disk must be",
                ),
                opt("strategy", "strategy", Kind::OneOf(STRATEGIES), "whether it is started"),
                DESCRIPTION,
            ],
        ),
        act(
            "start",
            VM_ACTIONS,
            "startVmInstance",
            "Start it",
            &[THIS_VM, opt("host", "hostUuid", Kind::Reference("host"), "where it must be")],
        ),
        act(
            "stop",
            VM_ACTIONS,
            "stopVmInstance",
            "Ask its guest to stop, and cut it off when it does not",
            &[THIS_VM, opt("type", "type", Kind::OneOf(&["grace", "cold"]), "cold: cut it off at once")],
        ),
        act("reboot", VM_ACTIONS, "rebootVmInstance", "Start its guest anew", &[THIS_VM]),
        act("pause", VM_ACTIONS, "pauseVmInstance", "Hold it", &[THIS_VM]),
        act("resume", VM_ACTIONS, "resumeVmInstance", "Let it go on", &[THIS_VM]),
        act("recover", VM_ACTIONS, "recoverVmInstance", "Take its deletion back", &[THIS_VM]),
        act("expunge", VM_ACTIONS, "expungeVmInstance", "Delete the disks of a deleted VM now", &[THIS_VM]),
        post(
            "console",
            "/consoles",
            "Open its screen once: prints the address for a browser",
            &[arg("VM", "vmInstanceUuid", Kind::Reference("vm"), "name or uuid")],
        )
        .answers(Answer::Member("url")),
    ],
    deletable: true,
};

const VOLUME: Resource = Resource {
    name: "volume",
    title: "volume",
    path: Some("/volumes"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("TYPE", "type"),
        bytes("SIZE", "size"),
        column("FORMAT", "format"),
        reference("VM", "vmInstanceUuid", "vm"),
        reference("STORAGE", "primaryStorageUuid", "primary-storage"),
        column("STATUS", "status"),
        column("UUID", "uuid"),
    ],
    calls: &[],
    deletable: false,
};

const NIC: Resource = Resource {
    name: "nic",
    title: "nic",
    path: Some("/vm-instances/nics"),
    known_by: "internalName",
    columns: &[
        column("NAME", "internalName"),
        reference("VM", "vmInstanceUuid", "vm"),
        reference("L3", "l3NetworkUuid", "l3"),
        column("ADDRESS", "ip"),
        column("MAC", "mac"),
        column("UUID", "uuid"),
    ],
    calls: &[],
    deletable: false,
};

const FLOW: Resource = Resource {
    name: "flow",
    title: "flow",
    path: Some("/flows"),
    known_by: "title",
    columns: &[
        column("TITLE", "title"),
        column("FLOW", "name"),
        column("STATE", "state"),
        column("DIRECTION", "direction"),
        column("STEP", "step"),
        column("ERROR", "error"),
        column("UUID", "uuid"),
    ],
    calls: &[],
    deletable: false,
};
