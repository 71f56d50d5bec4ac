//! `/flatnetworkprovider/dhcp/*`: DHCP and DNS for one L3 network in a namespace on the host
//! (vrouter-agent).

use super::{Done, call, message};

message! {
    /// Makes the namespace and its port on the bridge; succeeds when they are there.
    Prepare {
        bridge_name: String,
        vlan_id: Option<String>,
        dhcp_server_ip: String,
        dhcp_netmask: String,
        /// `<bridge>_<uuid of the L3 network>`.
        namespace_name: String,
        ip_version: Option<u32>,
        dhcp6_server_ip: Option<String>,
        prefix_len: Option<u32>,
        address_mode: Option<String>,
    }
    BatchPrepare { dhcp_infos: Vec<Prepare> }
    /// Serves these leases; with `rebuild` exactly these, otherwise these besides what is served.
    Apply {
        dhcp: Vec<Lease>,
        rebuild: bool,
        l3_network_uuid: String,
    }
    BatchApply { dhcp_infos: Vec<Apply> }
    /// One NIC's fixed address and what it is told.
    Lease {
        ip_version: Option<u32>,
        ip: String,
        mac: String,
        netmask: String,
        gateway: Option<String>,
        hostname: Option<String>,
        is_default_l3_network: bool,
        dns_domain: Option<String>,
        dns: Vec<String>,
        bridge_name: String,
        namespace_name: String,
        l3_network_uuid: String,
        mtu: Option<u32>,
        host_routes: Vec<HostRoute>,
        nic_type: Option<String>,
        vm_multi_gateway: bool,
        first_ip: Option<String>,
        end_ip: Option<String>,
        prefix_length: Option<u32>,
        vlan_id: Option<String>,
    }
    HostRoute {
        prefix: String,
        nexthop: String,
    }
    /// Serves these no longer; succeeds when they are unknown.
    Release { dhcp: Vec<Lease> }
    /// Introduces the controller after the host was connected.
    Connect {}
    /// Takes namespace, server and files away; succeeds when they are gone.
    DeleteNamespace {
        bridge_name: String,
        namespace_name: String,
    }
}

call!(Prepare, "/flatnetworkprovider/dhcp/prepare", Async, Acts, Done);
call!(BatchPrepare, "/flatnetworkprovider/dhcp/batchPrepare", Async, Acts, Done);
call!(Apply, "/flatnetworkprovider/dhcp/apply", Async, Acts, Done);
call!(BatchApply, "/flatnetworkprovider/dhcp/batchApply", Async, Acts, Done);
call!(Release, "/flatnetworkprovider/dhcp/release", Async, Acts, Done);
call!(Connect, "/flatnetworkprovider/dhcp/connect", Async, Reads, Done);
call!(DeleteNamespace, "/flatnetworkprovider/dhcp/deletenamespace", Async, Acts, Done);
