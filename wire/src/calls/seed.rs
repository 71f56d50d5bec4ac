//! What a guest is told of itself before anybody can log in to it: a small disc labelled `cidata`, which
//! cloud-init and its like read (kvm-agent). Ours.

use super::{Done, call, message};

message! {
    /// What a VM's disc says.
    Seed {
        /// While it stays the same, the guest takes itself for the same.
        instance_id: String,
        host_name: Option<String>,
        /// Lines of an `authorized_keys` file.
        ssh_keys: Vec<String>,
        /// In base64; none when empty.
        user_data: String,
        nics: Vec<SeedNic>,
    }
    /// How a NIC gets its address.
    SeedNic {
        mac: String,
        /// Such as `10.0.0.5/24`; by DHCP without one.
        address: Option<String>,
        gateway: Option<String>,
        dns: Vec<String>,
    }
    /// The disc of a VM that is on the host, as it is.
    Read { vm_uuid: String }
    SeedTold {
        /// In base64; the VM has none when it is absent.
        disc: Option<String>,
    }
    /// Puts a disc that another host has told in its place, for a VM that is to come.
    Write { vm_uuid: String, disc: String }
}

call!(Read, "/vm/seed/read", Async, Reads, SeedTold);
call!(Write, "/vm/seed/write", Async, Acts, Done);
