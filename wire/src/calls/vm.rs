//! `/vm/*`: virtual machines (kvm-agent). The libvirt domain's name is the VM's uuid.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::host::VirtualizerInfo;
use super::seed::Seed;
use super::tuning::Priority;
use super::{Done, call, message};

message! {
    /// Starts a VM. Succeeds when it runs already; a domain in another state is replaced.
    Start {
        vm_instance_uuid: String,
        vm_internal_id: u64,
        vm_name: String,
        image_platform: String,
        image_architecture: String,
        /// Bytes.
        memory: u64,
        max_memory: u64,
        cpu_num: u32,
        max_vcpu_num: u32,
        /// MHz; 0 leaves the CPU share alone.
        cpu_speed: u64,
        socket_num: Option<u32>,
        cpu_on_socket: Option<u32>,
        threads_per_core: Option<u32>,
        /// `hd`, `cdrom`, `network`, in order.
        boot_dev: Vec<String>,
        root_volume: Volume,
        data_volumes: Vec<Volume>,
        cd_roms: Vec<CdRom>,
        nics: Vec<Nic>,
        /// `vnc`, `spice` or `vncAndSpice`; only VNC is served.
        console_mode: String,
        /// Allows CPUs and memory to be plugged in later, up to `max_vcpu_num` and `max_memory`.
        use_numa: bool,
        video_type: String,
        /// `ac97` or `ich6`; no sound without.
        sound_type: Option<String>,
        /// `utc` or `localtime`.
        clock: String,
        /// What a guest that looks at its clock sees: `guest`, time that stands still while it is held; `host`.
        clock_track: Option<String>,
        /// `Legacy`, `UEFI`; absent means Legacy.
        boot_mode: Option<String>,
        machine_type: Option<String>,
        vm_cpu_model: Option<String>,
        /// `none`, `host-model`, `host-passthrough` or `custom`.
        nested_virtualization: String,
        host_management_ip: String,
        create_paused: bool,
        kvm_hidden_state: bool,
        use_boot_menu: bool,
        /// Milliseconds.
        boot_menu_splash_timeout: Option<u32>,
        /// Needs UEFI and q35.
        secure_boot: bool,
        /// Ours: a TPM 2.0.
        tpm: bool,
        /// The guest may sleep to memory, or to its disk.
        suspend_to_ram: bool,
        suspend_to_disk: bool,
        use_huge_page: bool,
        /// `private` or `shared`.
        #[serde(rename = "MemAccess")]
        mem_access: String,
        no_share_pages: Option<bool>,
        priority_config_struct: Option<Priority>,
        console_password: Option<String>,
        system_serial_number: Option<String>,
        /// Ours: what the guest finds on its disc `cidata`; none without.
        seed: Option<Seed>,
        timeout: u64,
        addons: Map<String, Value>,
    }
    Started {
        nic_infos: Vec<NicInfo>,
        virtual_device_info_list: Vec<DeviceInfo>,
        virtualizer_info: VirtualizerInfo,
    }
    Volume {
        install_path: String,
        device_id: u32,
        /// `file`, `iscsi`, `ceph`, …
        device_type: String,
        volume_uuid: String,
        use_virtio: bool,
        #[serde(rename = "useVirtioSCSI")]
        use_virtio_scsi: bool,
        shareable: bool,
        cache_mode: String,
        wwn: Option<String>,
        boot_order: u32,
        /// `qcow2` or `raw`; never guessed.
        format: String,
        primary_storage_type: Option<String>,
    }
    CdRom {
        path: Option<String>,
        image_uuid: Option<String>,
        device_id: u32,
        is_empty: bool,
        boot_order: u32,
    }
    Nic {
        uuid: String,
        mac: String,
        ips: Vec<String>,
        bridge_name: String,
        physical_interface: Option<String>,
        /// The tap device: `vnic<internal id of the VM>.<device id>`.
        nic_internal_name: String,
        device_id: u32,
        use_virtio: bool,
        boot_order: u32,
        mtu: Option<u32>,
        driver_type: Option<String>,
        /// `enable` or `disable` (link down).
        state: Option<String>,
        l2_network_uuid: Option<String>,
    }
    NicInfo {
        mac_address: String,
        device_address: DeviceAddress,
    }
    DeviceInfo {
        resource_uuid: String,
        device_address: DeviceAddress,
    }
    DeviceAddress {
        #[serde(rename = "type")]
        kind: String,
        bus: String,
        domain: String,
        slot: String,
        function: String,
        controller: String,
        target: String,
        unit: String,
    }
    /// Stops a VM; succeeds when it is not there. `kind` is `grace` (ACPI, then power off after half of
    /// `timeout` seconds), `cold` or `force` (power off now).
    Stop {
        uuid: String,
        #[serde(rename = "type")]
        kind: String,
        timeout: u64,
    }
    Pause { uuid: String, timeout: u64 }
    Resume { uuid: String, timeout: u64 }
    Reboot {
        uuid: String,
        timeout: u64,
        boot_dev: Vec<String>,
    }
    Rebooted { virtualizer_info: VirtualizerInfo }
    /// Removes a VM and its definition; succeeds when it is not there.
    Destroy { uuid: String }
    Sync {}
    /// State by VM uuid: Running, Paused, Shutdown, Crashed, Suspended, NoState.
    States {
        states: BTreeMap<String, String>,
        vm_in_shutdowns: Vec<String>,
    }
    CheckState {
        vm_uuids: Vec<String>,
        host_uuid: String,
    }
    /// Forgets what the firmware and the TPM of a VM that is off remember.
    CleanFirmware { vm_uuid: String }
    GetVncPort { vm_uuid: String }
    VncPort {
        port: u16,
        protocol: String,
        vnc_port: Option<u16>,
    }
    /// Ours: lets one WebSocket to `/vm/console/{token}` through to the VM's screen, once, until `expires`.
    OpenConsole {
        vm_uuid: String,
        token: String,
        /// Unix time in milliseconds.
        expires: u64,
    }
    /// Makes sure that the VM's screen is not seen from other machines: it listens on loopback, and is shown by
    /// tokens ([`OpenConsole`]).
    HardenConsole { vm_uuid: String, host_management_ip: String }
    /// Nothing was put up: succeeds.
    DeleteConsoleFirewall { vm_uuid: String, host_management_ip: String }
}

call!(Start, "/vm/start", Async, Acts, Started);
call!(Stop, "/vm/stop", Async, Acts, Done);
call!(Pause, "/vm/pause", Async, Acts, Done);
call!(Resume, "/vm/resume", Async, Acts, Done);
call!(Reboot, "/vm/reboot", Async, Acts, Rebooted);
call!(Destroy, "/vm/destroy", Async, Acts, Done);
call!(Sync, "/vm/vmsync", Async, Reads, States);
call!(CheckState, "/vm/checkstate", Async, Reads, States);
call!(GetVncPort, "/vm/getvncport", Async, Reads, VncPort);
call!(CleanFirmware, "/clean/firmware/flash", Async, Acts, Done);
call!(OpenConsole, "/vm/console/open", Async, Reads, Done);
call!(HardenConsole, "/vm/console/harden", Async, Reads, Done);
call!(DeleteConsoleFirewall, "/vm/console/deletefirewall", Async, Reads, Done);
