//! VMs, what they are made of, and the flows that work on all resources.

use super::{
    Answer, Column, DESCRIPTION, DISABLE, ENABLE, Kind, NAME, Opt, Resource, act, arg, bytes, column, delete,
    opt, post, reference,
};

pub const RESOURCES: &[Resource] = &[OFFERING, SSH_KEY, VM, CD_ROM, VOLUME, NIC, FLOW];

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

const SSH_KEY: Resource = Resource {
    name: "ssh-key",
    title: "ssh key",
    path: Some("/ssh-key-pair"),
    known_by: "name",
    columns: &[column("NAME", "name"), column("KEY", "publicKey"), column("UUID", "uuid")],
    calls: &[
        post(
            "create",
            "/ssh-key-pair",
            "Keep a public key, for guests to let in",
            &[
                NAME,
                opt("file", "publicKey", Kind::File, "such as ~/.ssh/id_ed25519.pub").required(),
                DESCRIPTION,
            ],
        ),
        post("attach", KEY_OF_VM, "Have a guest let it in, from its first start on", &[THIS_KEY, VM_OF])
            .answers(Answer::Other("vm")),
        delete("detach", KEY_OF_VM, "Tell a guest of it no more", &[THIS_KEY, VM_OF]),
    ],
    deletable: true,
};

const THIS_KEY: Opt = arg("KEY", "sshKeyPairUuid", Kind::Reference("ssh-key"), "name or uuid");
const KEY_OF_VM: &str = "/ssh-key-pair/{sshKeyPairUuid}/vm-instance/{vmInstanceUuid}";

const THIS_VM: Opt = arg("VM", "uuid", Kind::Reference("vm"), "name or uuid");
const VM_OF: Opt = arg("VM", "vmInstanceUuid", Kind::Reference("vm"), "name or uuid");
const VM_ACTIONS: &str = "/vm-instances/{uuid}/actions";
const LEVELS: &[&str] = &["OnHostFailure", "NeverStop"];
const STRATEGIES: &[&str] = &["InstantStart", "CreateStopped"];

/// What a new VM is.
const CREATION: &[Opt] = &[
    NAME,
    opt("image", "imageUuid", Kind::Reference("image"), "what its disk begins with").required(),
    opt("offering", "instanceOfferingUuid", Kind::Reference("offering"), "its size"),
    opt("cpu", "cpuNum", Kind::Number, "how many CPUs"),
    opt("memory", "memorySize", Kind::Size, "such as 512M"),
    opt("l3", "l3NetworkUuids", Kind::References("l3"), "a network that it joins; may be repeated")
        .required(),
    opt("default-l3", "defaultL3NetworkUuid", Kind::Reference("l3"), "the network of its gateway"),
    opt("disk", "rootDiskSize", Kind::Size, "the size of its disk, such as 10G; must be with an ISO"),
    opt("zone", "zoneUuid", Kind::Reference("zone"), "where it must be"),
    opt("cluster", "clusterUuid", Kind::Reference("cluster"), "where it must be"),
    opt("host", "hostUuid", Kind::Reference("host"), "where it must be"),
    opt(
        "primary-storage",
        "primaryStorageUuidForRootVolume",
        Kind::Reference("primary-storage"),
        "where its disk must be",
    ),
    opt(
        "ssh-key",
        "sshKeyPairUuids",
        Kind::References("ssh-key"),
        "a key that its guest lets in; may be repeated",
    ),
    opt("user-data", "userdata::", Kind::FileTag, "what cloud-init does in its guest at the first start"),
    opt("strategy", "strategy", Kind::OneOf(STRATEGIES), "whether it is started"),
    opt(
        "affinity-group",
        "affinityGroupUuid::",
        Kind::Tags("affinity-group"),
        "a group whose VMs it is kept with, or apart from; may be repeated",
    ),
    DESCRIPTION,
];

/// The same of one that is not made.
const NAMELESS: &[Opt] = match CREATION {
    [_name, rest @ ..] => rest,
    [] => &[],
};

/// What a new VM is whose disks are copies.
const fn copied(of: Opt) -> [Opt; 10] {
    [
        NAME,
        of,
        opt("offering", "instanceOfferingUuid", Kind::Reference("offering"), "its size"),
        opt("cpu", "cpuNum", Kind::Number, "how many CPUs"),
        opt("memory", "memorySize", Kind::Size, "such as 512M"),
        opt("l3", "l3NetworkUuids", Kind::References("l3"), "a network that it joins; may be repeated")
            .required(),
        opt("default-l3", "defaultL3NetworkUuid", Kind::Reference("l3"), "the network of its gateway"),
        opt("host", "hostUuid", Kind::Reference("host"), "where it must be"),
        opt("strategy", "strategy", Kind::OneOf(STRATEGIES), "whether it is started"),
        DESCRIPTION,
    ]
}

const FROM_VOLUME: &[Opt] =
    &copied(opt("volume", "volumeUuid", Kind::Reference("volume"), "name or uuid").required());
const FROM_SNAPSHOT: &[Opt] =
    &copied(opt("snapshot", "volumeSnapshotUuid", Kind::Reference("snapshot"), "name or uuid").required());
