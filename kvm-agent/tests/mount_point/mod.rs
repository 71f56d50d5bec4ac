//! Storage in a directory that several hosts have mounted.

use std::fs;

use nix::mount::{MsFlags, mount};
use serde_json::json;

use super::devices::{DATA, VM, nano, plugged, prepared, refusal, volume};
use super::lab::alone;

const CONNECT: &str = "/sharedmountpointprimarystorage/connect";

#[test]
fn a_share_is_opened_where_it_is_mounted_and_nowhere_else() {
    alone("mount_point::a_share_is_opened_where_it_is_mounted_and_nowhere_else", async || {
        let lab = prepared().await;
        let share = lab.path("share");
        let connect = |uuid: &str| json!({ "uuid": uuid, "mountPoint": share, "existUuids": ["ps-2"] });
        assert!(refusal(&lab, CONNECT, connect("ps-2")).await.contains("mount the share"));
        fs::create_dir_all(&share).unwrap();
        assert!(refusal(&lab, CONNECT, connect("ps-2")).await.contains("lies on the root file system"));
        let none: Option<&str> = None;
        mount(Some("tmpfs"), share.as_str(), Some("tmpfs"), MsFlags::empty(), none).unwrap();
        for is_first in [true, false] {
            assert_eq!(lab.done(CONNECT, connect("ps-2")).await["isFirst"], is_first);
        }
        let error = refusal(&lab, CONNECT, connect("ps-3")).await;
        assert!(error.contains("is primary storage ps-2"), "{error}");

        let path = format!("{share}/{DATA}.qcow2");
        let make = json!({ "mountPoint": share, "installPath": path, "size": 4 << 20, "volumeUuid": DATA });
        let made = lab.done("/sharedmountpointprimarystorage/volume/createempty", make).await;
        assert_eq!(made["size"], 4 << 20);
        nano(&lab, json!({})).await;
        let mut volume = volume(&lab, DATA);
        volume["installPath"] = json!(path);
        lab.done("/vm/attachdatavolume", plugged(&volume)).await;
        let delete = json!({ "mountPoint": share, "path": path });
        let refused = lab.call("/sharedmountpointprimarystorage/bits/delete", delete.clone()).await;
        assert_eq!(refused["inUse"], true, "{refused}");
        lab.done("/vm/destroy", json!({ "uuid": VM })).await;
        lab.done("/sharedmountpointprimarystorage/bits/delete", delete).await;
        assert!(!fs::exists(path).unwrap());
    });
}
