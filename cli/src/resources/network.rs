//! How VMs reach each other: L2 and L3 networks, and what belongs to them.

use super::{
    Answer, DESCRIPTION, DISABLE, ENABLE, Kind, NAME, Opt, Resource, act, arg, column, delete, opt, post,
    reference,
};

pub const RESOURCES: &[Resource] = &[L2, VNI_RANGE, L3, IP_RANGE, DNS, PROVIDER];

const L2: Resource = Resource {
    name: "l2",
    title: "l2 network",
    path: Some("/l2-networks"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("TYPE", "type"),
        column("INTERFACE", "physicalInterface"),
        column("VLAN", "virtualNetworkId"),
        reference("ZONE", "zoneUuid", "zone"),
        reference("CLUSTERS", "attachedClusterUuids/*", "cluster"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/l2-networks/no-vlan",
            "Make an L2 network without VLAN",
            &[NAME, L2_ZONE, INTERFACE, DESCRIPTION],
        ),
        post(
            "create-vlan",
            "/l2-networks/vlan",
            "Make an L2 network that is a VLAN",
            &[NAME, L2_ZONE, INTERFACE, VLAN, DESCRIPTION],
        ),
        post(
            "create-vxlan-pool",
            "/l2-networks/vxlan-pool",
            "Make a pool of VXLANs; it needs numbers (vni-range create)",
            &[
                NAME,
                L2_ZONE,
                opt(
                    "interface",
                    "physicalInterface",
                    Kind::Text,
                    "whose addresses tunnels join; any without it",
                ),
                DESCRIPTION,
            ],
        ),
        post(
            "create-vxlan",
            "/l2-networks/vxlan",
            "Make a VXLAN, on all hosts that have its pool",
            &[NAME, POOL, opt("vni", "vni", Kind::Number, "its number; the first that is free"), DESCRIPTION],
        ),
        act(
            "set-vlan",
            "/l2-networks/{uuid}/actions",
            "changeL2NetworkVlanId",
            "Make a network that no cluster has another VLAN",
            &[arg("L2", "uuid", Kind::Reference("l2"), "name or uuid"), VLAN],
        ),
    ],
    deletable: true,
};

const L2_ZONE: Opt = opt("zone", "zoneUuid", Kind::Reference("zone"), "where it is").required();
const INTERFACE: Opt =
    opt("interface", "physicalInterface", Kind::Text, "the hosts' interface, such as eth0").required();
const VLAN: Opt = opt("vlan", "vlan", Kind::Number, "1 to 4094").required();

const POOL: Opt = opt("pool", "poolUuid", Kind::Reference("l2"), "the pool of its number").required();

const VNI_RANGE: Resource = Resource {
    name: "vni-range",
    title: "range of VXLAN numbers",
    path: Some("/l2-networks/vxlan-pool/vni-range"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("POOL", "l2NetworkUuid", "l2"),
        column("START", "startVni"),
        column("END", "endVni"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/l2-networks/vxlan-pool/{l2NetworkUuid}/vni-ranges",
            "Give a pool numbers for its networks",
            &[
                NAME,
                opt("pool", "l2NetworkUuid", Kind::Reference("l2"), "whose numbers they are").required(),
                opt("start", "startVni", Kind::Number, "the first number, from 1").required(),
                opt("end", "endVni", Kind::Number, "the last number, to 16777214").required(),
                DESCRIPTION,
            ],
        ),
        delete(
            "delete",
            "/l2-networks/vxlan-pool/vni-ranges/{uuid}",
            "Give its numbers to no further networks",
            &[arg("RANGE", "uuid", Kind::Reference("vni-range"), "name or uuid")],
        ),
    ],
    deletable: false,
};

const THIS_L3: Opt = arg("L3", "uuid", Kind::Reference("l3"), "name or uuid");
const SERVED: &[Opt] = &[
    arg("L3", "l3NetworkUuid", Kind::Reference("l3"), "name or uuid"),
    arg("SERVICE", "networkServices", Kind::Services, "such as DHCP or Flat:DNS; several are possible"),
];
const L3_ACTIONS: &str = "/l3-networks/{uuid}/actions";
const ROUTED_L3: Opt = arg("L3", "l3NetworkUuid", Kind::Reference("l3"), "name or uuid");
const L3_ROUTES: &str = "/l3-networks/{l3NetworkUuid}/hostroute";
const L3_SERVICES: &str = "/l3-networks/{l3NetworkUuid}/network-services";
const CATEGORIES: &[&str] = &["Public", "Private", "System"];