const FROM_GROUP: &[Opt] = &copied(
    opt("group", "volumeSnapshotGroupUuid", Kind::Reference("snapshot-group"), "name or uuid").required(),
);

const PLACES: &[Column] = &[
    column("RANK", "rank"),
    column("HOST", "name"),
    reference("CLUSTER", "clusterUuid", "cluster"),
    column("VMS", "vms"),
    reference("STORAGE", "primaryStorageUuid", "primary-storage"),
    column("WHY NOT", "refusals/*/reason"),
];

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
        post("create", "/vm-instances", "Make a VM and start it", CREATION),
        post(
            "create-from-volume",
            "/vm-instances/from/volume",
            "Make a VM whose disk is a copy of a volume that no running VM has",
            FROM_VOLUME,
        ),
        post(
            "create-from-snapshot",
            "/vm-instances/from/volume-snapshots/{volumeSnapshotUuid}",
            "Make a VM whose disk is a copy of what a snapshot shows",
            FROM_SNAPSHOT,
        ),
        post(
            "create-from-snapshot-group",
            "/vm-instances/from/volume-snapshots/group/{volumeSnapshotGroupUuid}",
            "Make a VM whose disks are copies of what the snapshots of a group show",
            FROM_GROUP,
        ),
        post(
            "placement",
            "/vm-instances/placement",
            "Where such a VM would be put, and what keeps it from each other host",
            NAMELESS,
        )
        .answers(Answer::Table("hosts", PLACES)),
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
        post(
            "attach-l3",
            "/vm-instances/{vmInstanceUuid}/l3-networks/{l3NetworkUuid}",
            "Give it a NIC in a network; it may run",
            &[
                arg("VM", "vmInstanceUuid", Kind::Reference("vm"), "name or uuid"),
                arg("L3", "l3NetworkUuid", Kind::Reference("l3"), "name or uuid"),
                opt("ip", "staticIp", Kind::Text, "the address that it gets"),
            ],
        ),
        post(
            "set-ha",
            "/vm-instances/{uuid}/ha-levels",
            "When it is started again by itself",
            &[
                THIS_VM,
                opt("level", "level", Kind::OneOf(LEVELS), "NeverStop: whenever nobody has stopped it")
                    .required(),
            ],
        ),
        delete("unset-ha", "/vm-instances/{uuid}/ha-levels", "Start it by itself no more", &[THIS_VM]),
        act(
            "set-hostname",
            VM_ACTIONS,
            "setVmHostname",
            "What its guest is called, from its next start on",
            &[THIS_VM, arg("NAME", "hostname", Kind::Text, "letters, digits, dashes")],
        ),
        act(
            "set-user-data",
            VM_ACTIONS,
            "setVmUserData",
            "What cloud-init does in its guest, from its next start on, if it has not been done",
            &[THIS_VM, arg("FILE", "userData", Kind::Bytes, "such as a #cloud-config")],
        ),
        act(
            "set-boot-mode",
            VM_ACTIONS,
            "setVmBootMode",
            "How it boots, from its next start on",
            &[THIS_VM, arg("MODE", "bootMode", Kind::OneOf(&["Legacy", "UEFI"]), "its firmware")],
        ),
        act(
            "resize",
            VM_ACTIONS,
            "updateVmInstance",
            "Other CPUs and memory: at once when it is stopped or was started with room for more, else once it was stopped",
            &[
                THIS_VM,
                opt("cpu", "cpuNum", Kind::Number, "how many CPUs"),
                opt("memory", "memorySize", Kind::Size, "such as 512M"),
            ],
        ),
        act(
            "change-offering",
            "/vm-instances/{vmInstanceUuid}/actions",
            "changeInstanceOffering",
            "The size of an offering: at once or once it was stopped, as with resize",
            &[VM_OF, arg("OFFERING", "instanceOfferingUuid", Kind::Reference("offering"), "name or uuid")],
        ),
        act(
            "reimage",
            "/vm-instances/{vmInstanceUuid}/actions",
            "reimageVmInstance",
            "Make its disk anew from its image; it must be stopped, and what it has written is lost",
            &[VM_OF],
        ),
        act(
            "set-boot-volume",
            "/vm-instances/{vmInstanceUuid}/actions",
            "setVmBootVolume",
            "Boot it from another of its volumes; it must be stopped",
            &[VM_OF, arg("VOLUME", "volumeUuid", Kind::Reference("volume"), "name or uuid")],
        ),
        act(
            "set-ip",
            "/vm-instances/{vmInstanceUuid}/actions",
            "setVmStaticIp",
            "Its address in a network; a guest that runs has it when it renews its lease",
            &[
                VM_OF,
                arg("L3", "l3NetworkUuid", Kind::Reference("l3"), "name or uuid"),
                arg("IP", "ip", Kind::Text, "the address"),
            ],
        ),
        post(
            "attach-iso",
            "/vm-instances/{vmInstanceUuid}/iso/{isoUuid}",
            "Put an ISO into its first empty drive; it may run",
            &[VM_OF, arg("ISO", "isoUuid", Kind::Reference("image"), "name or uuid")],
        ),
        delete(
            "detach-iso",
            "/vm-instances/{vmInstanceUuid}/iso",
            "Take an ISO out of its drive; it may run",
            &[VM_OF, opt("iso", "isoUuid", Kind::Reference("image"), "which, when there are several")],
        ),
        post("trim", VM_ACTIONS, "Have its guest give unused blocks of its disks back", &[THIS_VM]),
        act(
            "migrate",
            "/vm-instances/{vmInstanceUuid}/actions",
            "migrateVm",
            "Move it with its disks to another host while it runs",
            &[
                arg("VM", "vmInstanceUuid", Kind::Reference("vm"), "name or uuid"),
                opt("host", "hostUuid", Kind::Reference("host"), "where it moves to"),
            ],
        ),
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

