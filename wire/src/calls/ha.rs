//! `/ha/*`: what keeps two hosts from writing to one disk when one of them is given up (kvm-agent). Of ZStack's
//! are `selffencer` and `scanhost`; `lease` is ours.
//!
//! A host that has a fencer renews a lease on each shared storage, or ends its VMs there. Who wants to give it up
//! watches the lease, then fences, which is refused to him when the lease was renewed meanwhile.

use serde::{Deserialize, Serialize};

use super::{Done, call, message};

message! {
    /// Sets the fencer up for the storages named; one that is known is set up anew. Member `i` of every list
    /// belongs to storage `i`. Succeeds when the leases are held. After the host was fenced on a storage nothing
    /// is started there until this comes again.
    SetupSelfFencer {
        host_uuid: String,
        /// Seconds between two renewals.
        interval: u64,
        /// After `interval * max_attempts` seconds without a renewal the VMs on the storage are killed.
        max_attempts: u64,
        mount_paths: Vec<String>,
        /// Of the storages.
        uuids: Vec<String>,
        urls: Vec<String>,
        mount_options: Vec<String>,
        #[serde(rename = "mountedByZStack")]
        mounted_by_zstack: Vec<bool>,
        storage_checker_timeout: u64,
        /// `Permissive` spares the VMs and only reports; anything else kills.
        strategy: String,
        fencers: Vec<String>,
    }
    /// Takes the fencer from storages, and their leases away; succeeds when there is none. An unknown storage is
    /// passed over.
    CancelSelfFencer { ps_uuids: Vec<String>, host_uuid: String }
    /// Whether another machine answers at all.
    ScanHost {
        ip: String,
        /// Seconds between two questions.
        interval: u64,
        /// Questions until it counts as silent.
        times: u64,
        success_interval: u64,
        /// Answers in a row, `success_interval` seconds apart, until it counts as answering.
        success_times: u64,
    }
    Scanned {
        /// `success`: it answers; `noReply`: it does not; `failure`: this host could not ask.
        result: String,
    }
    /// Ours: watches the lease of another host for at most `seconds`.
    WatchLease {
        storage_uuid: String,
        mount_path: String,
        host_uuid: String,
        seconds: u64,
    }
    LeaseWatched {
        state: LeaseState,
        /// The last one seen.
        sequence: u64,
        /// How many whole seconds it was seen not to change, by this host's clock.
        watched: u64,
    }
    /// Ours: gives another host up on a storage. Refused (`fenced` is false) when its lease is no longer at
    /// `sequence`, or gone. May be repeated.
    FenceLease {
        storage_uuid: String,
        mount_path: String,
        host_uuid: String,
        sequence: u64,
    }
    LeaseFenced {
        fenced: bool,
        /// That of the lease now.
        sequence: u64,
    }
    /// What the agent tells of its own accord at [`REPORT_SELF_FENCER`]: VMs were killed, or would have been.
    SelfFencerReport {
        host_uuid: String,
        ps_uuids: Vec<String>,
        /// Uuids of VMs, separated by commas.
        #[serde(rename = "vmUuidsString")]
        vm_uuids: String,
        reason: String,
        /// The storage could not be written to; false: another host has fenced this one.
        fencer_failure: bool,
    }
}

/// What came of watching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaseState {
    /// The sequence changed: the host lives.
    Renewed,
    /// It did not change for as long as was asked.
    Silent,
    /// There is no lease: this says nothing about the host.
    #[default]
    Absent,
}

/// The subject ([`crate::call::COMMAND_PATH`]) of a [`SelfFencerReport`].
pub const REPORT_SELF_FENCER: &str = "/kvm/reportselffencer";

/// Code of a [`crate::Fault`]: a VM may not start here, for this host does not hold the lease of its storage, or
/// was fenced there and has not been set up since.
pub const NO_LEASE: &str = "NO_LEASE";

call!(SetupSelfFencer, "/ha/selffencer/setup", Async, Acts, Done);
call!(CancelSelfFencer, "/ha/selffencer/cancel", Async, Acts, Done);
call!(ScanHost, "/ha/scanhost", Async, Reads, Scanned);
call!(WatchLease, "/ha/lease/watch", Async, Reads, LeaseWatched);
call!(FenceLease, "/ha/lease/fence", Async, Acts, LeaseFenced);
