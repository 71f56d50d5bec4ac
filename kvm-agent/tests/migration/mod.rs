//! A VM goes from one host to another and back while it runs. Two hosts on this machine, each with its own
//! network, libvirt and agent; libvirts speak plain TCP on a network that is the test's alone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cumulet_tests::lab::program::command;
use cumulet_tests::lab::{Bind, Daemon, Lab, Libvirt, Machine, Network, Spec, Veth};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use wire::TaskId;

use super::lab::guest::{self, Guest, linux};

const VM: &str = "0123456789abcdef0123456789abcdef";
const ROOT: &str = "33333333333333333333333333333333";
const PATIENCE: Duration = Duration::from_secs(120);

struct Host {
    address: &'static str,
    network: Network,
    agent: Daemon,
    _libvirtd: Daemon,
    machine: Machine,
    dir: PathBuf,
}

impl Host {
    async fn start(lab: &Lab, number: u8, network: Network, binds: Vec<Bind>) -> Host {
        let address = ["10.88.0.1", "10.88.0.2"][usize::from(number) - 1];
        let dir = lab.make_dir(&format!("host{number}")).unwrap();
        let uuid = format!("6d1b7c3e-4f3a-4f7b-9a43-0f1d3c5b7a0{number}");
        let libvirt = Libvirt::lay_out(
            &lab.make_dir(&format!("libvirt{number}")).unwrap(),
            &uuid,
            address.parse().ok(),
        )
        .unwrap();
        let name = format!("hv{number}");
        let spec = Spec {
            hostname: Some(name.clone()),
            name,
            network: Some(network.clone()),
            binds: [libvirt.binds(), binds].concat(),
        };
        let machine = lab.machine(spec).unwrap();
        let libvirtd = libvirt.start(&machine).await.unwrap();
        let config = dir.join("agent.toml");
        let (state, consoles) = (dir.join("state"), lab.make_dir("consoles").unwrap());
        let text = format!(
            "console-log-dir = {consoles:?}\nvirt-type = \"qemu\"\nmigration-transport = \"tcp\"\n\
             state-dir = {state:?}\nplain-listen = \"{address}:7070\"\n"
        );
        fs::write(&config, text).unwrap();
        let agent = agent(&machine, &dir);
        let host = Host { address, network, agent, _libvirtd: libvirtd, machine, dir };
        host.listens().await;
        host
    }

    async fn kill_agent(&mut self) {
        self.agent.kill().await.unwrap();
        self.agent = agent(&self.machine, &self.dir);
        self.listens().await;
    }