const L3: Resource = Resource {
    name: "l3",
    title: "l3 network",
    path: Some("/l3-networks"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("L2", "l2NetworkUuid", "l2"),
        column("RANGES", "ipRanges/*/networkCidr"),
        column("DNS", "dns/*"),
        column("SERVICES", "networkServices/*/networkServiceType"),
        column("STATE", "state"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/l3-networks",
            "Make an L3 network",
            &[
                NAME,
                opt("l2", "l2NetworkUuid", Kind::Reference("l2"), "on which it lies").required(),
                opt("category", "category", Kind::OneOf(CATEGORIES), "what it is for"),
                opt("domain", "dnsDomain", Kind::Text, "the domain of its guests"),
                DESCRIPTION,
            ],
        ),
        act("enable", L3_ACTIONS, "changeL3NetworkState", "Let VMs join it", &[THIS_L3]).with(ENABLE),
        act("disable", L3_ACTIONS, "changeL3NetworkState", "Let no VM join it", &[THIS_L3]).with(DISABLE),
        post("attach-service", L3_SERVICES, "Serve the network's VMs", SERVED),
        delete("detach-service", L3_SERVICES, "Serve the network's VMs no more", SERVED),
        post(
            "set-mtu",
            "/l3-networks/{l3NetworkUuid}/mtu",
            "Say how long the frames of the network's VMs may be",
            &[ROUTED_L3, arg("BYTES", "mtu", Kind::Number, "68 to 9216")],
        ),
        post(
            "add-route",
            L3_ROUTES,
            "Tell VMs of a way to another network",
            &[
                ROUTED_L3,
                arg("PREFIX", "prefix", Kind::Text, "such as 192.0.2.0/24"),
                arg("NEXTHOP", "nexthop", Kind::Text, "the router's address"),
            ],
        ),
        delete(
            "remove-route",
            L3_ROUTES,
            "Tell VMs of a way to another network no more",
            &[ROUTED_L3, arg("PREFIX", "prefix", Kind::Text, "such as 192.0.2.0/24")],
        ),
    ],
    deletable: true,
};

const RANGE_OF: Opt =
    opt("l3", "l3NetworkUuid", Kind::Reference("l3"), "the network that it belongs to").required();

const IP_RANGE: Resource = Resource {
    name: "ip-range",
    title: "ip range",
    path: Some("/l3-networks/ip-ranges"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("L3", "l3NetworkUuid", "l3"),
        column("START", "startIp"),
        column("END", "endIp"),
        column("NETMASK", "netmask"),
        column("GATEWAY", "gateway"),
        column("UUID", "uuid"),
    ],
    calls: &[post(
        "create",
        "/l3-networks/{l3NetworkUuid}/ip-ranges",
        "Give an L3 network addresses: --cidr, or --start, --end and --netmask",
        &[
            NAME,
            RANGE_OF,
            opt("cidr", "networkCidr", Kind::Text, "a whole network, such as 10.1.0.0/24"),
            opt("start", "startIp", Kind::Text, "the first address").unless("cidr"),
            opt("end", "endIp", Kind::Text, "the last address").unless("cidr"),
            opt("netmask", "netmask", Kind::Text, "such as 255.255.255.0").unless("cidr"),
            opt("gateway", "gateway", Kind::Text, "the router's address"),
            DESCRIPTION,
        ],
    )
    .instead("cidr", "/l3-networks/{l3NetworkUuid}/ip-ranges/by-cidr")],
    deletable: true,
};

const NAMESERVER: &[Opt] = &[
    arg("ADDRESS", "dns", Kind::Text, "the IPv4 address of the server"),
    opt("l3", "l3NetworkUuid", Kind::Reference("l3"), "the network whose VMs are told of it").required(),
];

/// A part of its L3 network, which shows it.
const DNS: Resource = Resource {
    name: "dns",
    title: "dns server",
    path: None,
    known_by: "dns",
    columns: &[],
    calls: &[
        post("create", "/l3-networks/{l3NetworkUuid}/dns", "Tell VMs of a name server", NAMESERVER)
            .answers(Answer::Other("l3")),
        delete(
            "delete",
            "/l3-networks/{l3NetworkUuid}/dns/{dns}",
            "Tell VMs of a name server no more",
            NAMESERVER,
        )
        .answers(Answer::Other("l3")),
    ],
    deletable: false,
};

const PROVIDER: Resource = Resource {
    name: "service",
    title: "network service provider",
    path: Some("/network-services/providers"),
    known_by: "name",
    columns: &[
        column("PROVIDER", "type"),
        column("NAME", "name"),
        column("SERVICES", "networkServiceTypes/*"),
        column("UUID", "uuid"),
    ],
    calls: &[],
    deletable: false,
};