const THIS_CD_ROM: Opt = arg("DRIVE", "uuid", Kind::Reference("cd-rom"), "name or uuid");

const CD_ROM: Resource = Resource {
    name: "cd-rom",
    title: "cd-rom drive",
    path: Some("/vm-instances/cdroms"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("VM", "vmInstanceUuid", "vm"),
        column("DRIVE", "deviceId"),
        reference("ISO", "isoUuid", "image"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/vm-instances/cdroms",
            "Give a stopped VM another drive",
            &[
                NAME,
                opt("vm", "vmInstanceUuid", Kind::Reference("vm"), "whose it is").required(),
                opt("iso", "isoUuid", Kind::Reference("image"), "what lies in it"),
                DESCRIPTION,
            ],
        ),
        act(
            "set-first",
            "/vm-instances/{vmInstanceUuid}/cdroms/{uuid}/actions",
            "setVmInstanceDefaultCdRom",
            "Make it the first drive of its stopped VM",
            &[VM_OF, THIS_CD_ROM],
        ),
    ],
    deletable: true,
};

const THIS_VOLUME: Opt = arg("VOLUME", "uuid", Kind::Reference("volume"), "name or uuid");
const VOLUME_ACTIONS: &str = "/volumes/{uuid}/actions";

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
    calls: &[
        post(
            "create",
            "/volumes/data",
            "Make a data volume; without a storage it is made where its first VM is",
            &[
                NAME,
                opt("size", "diskSize", Kind::Size, "such as 10G").unless("offering"),
                opt("offering", "diskOfferingUuid", Kind::Text, "the uuid of a disk offering"),
                DESCRIPTION,
            ],
        ),
        post(
            "copy-snapshot",
            "/volumes/data/from/volume-snapshots/{volumeSnapshotUuid}",
            "Make a data volume that shows what a snapshot shows",
            &[
                arg("SNAPSHOT", "volumeSnapshotUuid", Kind::Reference("snapshot"), "name or uuid"),
                NAME,
                DESCRIPTION,
            ],
        ),
        post(
            "attach",
            "/volumes/{volumeUuid}/vm-instances/{vmInstanceUuid}",
            "Give it to a VM, which may run",
            &[
                arg("VOLUME", "volumeUuid", Kind::Reference("volume"), "name or uuid"),
                arg("VM", "vmInstanceUuid", Kind::Reference("vm"), "name or uuid"),
            ],
        ),
        delete(
            "detach",
            "/volumes/{uuid}/vm-instances",
            "Take it from its VM, which may run",
            &[THIS_VOLUME],
        ),
        act("enable", VOLUME_ACTIONS, "changeVolumeState", "Let it be attached", &[THIS_VOLUME]).with(ENABLE),
        act("disable", VOLUME_ACTIONS, "changeVolumeState", "Let it not be attached", &[THIS_VOLUME])
            .with(DISABLE),
        act("sync-size", VOLUME_ACTIONS, "syncVolumeSize", "Look how large it is by now", &[THIS_VOLUME]),
        act("recover", VOLUME_ACTIONS, "recoverDataVolume", "Take its deletion back", &[THIS_VOLUME]),
        act("expunge", VOLUME_ACTIONS, "expungeDataVolume", "Delete it for good", &[THIS_VOLUME]),
    ],
    deletable: true,
};

const THIS_NIC: Opt = arg("NIC", "vmNicUuid", Kind::Reference("nic"), "name or uuid");
const NIC_ACTIONS: &str = "/vm-instances/nics/{vmNicUuid}/actions";

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
        column("LINK", "state"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "move",
            "/vm-instances/nics/{vmNicUuid}/l3-networks/{destL3NetworkUuid}",
            "Put it into another network; its VM may run",
            &[
                THIS_NIC,
                arg("L3", "destL3NetworkUuid", Kind::Reference("l3"), "name or uuid"),
                opt("ip", "staticIp", Kind::Text, "the address that it gets"),
            ],
        )
        .answers(Answer::Other("vm")),
        act("enable", NIC_ACTIONS, "changeVmNicState", "Its link goes up", &[THIS_NIC])
            .with(&[("state", "enable")]),
        act("disable", NIC_ACTIONS, "changeVmNicState", "Its link goes down", &[THIS_NIC])
            .with(&[("state", "disable")]),
    ],
    deletable: true,
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
