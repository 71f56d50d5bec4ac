//! What is asked of a guest, by its guest agent or its screen (kvm-agent).

use std::collections::BTreeMap;

use super::{Done, call, message};

message! {
    /// Sets a user's password inside the guest.
    ChangePassword {
        /// ZStack's spelling.
        account_perference: Account,
    }
    Account {
        vm_uuid: String,
        user_account: String,
        account_password: String,
    }
    /// The account without its password.
    PasswordChanged { account_perference: Account }
    /// Lets the guest give unused blocks of its disks back.
    Trim { vm_uuid: String }
    /// Sets the guest's clock to the host's.
    SyncClock { vm_uuid: String }
    Screenshot { vm_uuid: String }
    /// `data:image/png;base64,…`
    ScreenshotTaken { image_data: String }
    GetToolsInfo { vm_instance_uuid: String, platform: String }
    ToolsInfo {
        /// Of the guest agent.
        version: String,
        /// `Connected` or `Disconnected`.
        status: String,
    }
    GetToolsState { vm_instance_uuids: Vec<String> }
    ToolsState { states: BTreeMap<String, ToolsInfo> }
    /// Sets the guest's name.
    SetHostname {
        vm_uuid: String,
        host_name: String,
        #[serde(rename = "defaultIP")]
        default_ip: Option<String>,
    }
}

call!(ChangePassword, "/vm/changepasswd", Async, Acts, PasswordChanged);
call!(Trim, "/vm/fstrim", Async, Acts, Done);
call!(SyncClock, "/vm/clock/sync", Async, Acts, Done);
call!(Screenshot, "/vm/console/screenshot", Async, Reads, ScreenshotTaken);
call!(GetToolsInfo, "/vm/guesttools/getinfo", Async, Reads, ToolsInfo);
call!(GetToolsState, "/vm/guesttools/state", Async, Reads, ToolsState);
call!(SetHostname, "/vm/set/hostname", Async, Acts, Done);
