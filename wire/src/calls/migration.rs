//! `/vm/migrate`: a running VM goes to another host (kvm-agent).

use std::collections::BTreeMap;

use super::vm::{Nic, Volume};
use super::{Done, call, message};

message! {
    /// Moves a VM to another host while it runs; succeeds when it is there already. Sent to the host
    /// where it runs.
    Migrate {
        vm_uuid: String,
        /// Where its memory and disks are sent.
        dest_host_ip: String,
        /// Where the other libvirt listens.
        dest_host_management_ip: String,
        /// `FullCopy` or `IncCopy` copies the disks; anything else expects them on both hosts.
        storage_migration_policy: String,
        src_host_ip: String,
        use_numa: bool,
        migrate_from_destination: bool,
        auto_converge: bool,
        xbzrle: bool,
        /// Milliseconds that the guest may stand still.
        down_time: Option<u64>,
        nics: Vec<Nic>,
        /// By old path: where a disk is on the other host.
        disks: BTreeMap<String, Volume>,
        reload: bool,
        /// Bytes per second; 0: as fast as it goes.
        bandwidth: u64,
        /// Seconds; ours: given up, and the VM stays, when it takes longer. 0: an hour.
        timeout: u64,
    }
    /// Ours: how far a migration is.
    GetProgress { vm_uuid: String }
    Progress {
        migrating: bool,
        /// Bytes of memory and disks.
        done: u64,
        total: u64,
    }
    /// Ours: gives a migration up; the VM stays where it is.
    Cancel { vm_uuid: String }
    /// Ours: from this word on nothing that was sent with an older token moves the VM.
    Stay { vm_uuid: String }
    CpuAsked {}
    /// The host's CPU as libvirt compares it.
    CpuTold { cpu_xml: String, cpu_model_name: String }
    /// Fails when this host's CPU lacks what the other has.
    CompareCpu { cpu_xml: String }
}

call!(Migrate, "/vm/migrate", Async, Acts, Done);
call!(GetProgress, "/vm/migrate/progress", Async, Reads, Progress);
call!(Cancel, "/vm/migrate/cancel", Async, Reads, Done);
call!(Stay, "/vm/migrate/stay", Async, Acts, Done);
call!(CpuAsked, "/vm/get/cpu/xml", Async, Reads, CpuTold);
call!(CompareCpu, "/vm/compare/cpu/function", Async, Reads, Done);