    async fn listens(&self) {
        let until = Instant::now() + PATIENCE;
        while self.connect().await.is_none() {
            assert!(Instant::now() < until, "{}", self.agent.last_words(20));
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect(&self) -> Option<tokio::net::TcpStream> {
        let address: SocketAddr = format!("{}:7070", self.address).parse().unwrap();
        self.network.connect(address, Duration::from_secs(5)).await.ok()
    }

    async fn task(&self, task: &str) -> Option<Value> {
        let mut stream = self.connect().await?;
        let text = format!("GET /tasks/{task} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    async fn send(&self, path: &str, task: &str, command: &Value) {
        let mut stream = self.connect().await.expect("the agent listens");
        let body = command.to_string();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntaskuuid: {task}\r\n\
             callbackurl: http://127.0.0.1:9/\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }

    async fn outcome(&self, task: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.task(task).await.unwrap_or_default();
            if told["state"] == "done" {
                return told["outcome"].clone();
            }
            assert!(Instant::now() < until, "no outcome but {told}:\n{}", self.agent.last_words(20));
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn call(&self, path: &str, command: Value) -> Value {
        let task = TaskId::random().to_string();
        self.send(path, &task, &command).await;
        self.outcome(&task).await
    }

    async fn done(&self, path: &str, command: Value) -> Value {
        let outcome = self.call(path, command).await;
        assert_eq!(outcome["success"], true, "{path}: {outcome}\n{}", self.agent.last_words(20));
        outcome
    }

    async fn state(&self) -> String {
        let told = self.done("/vm/checkstate", json!({ "vmUuids": [VM] })).await;
        told["states"][VM].as_str().unwrap().to_owned()
    }

    fn uri(&self) -> String {
        Libvirt::uri(&self.machine)
    }
}

fn agent(machine: &Machine, dir: &Path) -> Daemon {
    let program = env!("CARGO_BIN_EXE_cumulet-kvm-agent");
    let config = dir.join("agent.toml");
    machine.daemon("agent", command(program, ["--config", config.to_str().unwrap()])).unwrap()
}

/// Two hosts; `local` is a directory that each has of its own.
async fn hosts(lab: &Lab) -> (Host, Host) {
    let [one, two] = ["one", "two"].map(|name| lab.network(&lab.name(name)).unwrap());
    lab.veth(Veth { names: ["eth0", "eth0"], networks: [Some(&one), Some(&two)] }).unwrap();
    one.address("eth0", "10.88.0.1/24").unwrap();
    two.address("eth0", "10.88.0.2/24").unwrap();
    let (local, other) = (lab.make_dir("local").unwrap(), lab.make_dir("local-of-two").unwrap());
    let one = Host::start(lab, 1, one, Vec::new()).await;
    let two = Host::start(lab, 2, two, vec![Bind { source: other, target: local }]).await;
    (one, two)
}

fn go(to: &Host, more: Value) -> Value {
    let mut cmd =
        json!({ "vmUuid": VM, "destHostIp": to.address, "destHostManagementIp": to.address, "timeout": 100 });
    cmd.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cmd
}

async fn boot(lab: &Lab, host: &Host, storage: &str) -> Guest {
    let root = lab.dir().join(storage).join(format!("{ROOT}.qcow2"));
    host.done("/vm/start", linux(VM, (ROOT, root.to_str().unwrap()))).await;
    let log = lab.dir().join("consoles").join(format!("{VM}.log"));
    let mut guest = Guest::at(&host.uri(), log, VM).await;
    guest.says("(while :; do echo tick >>/run/ticks; sleep 0.2; done &)").await;
    guest
}

/// The guest's own work went on across the move.
async fn goes_on(guest: &mut Guest, host: &Host) {
    guest.moved(&host.uri(), VM);
    let ticks = "wc -l </run/ticks";
    let before: u32 = guest.says(ticks).await.parse().unwrap();
    let more = format!("[ $(cat /run/boots) = 1 ] && [ $({ticks}) -gt {before} ] && echo ALIVE");
    guest.comes_to_say(&more, "ALIVE").await;
}

#[tokio::test]
async fn a_vm_moves_between_hosts_and_back_and_an_agents_death_does_not_matter() {
    guest::image();
    let lab = Lab::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("migration"), "cmmg").unwrap();
    let (one, mut two) = hosts(&lab).await;
    let storage = lab.make_dir("ps").unwrap();
    for host in [&one, &two] {
        host.done("/localstorage/init", json!({ "uuid": "ps-1", "path": storage })).await;
    }
    let mut guest = boot(&lab, &one, "ps").await;

    // Slow enough to be watched and given up.
    let task = TaskId::random().to_string();
    one.send("/vm/migrate", &task, &go(&two, json!({ "bandwidth": 1 << 20 }))).await;
    let until = Instant::now() + PATIENCE;
    while one.done("/vm/migrate/progress", json!({ "vmUuid": VM })).await["migrating"] != true {
        assert!(Instant::now() < until, "it does not begin");
    }
    one.done("/vm/migrate/cancel", json!({ "vmUuid": VM })).await;
    let outcome = one.outcome(&task).await;
    assert_eq!(outcome["success"], false, "{outcome}");
    assert_eq!((one.state().await.as_str(), two.state().await.as_str()), ("Running", "Shutdown"));
    let late = one.call("/vm/migrate", go(&two, json!({ "bandwidth": 1 << 20, "timeout": 2 }))).await;
    assert!(late["error"].as_str().unwrap().contains("was not moved in time: given up"), "{late}");

    let began = Instant::now();
    for _ in 0..2 {
        one.done("/vm/migrate", go(&two, json!({ "autoConverge": true }))).await;
        println!("there after {} ms", began.elapsed().as_millis());
    }
    assert_eq!((one.state().await.as_str(), two.state().await.as_str()), ("Shutdown", "Running"));
    goes_on(&mut guest, &two).await;

    let task = TaskId::random().to_string();
    two.send("/vm/migrate", &task, &go(&one, json!({ "bandwidth": 40 << 20 }))).await;
    sleep(Duration::from_millis(500)).await;
    two.kill_agent().await;
    let outcome = two.outcome(&task).await;
    assert_eq!(outcome["success"], true, "{outcome}\n{}", two.agent.last_words(20));
    assert_eq!((one.state().await.as_str(), two.state().await.as_str()), ("Running", "Shutdown"));
    goes_on(&mut guest, &one).await;
    one.done("/vm/destroy", json!({ "uuid": VM })).await;
}

#[tokio::test]
async fn a_vm_takes_its_local_disks_along() {
    guest::image();
    let lab = Lab::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("migration-local"), "cmml").unwrap();
    let (one, two) = hosts(&lab).await;
    let storage = lab.dir().join("local");
    for host in [&one, &two] {
        host.done("/localstorage/init", json!({ "uuid": "ps-1", "path": storage })).await;
    }
    let mut guest = boot(&lab, &one, "local").await;
    guest.says("echo kept >/root/kept; sync").await;
    let path = storage.join(format!("{ROOT}.qcow2"));
    let size = one
        .done("/localstorage/volume/getsize", json!({ "storagePath": storage, "installPath": path }))
        .await;
    let copy =
        json!({ "storagePath": storage, "installUrl": path, "size": size["size"], "volumeUuid": ROOT });
    two.done("/localstorage/volume/createempty", copy).await;
    one.done("/vm/migrate", go(&two, json!({ "storageMigrationPolicy": "FullCopy" }))).await;
    assert_eq!((one.state().await.as_str(), two.state().await.as_str()), ("Shutdown", "Running"));
    goes_on(&mut guest, &two).await;
    // What it reads now comes from the copy.
    fs::remove_file(&path).unwrap();
    let read =
        "echo 3 >/proc/sys/vm/drop_caches; cat /root/kept; find / -xdev -type f | xargs cat | wc -c; echo $?";
    let said = guest.says(read).await;
    assert!(said.contains("kept") && said.ends_with('0'), "{said}");
    two.done("/vm/destroy", json!({ "uuid": VM })).await;
}
