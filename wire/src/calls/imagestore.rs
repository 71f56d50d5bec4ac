//! `/sftpbackupstorage/*`: the image store as a backup storage (storage-agent). The paths are those of
//! ZStack's sftp backup storage; the bits travel by HTTP (`GET /images/{uuid}`), no key leaves the agent.

use super::{Done, call, message};

message! {
    /// Opens the store below `storage_path`.
    Connect {
        uuid: String,
        storage_path: String,
        send_command_url: String,
    }
    /// Ours: forgets the store and takes its mark off the directory, when no image is left in it; succeeds
    /// when it is unknown.
    Disconnect { uuid: String }
    Capacity {
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    Echo {}
    Ping { uuid: String }
    Pong {
        uuid: String,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    /// Imports an image from a URL (`http`, `https`, `file`) or waits for its upload (`upload://name`) to
    /// `PUT /images/{uuid}?token=…`. Inspected before it is accepted; succeeds when it is there already.
    Download {
        uuid: String,
        image_uuid: String,
        /// `images/<image uuid>/image`, as it is or below the storage path.
        install_path: String,
        url: String,
        /// Seconds that the whole import may take; 0: two hours.
        timeout: u64,
        url_scheme: Option<String>,
        /// Ours: what the uploader must present.
        upload_token: Option<String>,
        /// Ours: the format the user named; another one found is refused.
        format: Option<String>,
    }
    Downloaded {
        #[serde(rename = "md5Sum")]
        md5_sum: String,
        /// Ours.
        sha256: String,
        /// Virtual size, bytes.
        size: u64,
        /// Bytes of the file.
        actual_size: u64,
        /// `qcow2`, `raw` or `iso`.
        format: String,
        total_capacity: Option<u64>,
        available_capacity: Option<u64>,
    }
    Delete { uuid: String, install_url: String }
    GetImageSize {
        uuid: String,
        image_uuid: String,
        install_path: String,
    }
    ImageSize { size: u64, actual_size: u64 }
    /// Ours: how far a download or upload is.
    GetProgress { image_uuid: String }
    Progress {
        /// Bytes received.
        done: u64,
        /// Bytes expected; absent when unknown.
        total: Option<u64>,
    }
}

call!(Connect, "/sftpbackupstorage/connect", Sync, Acts, Capacity);
call!(Disconnect, "/sftpbackupstorage/disconnect", Async, Acts, Done);
call!(Echo, "/sftpbackupstorage/echo", Sync, Reads, Done);
call!(Ping, "/sftpbackupstorage/ping", Async, Reads, Pong);
call!(Download, "/sftpbackupstorage/download", Async, Acts, Downloaded);
call!(Delete, "/sftpbackupstorage/delete", Async, Acts, Capacity);
call!(GetImageSize, "/sftpbackupstorage/getimagesize", Async, Reads, ImageSize);
call!(GetProgress, "/sftpbackupstorage/progress", Sync, Reads, Progress);
