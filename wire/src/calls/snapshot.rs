//! `/vm/volume/*`: snapshots of volumes that a VM may have open (kvm-agent). A snapshot is a layer of a
//! qcow2 chain: what was the volume's file becomes the snapshot, and the volume goes on in a new file that
//! stands on it.

use std::collections::BTreeMap;

use super::vm::Volume;
use super::{Done, call, message};

message! {
    /// Of a running VM: the volume goes on at `install_path`. Of one that is off, or none: at
    /// `new_volume_install_path`, or beside `install_path` under the task's name. A full snapshot of a
    /// volume nobody has open is a copy at `install_path`.
    Take {
        vm_uuid: Option<String>,
        volume_uuid: String,
        volume: Volume,
        install_path: String,
        full_snapshot: bool,
        /// Where the volume is now.
        volume_install_path: String,
        new_volume_uuid: Option<String>,
        new_volume_install_path: Option<String>,
        online: bool,
        timeout: u64,
    }
    Taken {
        new_volume_install_path: String,
        snapshot_install_path: String,
        /// Bytes on the disk; never 0.
        size: u64,
    }
    /// Snapshots of several volumes at one moment.
    TakeMany { snapshot_jobs: Vec<Job> }
    Job {
        vm_instance_uuid: Option<String>,
        volume_uuid: String,
        /// Where the volume goes on.
        install_path: String,
        previous_install_path: String,
        new_volume_install_path: Option<String>,
        live: bool,
        full: bool,
        volume: Volume,
    }
    TakenMany { snapshots: Vec<TakenOne> }
    TakenOne {
        volume_uuid: String,
        previous_install_path: String,
        install_path: String,
        size: u64,
    }
    /// The chain of the volume must hold these paths, the one of the highest number on top.
    Check {
        vm_uuid: Option<String>,
        volume_uuid: String,
        current_install_path: String,
        exclude_install_paths: Vec<String>,
        volume_chain_to_check: BTreeMap<String, i64>,
    }
    /// Puts the volume of a running VM directly on `src_path`, or on nothing: what lay between is copied
    /// into it.
    Merge {
        vm_uuid: String,
        volume: Volume,
        src_path: String,
        dest_path: String,
        full_rebase: bool,
    }
    /// Writes the layers from `top` down into `base`, which they stood on.
    Commit {
        vm_uuid: String,
        volume_uuid: String,
        volume: Volume,
        top: String,
        base: String,
    }
    Committed { new_volume_install_path: String, size: u64 }
    /// Copies all that the volume of a running VM stands on into it.
    Stream { vm_uuid: String, volume: Volume }
    /// What runs on the disks of a VM.
    QueryJobs { vm_uuid: String }
    JobsTold { jobs: Vec<JobTold> }
    JobTold {
        volume_uuid: String,
        /// `pull`, `copy`, `commit`, `active-commit` or `backup`.
        kind: String,
        done: u64,
        total: u64,
    }
}

call!(Take, "/vm/volume/takesnapshot", Async, Acts, Taken);
call!(TakeMany, "/vm/volumes/takesnapshot", Async, Acts, TakenMany);
call!(Check, "/vm/volume/checksnapshot", Async, Reads, Done);
call!(Merge, "/vm/volume/mergesnapshot", Async, Acts, Done);
call!(Commit, "/vm/volume/blockcommit", Async, Acts, Committed);
call!(Stream, "/vm/volume/blockstream", Async, Acts, Done);
call!(QueryJobs, "/vm/volume/queryblockjobstatus", Async, Reads, JobsTold);
