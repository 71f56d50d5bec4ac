//! `/console/*`: the console proxy.

use super::{Done, call, message};

message! {
    /// Lets one viewer with `token` through to the target, once, until `expired_date`.
    Establish {
        token: String,
        /// `ws`: a kvm-agent's `/vm/console/{token}`; `vnc`: a plain RFB port.
        target_schema: String,
        target_hostname: String,
        target_port: u16,
        proxy_hostname: String,
        proxy_port: u16,
        vm_uuid: String,
        scheme: String,
        idle_timeout: u64,
        vnc_token_timeout: u64,
        /// Unix time in milliseconds.
        expired_date: u64,
    }
    Established { proxy_port: u16, token: String }
    Check { token: String }
    Checked { available: bool }
    /// Cuts the viewer off and forgets the token; succeeds when it is unknown.
    Delete { token: String, vm_uuid: String }
    Ping {}
}

call!(Establish, "/console/establish", Async, Reads, Established);
call!(Check, "/console/check", Async, Reads, Checked);
call!(Delete, "/console/delete", Async, Acts, Done);
call!(Ping, "/console/ping", Sync, Reads, Done);
