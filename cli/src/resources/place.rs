//! Where VMs run: zones, clusters, hosts.

use super::{
    ARCHITECTURES, Answer, DESCRIPTION, DISABLE, ENABLE, Kind, NAME, Opt, Resource, act, arg, bytes, column,
    delete, opt, post, reference,
};

pub const RESOURCES: &[Resource] = &[ZONE, CLUSTER, HOST, FENCING];

const THIS_ZONE: Opt = arg("ZONE", "uuid", Kind::Reference("zone"), "name or uuid");
const STORED: &[Opt] = &[
    arg("ZONE", "zoneUuid", Kind::Reference("zone"), "name or uuid"),
    arg("STORAGE", "backupStorageUuid", Kind::Reference("backup-storage"), "name or uuid"),
];
const ZONE_STATE: &str = "/zones/{uuid}/actions";

const ZONE: Resource = Resource {
    name: "zone",
    title: "zone",
    path: Some("/zones"),
    known_by: "name",
    columns: &[column("NAME", "name"), column("STATE", "state"), column("UUID", "uuid")],
    calls: &[
        post(
            "create",
            "/zones",
            "Make a zone",
            &[
                NAME,
                DESCRIPTION,
                opt("default", "isDefault", Kind::Switch, "the zone that is meant when none is named"),
            ],
        ),
        act("enable", ZONE_STATE, "changeZoneState", "Let VMs start in it", &[THIS_ZONE]).with(ENABLE),
        act("disable", ZONE_STATE, "changeZoneState", "Let no VM start in it", &[THIS_ZONE]).with(DISABLE),
        post(
            "attach-backup-storage",
            "/zones/{zoneUuid}/backup-storage/{backupStorageUuid}",
            "Let the zone's VMs use the images of a storage",
            STORED,
        )
        .answers(Answer::Other("backup-storage")),
        delete(
            "detach-backup-storage",
            "/zones/{zoneUuid}/backup-storage/{backupStorageUuid}",
            "Let the zone's VMs use the images of a storage no more",
            STORED,
        )
        .answers(Answer::Other("backup-storage")),
    ],
    deletable: true,
};

const THIS_CLUSTER: Opt = arg("CLUSTER", "uuid", Kind::Reference("cluster"), "name or uuid");
const OF_CLUSTER: Opt = arg("CLUSTER", "clusterUuid", Kind::Reference("cluster"), "name or uuid");
const WITH_L2: &[Opt] = &[OF_CLUSTER, arg("L2", "l2NetworkUuid", Kind::Reference("l2"), "name or uuid")];
const NEW_L2: &[Opt] = &[
    OF_CLUSTER,
    arg("L2", "l2NetworkUuid", Kind::Reference("l2"), "name or uuid"),
    opt(
        "tunnels",
        "l2NetworkUuid::{l2NetworkUuid}::clusterUuid::{clusterUuid}::cidr::",
        Kind::TextTag,
        "of a pool of VXLANs: the network of the hosts' addresses that tunnels join, such as 10.10.0.0/16",
    ),
];
const WITH_STORAGE: &[Opt] =
    &[OF_CLUSTER, arg("STORAGE", "primaryStorageUuid", Kind::Reference("primary-storage"), "name or uuid")];
const CLUSTER_STATE: &str = "/clusters/{uuid}/actions";
const L2_IN_CLUSTER: &str = "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}";
const STORAGE_IN_CLUSTER: &str = "/clusters/{clusterUuid}/primary-storage/{primaryStorageUuid}";

const CLUSTER: Resource = Resource {
    name: "cluster",
    title: "cluster",
    path: Some("/clusters"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("ZONE", "zoneUuid", "zone"),
        column("HYPERVISOR", "hypervisorType"),
        column("STATE", "state"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/clusters",
            "Make a cluster of hosts",
            &[
                NAME,
                opt("zone", "zoneUuid", Kind::Reference("zone"), "where it is").required(),
                opt("architecture", "architecture", Kind::OneOf(ARCHITECTURES), "what its hosts' CPUs are"),
                DESCRIPTION,
            ],
        )
        .with(&[("hypervisorType", "KVM")]),
        act("enable", CLUSTER_STATE, "changeClusterState", "Let VMs start in it", &[THIS_CLUSTER])
            .with(ENABLE),
        act("disable", CLUSTER_STATE, "changeClusterState", "Let no VM start in it", &[THIS_CLUSTER])
            .with(DISABLE),
        post("attach-l2", L2_IN_CLUSTER, "Bring an L2 network to the cluster's hosts", NEW_L2)
            .answers(Answer::Other("l2")),
        delete("detach-l2", L2_IN_CLUSTER, "Take an L2 network from the cluster's hosts", WITH_L2)
            .answers(Answer::Other("l2")),
        post(
            "attach-primary-storage",
            STORAGE_IN_CLUSTER,
            "Let the cluster's VMs keep volumes on a storage",
            WITH_STORAGE,
        )
        .answers(Answer::Other("primary-storage")),
        delete(
            "detach-primary-storage",
            STORAGE_IN_CLUSTER,
            "Let the cluster's VMs keep volumes on a storage no more",
            WITH_STORAGE,
        )
        .answers(Answer::Other("primary-storage")),
    ],
    deletable: true,
};

