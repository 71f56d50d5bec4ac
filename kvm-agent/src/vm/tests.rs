//! The life of a VM on libvirt's test driver: no guest, no process, but states and their changes.

use std::path::Path;

use wire::agent::Cx;
use wire::calls::localstorage::Init;
use wire::calls::vm::{
    CheckState, Destroy, GetVncPort, OpenConsole, Pause, Reboot, Resume, Start, Stop, Sync, Volume,
};

use super::*;
use crate::localstorage::init;
use crate::state::Host;
use crate::testing;

/// A VM of this test's own: the test driver is one for all tests.
async fn prepared(dir: &Path, digit: char) -> (Cx<Host>, Start) {
    let cx = testing::host(&dir.join("state"));
    let storage = dir.join("ps").to_str().unwrap().to_owned();
    init(cx.clone(), Init { uuid: "ps".into(), path: storage.clone(), ..Init::default() }).await.unwrap();
    let disk = format!("{storage}/disk.raw");
    std::fs::write(&disk, [0; 512]).unwrap();
    let root_volume =
        Volume { install_path: disk, format: "raw".into(), use_virtio: true, ..Volume::default() };
    let uuid = String::from_iter([digit; 32]);
    (cx, Start { vm_instance_uuid: uuid, memory: 64 << 20, cpu_num: 1, root_volume, ..Start::default() })
}

async fn state(cx: &Cx<Host>, uuid: &str) -> String {
    let cmd = CheckState { vm_uuids: vec![uuid.into()], ..CheckState::default() };
    check_state(cx.clone(), cmd).await.unwrap().states[uuid].clone()
}

#[tokio::test]
async fn a_vm_lives_through_all_its_states_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, cmd) = prepared(dir.path(), 'a').await;
    let uuid = cmd.vm_instance_uuid.clone();
    assert_eq!(state(&cx, &uuid).await, "Shutdown");
    for _ in 0..2 {
        start(cx.clone(), cmd.clone()).await.unwrap();
        assert_eq!(state(&cx, &uuid).await, "Running");
    }
    for _ in 0..2 {
        pause(cx.clone(), Pause { uuid: uuid.clone(), timeout: 1 }).await.unwrap();
        assert_eq!(sync(cx.clone(), Sync::default()).await.unwrap().states[&uuid], "Paused");
    }
    for _ in 0..2 {
        resume(cx.clone(), Resume { uuid: uuid.clone(), timeout: 1 }).await.unwrap();
        assert_eq!(state(&cx, &uuid).await, "Running");
    }
    for _ in 0..2 {
        stop(cx.clone(), Stop { uuid: uuid.clone(), kind: "grace".into(), timeout: 1 }).await.unwrap();
        assert!(!sync(cx.clone(), Sync::default()).await.unwrap().states.contains_key(&uuid));
    }
    for _ in 0..2 {
        destroy(cx.clone(), Destroy { uuid: uuid.clone() }).await.unwrap();
    }
    let paused = pause(cx.clone(), Pause { uuid: uuid.clone(), timeout: 1 }).await;
    assert!(paused.unwrap_err().error.contains("is not running on this host"));
}

/// A shell that waits under the name and with the arguments of a QEMU.
#[expect(clippy::disallowed_methods, reason = "the product starts no QEMU itself")]
fn lost_qemu(uuid: &str) -> std::process::Child {
    use std::os::unix::process::CommandExt;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg0("qemu-system-x86_64").args(["-c", "read x", "-uuid", &crate::sys::domain_xml::dashed(uuid)]);
    shell.stdin(std::process::Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn a_vm_whose_qemu_libvirt_has_lost_is_told_as_running() {
    let dir = tempfile::tempdir().unwrap();
    let cx = testing::host(dir.path());
    let uuid = "9a".repeat(16);
    assert_eq!(state(&cx, &uuid).await, "Shutdown");
    let mut qemu = lost_qemu(&uuid);
    while qemu_process_is_absent(&uuid) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(state(&cx, &uuid).await, "Running");
    assert_eq!(sync(cx.clone(), Sync::default()).await.unwrap().states[&uuid], "Running");
    drop(qemu.stdin.take());
    qemu.wait().unwrap();
    assert_eq!(state(&cx, &uuid).await, "Shutdown");
}

/// Between fork and exec it has our own arguments.
fn qemu_process_is_absent(uuid: &str) -> bool {
    crate::sys::qemu_process::find(uuid).unwrap().is_none()
}

#[tokio::test]
async fn a_paused_vm_is_replaced_by_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, cmd) = prepared(dir.path(), 'b').await;
    let uuid = cmd.vm_instance_uuid.clone();
    start(cx.clone(), cmd.clone()).await.unwrap();
    pause(cx.clone(), Pause { uuid: uuid.clone(), timeout: 1 }).await.unwrap();
    start(cx.clone(), cmd).await.unwrap();
    assert_eq!(state(&cx, &uuid).await, "Running");
    destroy(cx, Destroy { uuid }).await.unwrap();
}

