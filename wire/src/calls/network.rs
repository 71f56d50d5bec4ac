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
}

call!(CheckInterfaces, "/network/checkphysicalnetworkinterface", Sync, Acts, InterfacesChecked);
call!(CreateBridge, "/network/l2novlan/createbridge", Async, Acts, Done);
call!(CheckBridge, "/network/l2novlan/checkbridge", Async, Reads, Done);
call!(DeleteBridge, "/network/l2novlan/deletebridge", Async, Acts, Done);
