//! `/network/*`: what connects VMs to the physical network (kvm-agent).

use super::{Done, call, message};

message! {
    /// Fails with `failedInterfaceNames` when an interface is missing; brings the others up.
    CheckInterfaces { interface_names: Vec<String> }
    InterfacesChecked { failed_interface_names: Vec<String> }
    /// Makes the bridge, enslaves the interface, moves its addresses to the bridge; succeeds when there.
    CreateBridge {
        physical_interface_name: String,
        bridge_name: String,
        l2_network_uuid: String,
        disable_iptables: Option<bool>,
        mtu: Option<u32>,
        isolated: Option<bool>,
        pvlan: Option<String>,
    }
    CheckBridge {
        physical_interface_name: String,
        bridge_name: String,
    }
    /// Takes the bridge away and gives its addresses back to the interface; succeeds when it is gone.
    DeleteBridge {
        physical_interface_name: String,
        bridge_name: String,
        l2_network_uuid: String,
    }
    /// Makes the VLAN of the interface and a bridge on it; without a VLAN (0) as [`CreateBridge`].
    CreateVlanBridge {
        vlan: u16,
        #[serde(flatten)]
        bridge: CreateBridge,
    }
    CheckVlanBridge {
        vlan: u16,
        #[serde(flatten)]
        bridge: CheckBridge,
    }
    DeleteVlanBridge {
        vlan: u16,
        #[serde(flatten)]
        bridge: DeleteBridge,
    }
    /// Puts the bridge, with all that is plugged in, on another VLAN of the interface. 0 or absent: on none.
    UpdateVlanBridge {
        physical_interface_name: String,
        bridge_name: String,
        new_vlan: Option<String>,
        old_vlan: Option<String>,
        l2_network_uuid: String,
    }
    /// The VLAN alone: VMs' interfaces lie on it without a bridge.
    CreateMacvlan {
        physical_interface_name: String,
        vlan: u16,
        l2_network_uuid: String,
        mtu: Option<u32>,
    }
    CheckMacvlan { physical_interface_name: String, vlan: u16 }
    DeleteMacvlan {
        physical_interface_name: String,
        vlan: u16,
        l2_network_uuid: String,
    }
    /// Makes the interface a port of a bridge that is there; its addresses move to the bridge.
    AddPort {
        physical_interface_name: String,
        bridge_name: String,
    }
    /// Finds the address of this host that tunnels shall come from: the one within `cidr`, narrowed by the
    /// address or the interface that is named.
    CheckVtep {
        cidr: String,
        #[serde(rename = "vtepip")]
        vtep_ip: Option<String>,
        physical_interface_name: Option<String>,
    }
    VtepFound {
        vtep_ip: String,
        physical_interface_name: String,
    }
    /// Makes the tunnel `vxlan<vni>` and a bridge on it; what nobody has asked for is flooded to `peers`.
    CreateVxlanBridge {
        bridge_name: String,
        vtep_ip: String,
        vni: u32,
        /// 8472 when it is absent, as in Linux.
        dstport: Option<u16>,
        l2_network_uuid: String,
        peers: Vec<String>,
        mtu: Option<u32>,
    }
    CreateVxlanBridges { bridge_cmds: Vec<CreateVxlanBridge> }
    DeleteVxlanBridge {
        bridge_name: String,
        vni: u32,
        l2_network_uuid: String,
        vtep_ip: String,
    }
    /// Puts the bridge on another tunnel; `vlan` is ZStack's word for the VNI.
    UpdateVxlanBridge {
        bridge_name: String,
        new_vlan: String,
        old_vlan: String,
        l2_network_uuid: String,
        peers: Vec<String>,
    }
    PopulateFdb { vni: u32, peers: Vec<String> }
    /// Of the tunnels that are marked with these networks and are here.
    PopulateFdbs {
        network_uuids: Vec<String>,
        peers: Vec<String>,
    }
    DeleteFdbs {
        network_uuids: Vec<String>,
        peers: Vec<String>,
    }
    /// Hardware addresses of guests behind a virtual function, which its interface shall let through.
    AddBridgeFdb { physical_interface: String, macs: Vec<String> }
    DeleteBridgeFdb { physical_interface: String, macs: Vec<String> }
}

call!(CheckInterfaces, "/network/checkphysicalnetworkinterface", Sync, Acts, InterfacesChecked);
call!(CreateBridge, "/network/l2novlan/createbridge", Async, Acts, Done);
call!(CheckBridge, "/network/l2novlan/checkbridge", Async, Reads, Done);
call!(DeleteBridge, "/network/l2novlan/deletebridge", Async, Acts, Done);
call!(CreateVlanBridge, "/network/l2vlan/createbridge", Async, Acts, Done);
call!(CheckVlanBridge, "/network/l2vlan/checkbridge", Async, Reads, Done);
call!(DeleteVlanBridge, "/network/l2vlan/deletebridge", Async, Acts, Done);
call!(UpdateVlanBridge, "/network/l2vlan/updatebridge", Async, Acts, Done);
call!(CreateMacvlan, "/network/l2vlan/macvlan/createbridge", Async, Acts, Done);
call!(CheckMacvlan, "/network/l2vlan/macvlan/checkbridge", Async, Reads, Done);
call!(DeleteMacvlan, "/network/l2vlan/macvlan/deletebridge", Async, Acts, Done);
call!(AddPort, "/network/bridge/addif", Async, Acts, Done);
call!(CheckVtep, "/network/l2vxlan/checkcidr", Async, Reads, VtepFound);
call!(CreateVxlanBridge, "/network/l2vxlan/createbridge", Async, Acts, Done);
call!(CreateVxlanBridges, "/network/l2vxlan/createbridges", Async, Acts, Done);
call!(DeleteVxlanBridge, "/network/l2vxlan/deletebridge", Async, Acts, Done);
call!(UpdateVxlanBridge, "/network/l2vxlan/updatebridge", Async, Acts, Done);
call!(PopulateFdb, "/network/l2vxlan/populatefdb", Async, Acts, Done);
call!(PopulateFdbs, "/network/l2vxlan/populatefdbs", Async, Acts, Done);
call!(DeleteFdbs, "/network/l2vxlan/deletefdbs", Async, Acts, Done);
call!(AddBridgeFdb, "/bridgefdb/add", Async, Acts, Done);
call!(DeleteBridgeFdb, "/bridgefdb/delete", Async, Acts, Done);
