//! The lab itself: what it makes works, and goes away however the lab ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cumulet_tests::guest;
use cumulet_tests::lab::program::{command, run};
use cumulet_tests::lab::{Lab, Libvirt, Spec, Veth, interface_exists};
use tokio::time::{Instant, sleep};

/// Set in the process that a test kills.
const VICTIM: &str = "CUMULET_LAB_VICTIM";

fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{name}"))
}

fn alive(pid: u32) -> bool {
    cumulet_tests::lab::Identity::of(pid as i32).is_some_and(|process| process.lives())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "not within 20 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_machine_that_stops_takes_everything_on_it_along() {
    let lab = Lab::open(&dir("stop"), "cmls").unwrap();
    let machine = lab.machine(Spec { name: "one".into(), ..Spec::default() }).unwrap();
    // The shell's child is nobody's when the shell is gone.
    let daemon = machine.daemon("shell", command("sh", ["-c", "sleep 600 & echo $!; wait"])).unwrap();
    until("two processes", || machine.processes().unwrap().len() == 2).await;
    let processes = machine.processes().unwrap();
    drop(machine);
    assert!(processes.iter().all(|pid| !alive(*pid as u32)));
    assert!(!alive(daemon.pid()));
    lab.close().unwrap();
}

#[tokio::test]
async fn orphans_on_a_machine_are_collected() {
    let lab = Lab::open(&dir("orphans"), "cmlo").unwrap();
    let machine = lab.machine(Spec { name: "one".into(), ..Spec::default() }).unwrap();
    let mut shell = machine.daemon("shell", command("sh", ["-c", "(sleep 0.2 &)"])).unwrap();
    assert!(shell.wait(Duration::from_secs(5)).await.unwrap().success());
    until("nobody left", || machine.processes().unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_machine_in_its_own_network_is_reached_through_a_link() {
    let lab = Lab::open(&dir("link"), "cmll").unwrap();
    let (inside, outside) = (lab.network("cmllin").unwrap(), lab.network("cmllout").unwrap());
    lab.veth(Veth { names: ["eth0", "eth0"], networks: [Some(&inside), Some(&outside)] }).unwrap();
    inside.address("eth0", "10.9.9.1/24").unwrap();
    outside.address("eth0", "10.9.9.2/24").unwrap();
    let spec =
        Spec { name: "web".into(), hostname: Some("web".into()), network: Some(inside), ..Spec::default() };
    let machine = lab.machine(spec).unwrap();
    let pages = lab.make_dir("pages").unwrap();
    let server = ["httpd", "-f", "-p", "10.9.9.1:80", "-h", pages.to_str().unwrap()];
    let mut server = machine.daemon("web", command("busybox", server)).unwrap();
    let address = "10.9.9.1:80".parse().unwrap();
    let mut connected = outside.connect(address, Duration::from_secs(1)).await;
    for _ in 0..50 {
        if connected.is_ok() {
            break;
        }
        server.must_live().unwrap();
        sleep(Duration::from_millis(20)).await;
        connected = outside.connect(address, Duration::from_secs(1)).await;
    }
    connected.unwrap();
    let mut name = machine.daemon("hostname", command("hostname", [""; 0])).unwrap();
    name.wait(Duration::from_secs(5)).await.unwrap();
    assert_eq!(name.last_words(1), "web");
    let mut links = machine.daemon("links", command("ls", ["/sys/class/net"])).unwrap();
    links.wait(Duration::from_secs(5)).await.unwrap();
    assert_eq!(links.last_words(9), "eth0\nlo");
    drop(machine);
    lab.close().unwrap();
    assert!(!Path::new("/run/netns/cmllin").exists());
}

#[tokio::test]
async fn a_lab_in_use_is_not_taken_over() {
    let _lab = Lab::open(&dir("use"), "cmlu").unwrap();
    let error = Lab::open(&dir("use"), "cmlu").err().unwrap().to_string();
    assert!(error.contains("is in use by another run"), "{error}");
}

#[tokio::test]
async fn what_a_killed_lab_leaves_is_removed_by_the_next() {
    if std::env::var_os(VICTIM).is_some() {
        return wait_to_be_killed().await;
    }
    let this = std::env::current_exe().unwrap();
    let pid = dir("victim").join("sleeper");
    let _of_an_earlier_run = std::fs::remove_file(&pid);
    let args = ["--exact", "--nocapture", "lab::what_a_killed_lab_leaves_is_removed_by_the_next"];
    let mut victim = command(this.to_str().unwrap(), args);
    let mut victim = victim.env(VICTIM, "1").stdout(Stdio::null()).spawn().unwrap();
    until("the victim's lab stands", || pid.exists() || victim.try_wait().unwrap().is_some()).await;
    let sleeper: u32 = std::fs::read_to_string(&pid).unwrap().parse().unwrap();
    assert!(alive(sleeper));
    assert!(interface_exists("cmlv0"));
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the kernel ended the machine", || !alive(sleeper)).await;
    let lab = Lab::open(&dir("victim"), "cmlv").unwrap();
    assert!(!interface_exists("cmlv0"));
    assert!(!interface_exists("cmlv2"));
    assert!(!interface_exists("cmlvbr"));
    assert!(!Path::new("/run/netns/cmlvnet").exists());
    lab.close().unwrap();
}

/// The test above in a process of its own.
async fn wait_to_be_killed() {
    let lab = Lab::open(&dir("victim"), "cmlv").unwrap();
    let network = lab.network("cmlvnet").unwrap();
    lab.veth(Veth { names: ["cmlv0", "eth0"], networks: [None, Some(&network)] }).unwrap();
    lab.veth(Veth { names: ["cmlv2", "cmlv3"], networks: [None, None] }).unwrap();
    lab.will_remove_bridge("cmlvbr").unwrap();
    run("ip", ["link", "add", "cmlvbr", "type", "bridge"]).unwrap();
    run("ip", ["link", "set", "cmlv0", "master", "cmlvbr"]).unwrap();
    let machine = lab.machine(Spec { name: "one".into(), ..Spec::default() }).unwrap();
    let daemon = machine.daemon("sleep", command("sleep", ["600"])).unwrap();
    let pid = dir("victim").join("sleeper");
    std::fs::write(pid.with_extension("new"), daemon.pid().to_string()).unwrap();
    std::fs::rename(pid.with_extension("new"), pid).unwrap();
    sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn libvirt_on_a_machine_runs_a_guest_that_ends_with_the_machine() {
    let lab = Lab::open(&dir("libvirt"), "cmlk").unwrap();
    let home = lab.make_dir("libvirt").unwrap();
    let libvirt = Libvirt::lay_out(&home, "6cbb6bd4-3f6c-4a4f-a6f7-6ad6b6c5b0a1", None).unwrap();
    let spec = Spec { name: "hv".into(), binds: libvirt.binds(), ..Spec::default() };
    let machine = lab.machine(spec).unwrap();
    let _daemon = libvirt.start(&machine).await.unwrap();
    let disk = guest::nano(lab.dir()).unwrap();
    let serial = lab.dir().join("serial.log");
    let _new = std::fs::remove_file(&serial);
    let domain = lab.dir().join("nano.xml");
    std::fs::write(&domain, nano_domain(&disk, &serial)).unwrap();
    run("virsh", ["-c", &Libvirt::uri(&machine), "create", domain.to_str().unwrap()]).unwrap();
    until("the guest speaks", || {
        std::fs::read_to_string(&serial).unwrap_or_default().contains(guest::MARKER)
    })
    .await;
    let processes = machine.processes().unwrap();
    assert_eq!(processes.len(), 2, "libvirt and one guest");
    drop(machine);
    assert!(processes.iter().all(|pid| !alive(*pid as u32)));
}

fn nano_domain(disk: &Path, serial: &Path) -> String {
    format!(
        "<domain type='qemu'><name>nano</name><memory unit='MiB'>16</memory>\
         <os><type machine='q35'>hvm</type></os><devices>\
         <disk type='file'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda'/></disk>\
         <serial type='file'><source path='{}'/></serial></devices></domain>",
        disk.display(),
        serial.display()
    )
}
