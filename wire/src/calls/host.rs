//! `/host/*`: a hypervisor host as a whole (kvm-agent).

use super::{Done, call, message};

message! {
    /// Introduces the controller to the agent; the agent remembers `host_uuid` and `send_command_url`.
    Connect {
        host_uuid: String,
        send_command_url: String,
        version: String,
        iptables_rules: Vec<String>,
        ignore_msrs: bool,
        page_table_extension_disabled: bool,
        tcp_server_port: u32,
    }
    Connected {
        libvirt_version: String,
        qemu_version: String,
    }
    Echo {}
    Ping {
        host_uuid: String,
        /// Ours: the host shall say between pings, by datagrams, that it lives.
        #[serde(skip_serializing_if = "Option::is_none")]
        heartbeat: Option<Heartbeat>,
    }
    /// What [`crate::heartbeat::Heart`] obeys.
    Heartbeat {
        /// `address:port`, of those who shall hear it.
        addresses: Vec<String>,
        /// 64 hex digits, this host's alone.
        key: String,
        /// Milliseconds.
        interval: u64,
    }
    /// What the agent remembered at the last connect; empty when it was never connected.
    Pong {
        host_uuid: String,
        send_command_url: String,
        version: String,
    }
    GetFact {}
    /// What the host is. Numbers such as `cpu_g_hz` are texts, as in ZStack.
    Fact {
        os_distribution: String,
        os_version: String,
        os_release: String,
        qemu_img_version: String,
        libvirt_version: String,
        hvm_cpu_flag: String,
        ept_flag: String,
        cpu_architecture: String,
        cpu_model_name: String,
        #[serde(rename = "cpuGHz")]
        cpu_ghz: String,
        cpu_processor_num: String,
        host_cpu_model_name: String,
        system_product_name: String,
        system_serial_number: String,
        system_manufacturer: String,
        #[serde(rename = "systemUUID")]
        system_uuid: String,
        uptime: String,
        ip_addresses: Vec<String>,
        libvirt_capabilities: Vec<String>,
        virtualizer_info: VirtualizerInfo,
        /// Ours: `kvm` where a stock guest was proven to boot under it, `qemu` (emulation) otherwise.
        virt_type: String,
    }
    VirtualizerInfo {
        uuid: String,
        virtualizer: String,
        version: String,
    }
    GetCapacity {}
    /// Memory in bytes, CPU speed in MHz; `used_*` sums over the running domains.
    Capacity {
        cpu_num: u64,
        cpu_speed: u64,
        used_cpu: u64,
        total_memory: u64,
        used_memory: u64,
        cpu_sockets: u32,
    }
}

call!(Connect, "/host/connect", Sync, Acts, Connected);
call!(Echo, "/host/echo", Sync, Reads, Done);
call!(Ping, "/host/ping", Async, Reads, Pong);
call!(GetFact, "/host/fact", Async, Reads, Fact);
call!(GetCapacity, "/host/capacity", Async, Reads, Capacity);
