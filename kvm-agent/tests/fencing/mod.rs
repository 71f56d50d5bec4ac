//! The fencer: leases go on whoever dies, and VMs end when a lease is lost. Real QEMUs, on file systems that are
//! frozen and taken away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::lab::{Lab, alone, eventually, nano_disk, qemus};

const HOST: &str = "11111111111111111111111111111111";
/// Seconds.
const INTERVAL: u64 = 1;
const ATTEMPTS: u64 = 3;
/// Within these another fencer comes, on a machine that first reads its program from a slow disk, too.
const MORE_ATTEMPTS: u64 = 8;
/// What a lease lasts, and what the end of a VM may take.
const DEADLINE: Duration = Duration::from_secs(INTERVAL * ATTEMPTS + 2);

/// A file system of its own, thawed when it is dropped: who waits for a frozen one cannot even be killed.
struct Share {
    path: String,
    uuid: String,
}

impl Share {
    fn mount(lab: &Lab, name: &str, kind: &str) -> Share {
        let path = lab.path(name);
        fs::create_dir_all(&path).unwrap();
        match kind {
            "ext4" => {
                // In memory: it hangs when the test says so, and not when a disk is busy.
                let image = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
                image.as_file().set_len(64 << 20).unwrap();
                let image = image.path().to_str().unwrap();
                run("mkfs.ext4", &["-q", image]);
                run("mount", &["-o", "loop", image, &path]);
            }
            kind => run("mount", &["-t", kind, kind, &path]),
        }
        Share { path, uuid: format!("ps-{name}") }
    }

    async fn open(&self, lab: &Lab) {
        let connect = json!({ "uuid": self.uuid, "mountPoint": self.path });
        lab.done("/sharedmountpointprimarystorage/connect", connect).await;
    }

    fn set_up(&self) -> Value {
        self.set_up_with(ATTEMPTS)
    }

    fn set_up_with(&self, attempts: u64) -> Value {
        json!({
            "hostUuid": HOST, "interval": INTERVAL, "maxAttempts": attempts, "uuids": [self.uuid],
            "mountPaths": [self.path], "strategy": "Force",
        })
    }

    fn lease(&self, command: Value) -> Value {
        let mut lease = json!({ "storageUuid": self.uuid, "mountPath": self.path, "hostUuid": HOST });
        lease.as_object_mut().unwrap().extend(command.as_object().unwrap().clone());
        lease
    }

    async fn sequence(&self, lab: &Lab) -> u64 {
        let watched = lab.done("/ha/lease/watch", self.lease(json!({ "seconds": 10 }))).await;
        assert_eq!(watched["state"], "renewed", "{watched}\n{}", lab.log());
        watched["sequence"].as_u64().unwrap()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = command("fsfreeze", &["-u", &self.path]).status();
    }
}

#[expect(clippy::disallowed_methods, reason = "what an operator does beside the agent")]
fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stderr(std::process::Stdio::null());
    command
}

fn run(program: &str, args: &[&str]) {
    assert!(command(program, args).status().unwrap().success(), "{program} {args:?}");
}

/// A VM with its disk on the share.
struct Vm {
    uuid: String,
    start: Value,
}

impl Vm {
    fn on(share: &Share, number: usize) -> Vm {
        let uuid = format!("{number:032x}");
        let root = format!("{}/{uuid}.raw", share.path);
        fs::write(&root, nano_disk()).unwrap();
        let start = json!({
            "vmInstanceUuid": uuid, "vmName": "nano", "memory": 64 << 20, "cpuNum": 1, "bootDev": ["hd"],
            "rootVolume": {
                "installPath": root, "deviceType": "file", "volumeUuid": uuid, "useVirtio": true, "format": "raw",
            },
        });
        Vm { uuid, start }
    }

    async fn started(self, lab: &Lab) -> Vm {
        lab.done("/vm/start", self.start.clone()).await;
        assert!(self.runs());
        let told = lab.done("/vm/checkstate", json!({ "vmUuids": [self.uuid] })).await;
        assert_eq!(told["states"][&self.uuid], "Running", "it is not left paused");
        self
    }

