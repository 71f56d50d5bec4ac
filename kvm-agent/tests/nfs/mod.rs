//! Storage on an NFS share. Where the kernel of this machine has no NFS, `mount.nfs` mounts a file system in
//! memory under the share's name: all but the kernel's own part is real.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::devices::{DATA, refusal};
use super::lab::{Lab, alone};

const URL: &str = "192.0.2.1:/export/one";
/// One share has somebody else's files.
const MOUNT: &str = "#!/bin/sh\nmount -t tmpfs -o size=64m \"$1\" \"$2\" || exit\n\
                     case $1 in */theirs) echo > \"$2/file\" ;; esac\n";

/// Only in this test's own namespace of mounts.
fn mount_program() {
    let (dir, none) = ("/usr/local/sbin", None::<&str>);
    fs::create_dir_all(dir).unwrap();
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let program = format!("{dir}/mount.nfs");
    fs::write(&program, MOUNT).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn share(lab: &Lab, url: &str) -> Value {
    json!({ "uuid": "ps-nfs", "url": url, "mountPath": lab.path("nfs"), "options": "vers=3,nolock" })
}

fn is_mounted(lab: &Lab, url: &str) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&format!(" {} ", lab.path("nfs"))) && table.contains(&format!(" {url} "))
}

#[test]
fn a_share_is_mounted_once_used_and_unmounted_when_nobody_is_on_it() {
    alone("nfs::a_share_is_mounted_once_used_and_unmounted_when_nobody_is_on_it", async || {
        mount_program();
        let lab = Lab::start().await;
        let ping = "/nfsprimarystorage/ping";
        assert!(refusal(&lab, ping, share(&lab, URL)).await.contains("is not mounted"));
        let theirs = "192.0.2.1:/export/theirs";
        let refused = refusal(&lab, "/nfsprimarystorage/remount", share(&lab, theirs)).await;
        assert!(refused.contains("is not empty") && !is_mounted(&lab, theirs), "{refused}");
        for _ in 0..2 {
            let mounted = lab.sync_call("/nfsprimarystorage/mount", share(&lab, URL)).await;
            assert_eq!(mounted["totalCapacity"], 64 << 20, "{mounted}");
            assert!(is_mounted(&lab, URL));
        }
        lab.done("/nfsprimarystorage/remount", share(&lab, URL)).await;
        assert_eq!(lab.done(ping, share(&lab, URL)).await["totalCapacity"], 64 << 20);
        let other = lab.sync_call("/nfsprimarystorage/mount", share(&lab, "192.0.2.1:/export/two")).await;
        assert!(other["error"].as_str().unwrap().contains("unmount that first"), "{other}");
        let odd = lab.sync_call("/nfsprimarystorage/mount", share(&lab, "/dev/sda1")).await;
        assert!(odd["error"].as_str().unwrap().starts_with("url "), "{odd}");

        volumes(&lab).await;

        let file = File::create(lab.path("nfs/held")).unwrap();
        let busy = lab.sync_call("/nfsprimarystorage/unmount", share(&lab, URL)).await;
        assert!(busy["error"].as_str().unwrap().contains("cannot unmount"), "{busy}");
        drop(file);
        fs::remove_file(lab.path("nfs/held")).unwrap();
        let new = "192.0.2.2:/export/one";
        let update = json!({
            "uuid": "ps-nfs", "oldMountPoint": URL, "newMountPoint": new, "mountPath": lab.path("nfs"),
        });
        for _ in 0..2 {
            lab.done("/nfsprimarystorage/updatemountpoint", update.clone()).await;
            assert!(is_mounted(&lab, new) && !is_mounted(&lab, URL));
        }
        for _ in 0..2 {
            let gone = lab.sync_call("/nfsprimarystorage/unmount", share(&lab, new)).await;
            assert_eq!(gone["success"], true, "{gone}");
            assert!(!is_mounted(&lab, new));
        }
    });
}

/// The files of a share are handled as those of a host's own storage; here only that they reach it.
async fn volumes(lab: &Lab) {
    let path = lab.path(&format!("nfs/vol/{DATA}.qcow2"));
    let make = json!({ "installUrl": path, "size": 4 << 20, "volumeUuid": DATA, "name": "data" });
    for _ in 0..2 {
        assert_eq!(lab.done("/nfsprimarystorage/createemptyvolume", make.clone()).await["size"], 4 << 20);
    }
    let cached = lab.path("nfs/imagecache/template.qcow2");
    let template = json!({ "installPath": cached, "rootVolumePath": path });
    lab.done("/nfsprimarystorage/sftp/createtemplatefromvolume", template).await;
    let root = lab.path("nfs/root/root.qcow2");
    let from = json!({ "installUrl": root, "templatePathInCache": cached, "volumeUuid": DATA });
    lab.done("/nfsprimarystorage/sftp/createvolumefromtemplate", from).await;
    let chain = lab.done("/nfsprimarystorage/volume/getbackingchain", json!({ "installPath": root })).await;
    assert_eq!(chain["backingChain"], json!([cached]));
    let held = json!({ "installPath": cached, "folder": false });
    assert_eq!(lab.call("/nfsprimarystorage/delete", held.clone()).await["inUse"], true);

    let moved = lab.path("nfs/moved/root.qcow2");
    for _ in 0..2 {
        lab.done("/nfsprimarystorage/movebits", json!({ "srcPath": root, "destPath": moved })).await;
        assert!(fs::exists(&moved).unwrap() && !fs::exists(&root).unwrap());
    }
    let taken = json!({ "srcPath": moved, "destPath": cached });
    assert!(refusal(lab, "/nfsprimarystorage/movebits", taken).await.starts_with("destPath"));
    let meta = lab.path("nfs/moved/root.imf2");
    fs::write(&meta, "{}").unwrap();
    let clean = json!({ "primaryStorageInstallPath": moved });
    lab.done("/nfsprimarystorage/imagestore/meta/clean", clean).await;
    assert!(!fs::exists(meta).unwrap());
    for (path, folder) in [(lab.path("nfs/moved"), true), (cached, false), (path, false)] {
        lab.done("/nfsprimarystorage/delete", json!({ "installPath": path, "folder": folder })).await;
        assert!(!fs::exists(path).unwrap());
    }
    let outside = json!({ "installPath": "/etc/passwd" });
    assert!(refusal(lab, "/nfsprimarystorage/delete", outside).await.contains("lies in no storage"));
}