#[tokio::test]
async fn a_reboot_that_was_interrupted_is_finished_and_one_that_was_done_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, cmd) = prepared(dir.path(), 'c').await;
    let uuid = cmd.vm_instance_uuid.clone();
    let again = || Reboot { uuid: uuid.clone(), timeout: 1, boot_dev: vec!["hd".into()] };
    assert!(reboot(cx.clone(), again()).await.is_err());
    start(cx.clone(), cmd).await.unwrap();
    reboot(cx.clone(), again()).await.unwrap();
    let id = |cx: Cx<Host>| async move { cx.libvirt.restartable_xml(&"c".repeat(32)).await.unwrap() };
    let first = id(cx.clone()).await;
    assert!(first.contains("restarted-by"), "{first}");

    // The same task again: a VM that was paused since then stays as it is.
    pause(cx.clone(), Pause { uuid: uuid.clone(), timeout: 1 }).await.unwrap();
    reboot(cx.clone(), again()).await.unwrap();
    assert_eq!(state(&cx, &uuid).await, "Paused");

    // As a death of the agent between end and start leaves it.
    let note = dir.path().join("state/restarts").join(format!("{uuid}.xml"));
    std::fs::write(&note, &first).unwrap();
    cx.libvirt.power_off(&uuid).await.unwrap();
    reboot(cx.clone(), again()).await.unwrap();
    assert_eq!(state(&cx, &uuid).await, "Running");
    assert!(!note.exists());
    destroy(cx, Destroy { uuid }).await.unwrap();
}

#[tokio::test]
async fn a_disk_outside_of_every_storage_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, mut cmd) = prepared(dir.path(), 'd').await;
    let inside = cmd.root_volume.install_path.clone();
    for (path, reason) in [
        ("/etc/passwd".to_owned(), "lies in no storage"),
        (format!("{}/../../outside", dir.path().join("ps").display()), "is not absolute and plain"),
        (inside.replace("disk.raw", "none.raw"), "is not there"),
    ] {
        cmd.root_volume.install_path = path;
        let error = start(cx.clone(), cmd.clone()).await.unwrap_err().error;
        assert!(error.contains(reason), "{error}");
    }
    cmd.root_volume.install_path = inside;
    cmd.root_volume.format = "qcow2".into();
    let error = start(cx, cmd).await.unwrap_err().error;
    assert!(error.contains("is raw, not qcow2"), "{error}");
}

#[tokio::test]
async fn a_nic_without_its_bridge_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (cx, mut cmd) = prepared(dir.path(), 'e').await;
    cmd.nics = vec![wire::calls::vm::Nic { bridge_name: "br_none".into(), ..Default::default() }];
    let error = start(cx, cmd).await.unwrap_err().error;
    assert!(error.contains("can not find bridge[br_none]"), "{error}");
}

#[tokio::test]
async fn a_vm_that_is_not_here_has_no_screen() {
    let dir = tempfile::tempdir().unwrap();
    let cx = testing::host(dir.path());
    let vm_uuid = "f".repeat(32);
    let asked = get_vnc_port(cx.clone(), GetVncPort { vm_uuid: vm_uuid.clone() }).await;
    assert!(asked.unwrap_err().error.contains("is not running on this host"));
    let cmd = OpenConsole { vm_uuid, token: "0123456789abcdef".into(), expires: u64::MAX };
    assert!(open_console(cx, cmd).await.is_err());
}

#[tokio::test]
async fn a_guests_disc_is_made_anew_by_each_start_and_goes_with_the_vm() {
    use wire::calls::seed::{Read, Seed, Write};
    let dir = tempfile::tempdir().unwrap();
    let (cx, mut cmd) = prepared(dir.path(), '7').await;
    let uuid = cmd.vm_instance_uuid.clone();
    let disc = async || {
        let read = crate::seed::read(cx.clone(), Read { vm_uuid: uuid.clone() }).await;
        read.unwrap().disc
    };
    let said =
        |name: &str| Seed { instance_id: uuid.clone(), host_name: Some(name.into()), ..Seed::default() };
    cmd.seed = Some(said("one"));
    start(cx.clone(), cmd.clone()).await.unwrap();
    let first = disc().await.unwrap();
    assert!(cx.libvirt.restartable_xml(&uuid).await.unwrap().contains("/seeds/7777"));
    let owned = crate::inventory::list(cx.state().clone()).await.unwrap();
    let of_seed = owned.iter().filter(|owned| owned.kind == "seed").map(|owned| owned.resource.clone());
    assert_eq!(of_seed.collect::<Vec<_>>(), [Some(uuid.clone())]);
    // One that comes from elsewhere does not take the place of that which the guest has.
    let write = Write { vm_uuid: uuid.clone(), disc: String::new() };
    crate::seed::write(cx.clone(), write.clone()).await.unwrap();
    reboot(cx.clone(), Reboot { uuid: uuid.clone(), timeout: 1, ..Reboot::default() }).await.unwrap();
    assert_eq!(disc().await, Some(first.clone()));
    cx.libvirt.power_off(&uuid).await.unwrap();
    cmd.seed = Some(said("two"));
    start(cx.clone(), cmd.clone()).await.unwrap();
    assert_ne!(disc().await.unwrap(), first);
    stop(cx.clone(), Stop { uuid: uuid.clone(), kind: "cold".into(), timeout: 1 }).await.unwrap();
    assert_eq!(disc().await, None);

    crate::seed::write(cx.clone(), Write { disc: first.clone(), ..write }).await.unwrap();
    assert_eq!(disc().await, Some(first));
    clean_firmware(cx.clone(), wire::calls::vm::CleanFirmware { vm_uuid: uuid.clone() }).await.unwrap();
    assert_eq!(disc().await, None);
}