    fn runs(&self) -> bool {
        let uuid = &self.uuid;
        let parts = [&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]];
        qemus(&parts.join("-")).len() == 1
    }

    async fn refusal(&self, lab: &Lab) -> String {
        let refused = lab.call("/vm/start", self.start.clone()).await;
        assert_eq!((&refused["success"], &refused["code"]), (&json!(false), &json!("NO_LEASE")), "{refused}");
        assert!(!self.runs());
        refused["error"].as_str().unwrap().to_owned()
    }

    async fn ends_in_time(&self, since: Instant) {
        while self.runs() {
            assert!(since.elapsed() < DEADLINE, "it runs longer than its lease");
            sleep(Duration::from_millis(20)).await;
        }
        println!("killed after {} ms", since.elapsed().as_millis());
    }
}

fn fencers() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let is_one = line.ends_with(b"\0fencer\0");
        is_one.then(|| Pid::from_raw(entry.file_name().to_str().unwrap().parse().unwrap()))
    });
    pids.collect()
}

fn reports(lab: &Lab) -> Vec<Value> {
    let entries = fs::read_dir(lab.path("state/fencer/reports")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

#[test]
fn a_lease_outlives_agent_and_fencer_and_a_mark_ends_its_vms() {
    alone("fencing::a_lease_outlives_agent_and_fencer_and_a_mark_ends_its_vms", async || {
        let mut lab = Lab::start().await;
        let share = Share::mount(&lab, "share", "tmpfs");
        share.open(&lab).await;
        lab.done("/ha/selffencer/setup", share.set_up_with(MORE_ATTEMPTS)).await;
        let vm = Vm::on(&share, 1).started(&lab).await;
        outlives_the_agent(&mut lab, &share, &vm).await;
        outlives_the_fencer(&lab, &share, &vm).await;
        is_fenced(&lab, &share, &vm).await;
        lab.done("/ha/selffencer/setup", share.set_up()).await;
        let vm = vm.started(&lab).await;
        lab.done("/vm/destroy", json!({ "uuid": vm.uuid })).await;
        for _ in 0..2 {
            lab.done("/ha/selffencer/cancel", json!({ "psUuids": [share.uuid] })).await;
            assert!(!Path::new(&format!("{}/.leases/{HOST}", share.path)).exists());
        }
        eventually("the fencer ends", async || fencers().is_empty()).await;
        let absent = lab.done("/ha/lease/watch", share.lease(json!({ "seconds": 1 }))).await;
        assert_eq!(absent["state"], "absent");
    });
}

async fn outlives_the_agent(lab: &mut Lab, share: &Share, vm: &Vm) {
    let (before, fencer) = (share.sequence(lab).await, fencers());
    assert_eq!(fencer.len(), 1);
    lab.end_agent();
    sleep(DEADLINE).await;
    lab.start_agent().await;
    let renewals = share.sequence(lab).await - before;
    assert!(renewals >= DEADLINE.as_secs() / INTERVAL, "only {renewals} renewals");
    assert_eq!(fencers(), fencer, "the agent has found it again");
    assert!(vm.runs());
}

async fn outlives_the_fencer(lab: &Lab, share: &Share, vm: &Vm) {
    let old = fencers()[0];
    kill(old, Signal::SIGKILL).unwrap();
    eventually("another fencer runs", async || fencers().first().is_some_and(|new| *new != old)).await;
    share.sequence(lab).await;
    sleep(Duration::from_secs(INTERVAL * MORE_ATTEMPTS + 2)).await;
    assert!(vm.runs() && reports(lab).is_empty(), "{}", lab.log());
}

/// Marks the lease as it was last seen; one that was renewed meanwhile is seen again. Since when it is marked.
async fn fence(lab: &Lab, share: &Share) -> Instant {
    for _ in 0..20 {
        let sequence = share.sequence(lab).await;
        let since = Instant::now();
        let told = lab.done("/ha/lease/fence", share.lease(json!({ "sequence": sequence }))).await;
        if told["fenced"] == true {
            assert_eq!(told["sequence"], sequence);
            return since;
        }
        assert!(told["sequence"].as_u64().unwrap() > sequence, "only a renewal is in the way: {told}");
    }
    panic!("it is always renewed between a look and a mark");
}

/// Another host says that this one is dead, which it is not.
async fn is_fenced(lab: &Lab, share: &Share, vm: &Vm) {
    let early = share.lease(json!({ "sequence": 1 }));
    assert_eq!(lab.done("/ha/lease/fence", early).await["fenced"], false);
    assert!(vm.runs());
    let since = fence(lab, share).await;
    vm.ends_in_time(since).await;
    let mark = format!("{}/.leases/{HOST}", share.path);
    eventually("the mark goes", async || fs::read(&mark).unwrap()[4096..].iter().all(|byte| *byte == 0))
        .await;
    sleep(2 * Duration::from_secs(INTERVAL)).await;
    let refused = vm.refusal(lab).await;
    assert!(refused.contains("fenced by another host"), "{refused}");
    eventually("it is reported", async || !reports(lab).is_empty()).await;
    let report = reports(lab).pop().unwrap();
    assert_eq!((&report["vmUuidsString"], &report["fencerFailure"]), (&json!(vm.uuid), &json!(false)));
}

#[test]
fn a_storage_that_hangs_costs_its_own_vms_in_time() {
    alone("fencing::a_storage_that_hangs_costs_its_own_vms_in_time", async || {
        let lab = Lab::start().await;
        let (hangs, goes) = (Share::mount(&lab, "hangs", "ext4"), Share::mount(&lab, "goes", "tmpfs"));
        for share in [&hangs, &goes] {
            share.open(&lab).await;
            lab.done("/ha/selffencer/setup", share.set_up()).await;
        }
        let one = Vm::on(&hangs, 1).started(&lab).await;
        let other = Vm::on(&goes, 2).started(&lab).await;
        let since = Instant::now();
        run("fsfreeze", &["-f", &hangs.path]);
        one.ends_in_time(since).await;
        assert!(since.elapsed() > Duration::from_secs(INTERVAL * (ATTEMPTS - 1)), "not before it must");
        let refused = one.refusal(&lab).await;
        assert!(refused.contains("storage ps-hangs"), "{refused}");
        assert!(other.runs());
        run("fsfreeze", &["-u", &hangs.path]);
        eventually("it may start again", async || {
            lab.call("/vm/start", one.start.clone()).await["success"] == true
        })
        .await;

        let since = Instant::now();
        run("umount", &["-l", &goes.path]);
        other.ends_in_time(since).await;
        assert!(one.runs());
        eventually("both are reported", async || {
            let told: Vec<_> = reports(&lab).iter().map(|report| report["psUuids"][0].clone()).collect();
            told == ["ps-hangs", "ps-goes"]
        })
        .await;
    });
}

#[test]
fn the_agent_kills_when_the_fencer_is_frozen() {
    alone("fencing::the_agent_kills_when_the_fencer_is_frozen", async || {
        let lab = Lab::start().await;
        let share = Share::mount(&lab, "share", "tmpfs");
        share.open(&lab).await;
        lab.done("/ha/selffencer/setup", share.set_up()).await;
        let vm = Vm::on(&share, 1).started(&lab).await;
        // So that the agent has asked since the last renewal.
        sleep(Duration::from_secs(2)).await;
        let since = Instant::now();
        kill(fencers()[0], Signal::SIGSTOP).unwrap();
        let until = since + DEADLINE + Duration::from_secs(4);
        while vm.runs() {
            assert!(Instant::now() < until, "nobody kills\n{}", lab.log());
            sleep(Duration::from_millis(50)).await;
        }
        println!("killed by the agent after {} ms", since.elapsed().as_millis());
        let refused = vm.refusal(&lab).await;
        assert!(refused.contains("the fencer does not answer"), "{refused}");
        kill(fencers()[0], Signal::SIGCONT).unwrap();
    });
}
