//! How much of the host a running VM gets (kvm-agent): CPUs, memory, bandwidth, priority, pinning.

use super::vm::Volume;
use super::{Done, call, message};

message! {
    /// Plugs CPUs in, up to `cpu_num`. They are never taken out.
    IncreaseCpu { vm_uuid: String, cpu_num: u32 }
    CpuIncreased { cpu_num: u32 }
    /// Plugs memory in, up to `memory_size` bytes. It is never taken out.
    IncreaseMemory { vm_uuid: String, memory_size: u64 }
    MemoryIncreased { memory_size: u64 }
    ChangeCpuMemory {
        vm_uuid: String,
        cpu_num: u32,
        memory_size: u64,
    }
    CpuMemoryChanged { cpu_num: u32, memory_size: u64 }
    /// Limits a disk. 0 or less lifts a limit; what is absent stays, but a limit of the total and those
    /// of reads and writes exclude each other. Bytes and operations per second.
    SetVolumeBandwidth {
        vm_uuid: String,
        volume: Volume,
        /// `total`, `read`, `write`; empty takes all members that are there.
        mode: String,
        total_bandwidth: Option<i64>,
        read_bandwidth: Option<i64>,
        write_bandwidth: Option<i64>,
        #[serde(rename = "totalIOPS")]
        total_iops: Option<i64>,
        #[serde(rename = "readIOPS")]
        read_iops: Option<i64>,
        #[serde(rename = "writeIOPS")]
        write_iops: Option<i64>,
    }
    /// Lifts the limits that `mode` names: `total`, `read`, `write`; empty means all.
    DeleteVolumeBandwidth {
        vm_uuid: String,
        volume: Volume,
        mode: String,
    }
    GetVolumeBandwidth { vm_uuid: String, volume: Volume }
    /// -1: no limit.
    VolumeBandwidth {
        band_width: i64,
        band_width_read: i64,
        band_width_write: i64,
        iops_total: i64,
        iops_read: i64,
        iops_write: i64,
    }
    /// Limits a NIC, in bits per second; inbound is what the VM receives. 0 or less lifts a limit, what
    /// is absent stays.
    SetNicQos {
        vm_uuid: String,
        /// The tap device.
        internal_name: String,
        outbound_bandwidth: Option<i64>,
        inbound_bandwidth: Option<i64>,
    }
    GetNicQos { vm_uuid: String, internal_name: String }
    /// -1: no limit.
    NicQos { inbound: i64, outbound: i64 }
    SetPriority { priority_config_structs: Vec<Priority> }
    Priority {
        vm_uuid: String,
        cpu_shares: u64,
        /// -1000 to 1000: the higher, the sooner the kernel kills the VM when memory is short.
        oom_score_adj: i32,
    }
    /// `emulator_pinning` is a list of host CPUs such as `0-3,5`.
    PinEmulator { uuid: String, emulator_pinning: String }
    /// Makes the I/O thread unless it is there; keeps it on the host CPUs of `pin`, such as `0-3,5`.
    SetIoThreadPin {
        vm_uuid: String,
        io_thread_id: u32,
        pin: String,
    }
    IoThread { io_thread_id: u32 }
    /// Succeeds when it is gone; refused while a disk uses it.
    DeleteIoThread { vm_uuid: String, io_thread_id: u32 }
    GetIoThreads { vm_uuid: String }
    IoThreads { io_thread_info: Vec<PinnedIoThread> }
    PinnedIoThread { io_thread_id: u32, pin: String }
}

call!(IncreaseCpu, "/vm/increase/cpu", Async, Acts, CpuIncreased);
call!(IncreaseMemory, "/vm/increase/mem", Async, Acts, MemoryIncreased);
call!(ChangeCpuMemory, "/vm/online/changecpumem", Async, Acts, CpuMemoryChanged);
call!(SetVolumeBandwidth, "/set/volume/bandwidth", Async, Acts, Done);
call!(DeleteVolumeBandwidth, "/delete/volume/bandwidth", Async, Acts, Done);
call!(GetVolumeBandwidth, "/get/volume/bandwidth", Async, Reads, VolumeBandwidth);
call!(SetNicQos, "/set/nic/qos", Async, Acts, Done);
call!(GetNicQos, "/get/nic/qos", Async, Reads, NicQos);
call!(SetPriority, "/vm/priority", Async, Acts, Done);
call!(PinEmulator, "/vm/emulatorpinning", Async, Acts, Done);
call!(SetIoThreadPin, "/vm/setiothreadpin", Async, Acts, IoThread);
call!(DeleteIoThread, "/vm/deliothreadpin", Async, Acts, IoThread);
call!(GetIoThreads, "/vm/getiothreadpin", Async, Reads, IoThreads);
