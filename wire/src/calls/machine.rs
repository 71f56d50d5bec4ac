//! `/host/*`: what a hypervisor host is made of, and what an operator does to it (kvm-agent).

use std::collections::BTreeMap;

use super::{Done, call, message};

message! {
    /// Where the controller is from now on.
    UpdateConfiguration { host_uuid: String, send_command_url: String }
    /// Installs nothing: this agent comes in packages that bring what they need. It looks whether it is there.
    UpdateDependency {
        host_uuid: String,
        update_packages: Option<String>,
        exclude_packages: Option<String>,
    }
    CheckFile {
        paths: Vec<String>,
        md5_return: bool,
    }
    /// Those that are there; with their MD5, or nothing.
    FilesChecked { exist_paths: BTreeMap<String, String> }
    GetDeviceCapacity { dir_path: String }
    /// Bytes: of the file system, what is left of it, and what lies in the directory.
    DeviceCapacity {
        total_size: u64,
        available_size: u64,
        dir_size: u64,
    }
    GetNetworkFacts { management_server_ip: Option<String> }
    NetworkFacts { bondings: Vec<Bonding>, nics: Vec<NetworkInterface> }
    Bonding {
        bonding_name: String,
        mode: String,
        xmit_hash_policy: String,
        mii_status: String,
        miimon: u64,
        mac: String,
        ip_addresses: Vec<String>,
        speed: Option<u64>,
        all_slaves_active: bool,
        slaves: Vec<NetworkInterface>,
    }
    NetworkInterface {
        interface_name: String,
        /// `noMaster`, `bridgeSlave` or `bondingSlave`.
        interface_type: String,
        /// MBit/s; absent when the interface does not know.
        speed: Option<u64>,
        carrier_active: bool,
        slave_active: Option<bool>,
        mac: String,
        /// As `10.0.0.7/24`.
        ip_addresses: Vec<String>,
        pci_device_address: Option<String>,
        vendor_id: Option<String>,
        device_id: Option<String>,
        subvendor_id: Option<String>,
        subdevice_id: Option<String>,
    }
    GetInterfaceNames { ip_addresses: Vec<String> }
    /// In the order of the addresses that were asked for and are here.
    InterfaceNames { interface_names: Vec<String> }
    /// The interface has this IPv4 address and no other.
    SetAddress {
        interface_name: String,
        ip_address: String,
        netmask: String,
        gateway: Option<String>,
    }
    CheckVlan { interface_name: String, vlan_id: u16 }
    /// Whether multicast routers are behind these ports of bridges, so that all groups go there.
    SetRouterPort { enable: bool, nic_names: Vec<String> }
    GetMemoryFacts {}
    MemoryFacts { physical_memory_facts: Vec<MemoryModule> }
    /// One module, as the firmware describes it; numbers are texts.
    MemoryModule {
        manufacturer: String,
        size: String,
        speed: String,
        clock_speed: String,
        locator: String,
        serial_number: String,
        rank: String,
        voltage: String,
        #[serde(rename = "type")]
        kind: String,
    }
    GetNumaTopology {
        #[serde(rename = "HostUuid")]
        host_uuid: String,
    }
    NumaTopology { topology: BTreeMap<String, NumaNode> }
    NumaNode {
        #[serde(rename = "nodeID")]
        node_id: String,
        cpus: Vec<String>,
        distance: Vec<String>,
        /// Bytes.
        size: u64,
        free: u64,
        #[serde(rename = "VMsUuid")]
        vms_uuid: Vec<String>,
    }
    GetUsbDevices {}
    /// One device after another, each with `;` behind it and `:` between its numbers and names.
    UsbDevices { usb_devices_info: String }
    /// Sets all memory aside for VMs with huge pages but `reserve_size`. MiB; until the next boot.
    EnableHugePages { page_size: u64, reserve_size: u64 }
    DisableHugePages {}
    Reboot {}
    Shutdown {}
}

call!(UpdateConfiguration, "/host/update/configuration", Async, Acts, Done);
call!(UpdateDependency, "/host/updatedependency", Async, Reads, Done);
call!(CheckFile, "/host/checkfile", Async, Reads, FilesChecked);
call!(GetDeviceCapacity, "/host/dev/capacity", Async, Reads, DeviceCapacity);
call!(GetNetworkFacts, "/host/networkfacts", Async, Reads, NetworkFacts);
call!(GetInterfaceNames, "/host/getname/networkinterface", Async, Reads, InterfaceNames);
call!(SetAddress, "/host/setip/networkinterface", Async, Acts, Done);
call!(CheckVlan, "/host/checkvlan/networkinterface", Async, Reads, Done);
call!(SetRouterPort, "/host/bridge/routerport", Async, Acts, Done);
call!(GetMemoryFacts, "/host/physicalmemoryfacts", Async, Reads, MemoryFacts);
call!(GetNumaTopology, "/numa/topology", Async, Reads, NumaTopology);
call!(GetUsbDevices, "/host/usbdevice/get", Async, Reads, UsbDevices);
call!(EnableHugePages, "/host/enable/hugepage", Async, Acts, Done);
call!(DisableHugePages, "/host/disable/hugepage", Async, Acts, Done);
call!(Reboot, "/host/reboot", Async, Acts, Done);
call!(Shutdown, "/host/shutdown", Async, Acts, Done);
