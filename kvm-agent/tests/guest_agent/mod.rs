//! The QEMU guest agent, the real one, inside a guest: it comes on a disk of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cumulet_tests::lab::program::run;
use serde_json::json;

use super::devices::{DATA, VM, booted, plugged, prepared};
use super::lab::guest::{self, Guest};
use super::lab::{Lab, alone};

const DISK: &str = "77777777777777777777777777777777";

/// The agent with all its libraries, on a file system.
fn disk(lab: &Lab) -> String {
    let root = lab.path("qga");
    fs::create_dir_all(format!("{root}/lib")).unwrap();
    fs::copy("/usr/sbin/qemu-ga", format!("{root}/qemu-ga")).unwrap();
    let libraries = run("ldd", ["/usr/sbin/qemu-ga"]).unwrap();
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        fs::copy(path, format!("{root}/lib/{}", path.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    let image = lab.path("ps/qga.raw");
    run("mke2fs", ["-q", "-t", "ext4", "-d", &root, &image, "24m"]).unwrap();
    image
}

/// Begins it, with the programs that it needs and this guest lacks.
async fn begin(guest: &mut Guest) {
    for command in [
        "mount -o ro /dev/vdc /mnt; mkdir -p /run/qga /run/bin /dev/virtio-ports; ln -s /bin /sbin",
        "for p in /sys/class/virtio-ports/*; do ln -sf /dev/${p##*/} /dev/virtio-ports/$(cat $p/name); done",
        "printf '#!/bin/sh\\ncat >/run/passwords\\n' >/run/bin/chpasswd; chmod +x /run/bin/chpasswd",
        "(PATH=/bin:/run/bin /mnt/lib/ld-linux-x86-64.so.2 --library-path /mnt/lib /mnt/qemu-ga -t /run/qga \
         -p /dev/virtio-ports/org.qemu.guest_agent.0 >/run/qga.log 2>&1 &)",
    ] {
        guest.says(command).await;
    }
}

#[test]
fn a_guests_agent_sets_passwords_names_and_clocks() {
    guest::image();
    alone("guest_agent::a_guests_agent_sets_passwords_names_and_clocks", async || {
        let lab = prepared().await;
        let (mut guest, _) = booted(&lab).await;
        let asked = json!({ "vmInstanceUuid": VM });
        assert_eq!(lab.done("/vm/guesttools/getinfo", asked.clone()).await["status"], "Disconnected");
        let volume =
            json!({ "installPath": disk(&lab), "volumeUuid": DISK, "format": "raw", "useVirtio": true });
        lab.done("/vm/attachdatavolume", plugged(&volume)).await;
        guest.comes_to_say("ls /dev/vdc", "/dev/vdc").await;
        begin(&mut guest).await;

        let patience = Instant::now() + Duration::from_secs(30);
        while lab.done("/vm/guesttools/getinfo", asked.clone()).await["status"] != "Connected" {
            assert!(Instant::now() < patience, "{}", guest.says("cat /run/qga.log").await);
        }
        let told = lab.done("/vm/guesttools/state", json!({ "vmInstanceUuids": [VM, DATA] })).await;
        assert_eq!(told["states"][VM]["status"], "Connected", "{told}");
        assert_eq!(told["states"][DATA]["status"], "Disconnected", "{told}");

        let account = json!({ "vmUuid": VM, "userAccount": "root", "accountPassword": "sesame" });
        let told = lab.done("/vm/changepasswd", json!({ "accountPerference": account })).await;
        assert!(!told.to_string().contains("sesame") && !lab.log().contains("sesame"), "{told}");
        assert_eq!(guest.says("cat /run/passwords").await, "root:sesame");
        lab.done("/vm/set/hostname", json!({ "vmUuid": VM, "hostName": "renamed" })).await;
        guest.comes_to_say("hostname", "renamed").await;
        let outcome = lab.call("/vm/set/hostname", json!({ "vmUuid": VM, "hostName": "-f /etc" })).await;
        assert!(outcome["error"].as_str().unwrap().contains("is not sound"), "{outcome}");
        guest.says("date -s '2001-01-01 00:00:00'").await;
        lab.done("/vm/clock/sync", json!({ "vmUuid": VM })).await;
        assert!(!guest.says("date +%Y").await.contains("2001"));
        lab.done("/vm/fstrim", json!({ "vmUuid": VM })).await;
    });
}