const THIS_HOST: Opt = arg("HOST", "uuid", Kind::Reference("host"), "name or uuid");
const HOST_ACTIONS: &str = "/hosts/{uuid}/actions";
const HOST_POWER: &str = "/hosts/power/{uuid}/actions";
const POWER_METHOD: Opt = opt(
    "method",
    "method",
    Kind::OneOf(&["AUTO", "AGENT", "IPMI"]),
    "by whom: its agent, or its own controller",
);

const HOST: Resource = Resource {
    name: "host",
    title: "host",
    path: Some("/hosts"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("ADDRESS", "managementIp"),
        reference("CLUSTER", "clusterUuid", "cluster"),
        column("STATE", "state"),
        column("STATUS", "status"),
        column("CPUS", "cpuNum"),
        bytes("MEMORY", "totalMemoryCapacity"),
        bytes("FREE", "availableMemoryCapacity"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/hosts/kvm",
            "Add a host on which the agents run",
            &[
                NAME,
                opt("address", "managementIp", Kind::Text, "where its agents listen").required(),
                opt("cluster", "clusterUuid", Kind::Reference("cluster"), "where it belongs").required(),
                DESCRIPTION,
            ],
        )
        .with(&[("username", "root"), ("password", "unused")]),
        act("enable", HOST_ACTIONS, "changeHostState", "Let VMs start on it", &[THIS_HOST]).with(ENABLE),
        act("disable", HOST_ACTIONS, "changeHostState", "Let no VM start on it", &[THIS_HOST]).with(DISABLE),
        act(
            "maintain",
            HOST_ACTIONS,
            "changeHostState",
            "Have its VMs leave it, and ask after it no more",
            &[THIS_HOST],
        )
        .with(&[("stateEvent", "maintain")]),
        act("reconnect", HOST_ACTIONS, "reconnectHost", "Connect to its agents anew", &[THIS_HOST]),
        act(
            "give-up",
            HOST_ACTIONS,
            "giveUpHost",
            "Look now whether it is down, and have its VMs run elsewhere when there is evidence for it",
            &[THIS_HOST],
        )
        .answers(Answer::Other("fencing")),
        act(
            "set-power",
            HOST_ACTIONS,
            "setHostPower",
            "By what it is switched off before its VMs run elsewhere",
            &[
                THIS_HOST,
                opt("type", "type", Kind::OneOf(&["Redfish"]), "how it is spoken with").required(),
                opt("url", "url", Kind::Text, "such as https://bmc/redfish/v1/Systems/1").required(),
                opt("username", "username", Kind::Text, "who may switch it off").required(),
                opt("password-file", "password", Kind::File, "a file with the password").required(),
                opt("authority", "authority", Kind::File, "by what its certificate is checked, PEM"),
            ],
        ),
        act("power-on", HOST_POWER, "powerOnHost", "Switch it on", &[THIS_HOST]),
        act(
            "reset",
            HOST_POWER,
            "powerResetHost",
            "Switch it off and on again, or have its agent restart it; it must be in maintenance",
            &[THIS_HOST, POWER_METHOD],
        ),
        act(
            "shut-down",
            HOST_POWER,
            "shutdownHost",
            "End it in good order when it is in maintenance, or at once by force",
            &[THIS_HOST, POWER_METHOD, opt("force", "force", Kind::Switch, "at once, whatever runs on it")],
        ),
        act("power-status", HOST_POWER, "getHostPowerStatus", "Whether it is on", &[THIS_HOST, POWER_METHOD])
            .answers(Answer::Member("ipmiPowerStatus")),
        delete("unset-power", "/hosts/{uuid}/power", "Switch it off no more", &[THIS_HOST]),
    ],
    deletable: true,
};

const FENCING: Resource = Resource {
    name: "fencing",
    title: "fencing",
    path: Some("/hosts/fencings"),
    known_by: "hostUuid",
    columns: &[
        reference("HOST", "hostUuid", "host"),
        column("STATE", "state"),
        column("EVIDENCE", "evidence"),
        column("FENCED", "fencedDate"),
        column("SINCE", "lastOpDate"),
        column("REASON", "reason"),
        column("UUID", "uuid"),
    ],
    calls: &[],
    deletable: false,
};
