//! A machine of the lab: a process of its own namespaces, and what runs in it.
//!
//! Process, mount, host name and IPC namespaces are its own; the network is its own or the lab's. Its first
//! process only collects orphans. When that ends, the kernel ends everything on the machine: [`Machine`] kills
//! it when dropped, and the kernel does when the process that holds the lab dies.
//!
//! One thread of the lab has entered the machine for good: it starts the programs, since what the death of the
//! lab should end is tied to the thread that started it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe, sethostname, setsid, write};

use super::daemon::Daemon;
use super::mounts::{self, Bind};
use super::network::Network;
use super::record::{Identity, Record, Thing};

/// What a machine is like.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub name: String,
    /// Its own host name; without, the lab's.
    pub hostname: Option<String>,
    /// Without one it shares the network that the lab runs in.
    pub network: Option<Network>,
    /// Files and directories that it sees in the place of the real ones.
    pub binds: Vec<Bind>,
}

#[derive(Debug)]
pub struct Machine {
    name: String,
    dir: PathBuf,
    first: Identity,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    children: Mutex<Vec<Arc<Mutex<Child>>>>,
    record: Arc<Mutex<Record>>,
}

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

impl Machine {
    pub(super) fn start(spec: Spec, dir: PathBuf, record: Arc<Mutex<Record>>) -> Result<Self> {
        let name = spec.name.clone();
        let (orders, incoming) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let place = dir.clone();
        let thread = std::thread::spawn(move || match boot(&spec, &place) {
            Ok(first) => {
                let _lab_gave_up = started.send(Ok(first));
                serve(&incoming);
            }
            Err(error) => drop(started.send(Err(error))),
        });
        let first: Result<Pid> = start.recv().context("the machine's thread died")?;
        let first = first.with_context(|| format!("cannot start machine {name}"))?;
        // Looked up here: the machine's thread sees the machine's own /proc.
        let first = Identity::of(first.as_raw()).context("the machine's first process ended at once")?;
        record.lock().expect("the record's lock is never poisoned").add(Thing::Machine(first))?;
        let (orders, thread) = (Some(orders), Some(thread));
        Ok(Self { name, dir, first, orders, thread, children: Mutex::default(), record })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its logs and other files lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its first process, as the lab sees it.
    pub fn first(&self) -> Identity {
        self.first
    }

    /// Starts a program on the machine; what it says is added to `<machine's directory>/<name>.log`.
    pub fn daemon(&self, name: &str, mut command: Command) -> Result<Daemon> {
        let path = self.dir.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = self.spawn(command).with_context(|| format!("cannot start {name}"))?;
        let child = Arc::new(Mutex::new(child));
        self.children.lock().expect("never poisoned").push(child.clone());
        Ok(Daemon::new(name.to_owned(), path, child))
    }

    fn spawn(&self, command: Command) -> Result<Child> {
        let (answer, answered) = mpsc::channel();
        let orders = self.orders.as_ref().context("the machine is off")?;
        orders.send(Order { command, answer }).ok().context("the machine is off")?;
        Ok(answered.recv().context("the machine is off")??)
    }

    /// All processes that run on the machine besides its first, as the lab sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let of = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let namespace = of(self.first.pid).context("the machine is off")?;
        let numbers =
            fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.filter(|pid| *pid != self.first.pid && of(*pid).as_ref() == Some(&namespace)).collect())
    }

    fn power_off(&mut self) -> Result<()> {
        self.orders = None;
        match kill(Pid::from_raw(self.first.pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => bail!("cannot stop machine {}: {error}", self.name),
        }
        // The first process is gone only when all others are, and those that the lab started are the lab's to
        // collect.
        for child in self.children.lock().expect("never poisoned").drain(..) {
            child.lock().expect("never poisoned").wait()?;
        }
        let _collected_before = waitpid(Pid::from_raw(self.first.pid), None);
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_printed = thread.join();
        }
        self.record.lock().expect("never poisoned").forget(&Thing::Machine(self.first))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.power_off() {
            eprintln!("machine {}: {error:#}", self.name);
        }
    }
}

/// Enters new namespaces and starts the machine's first process.
fn boot(spec: &Spec, dir: &Path) -> Result<Pid> {
    if let Some(network) = &spec.network {
        let namespace =
            File::open(network.path()).with_context(|| format!("no network {}", network.name()))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the machine's network")?;
    }
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(own | CloneFlags::CLONE_NEWPID).context("cannot make namespaces: run as root")?;
    if let Some(name) = &spec.hostname {
        sethostname(name).context("cannot set the machine's host name")?;
    }
    mounts::prepare(dir, spec.network.is_some(), &spec.binds)?;
    first_process()
}

/// Forks the first process, which mounts the machine's `/proc` and then collects orphans for ever.
fn first_process() -> Result<Pid> {
    let (ready, done) = pipe().context("cannot make a pipe")?;
    // SAFETY: the child only makes system calls, on memory that it owns, and never returns.
    let child = match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Child => collect_orphans(&ready, &done),
        ForkResult::Parent { child } => child,
    };
    drop(done);
    let mut answer = Vec::new();
    File::from(ready).read_to_end(&mut answer)?;
    match answer[..] {
        [0] => Ok(child),
        [error] => bail!("cannot mount the machine's /proc: {}", Errno::from_raw(i32::from(error))),
        _ => bail!("the machine's first process ended at once"),
    }
}

/// Only system calls: other threads of the lab may hold locks that are now held for ever.
fn collect_orphans(parents_end: &OwnedFd, ready: &OwnedFd) -> ! {
    let _stays_until_the_lab_ends = prctl::set_pdeathsig(Signal::SIGKILL);
    let _own_session = setsid();
    let _only_kill_ends_it = SigSet::all().thread_block();
    let _shown_by_ps = prctl::set_name(c"lab-machine");
    let mounted = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>);
    let answer = mounted.err().map_or(0, |error| error as i32 as u8);
    // SAFETY: plain system calls; nothing here uses a descriptor again, and _exit runs no destructor.
    unsafe {
        nix::libc::close(parents_end.as_raw_fd());
        if write(ready, &[answer]).is_err() || answer != 0 {
            nix::libc::_exit(1);
        }
        nix::libc::close_range(0, u32::MAX, 0);
    }
    loop {
        if waitpid(None, None) == Err(Errno::ECHILD) {
            let mut child_ended = SigSet::empty();
            child_ended.add(Signal::SIGCHLD);
            let _some_child_ended = child_ended.wait();
        }
    }
}

fn serve(orders: &Receiver<Order>) {
    for mut order in orders {
        let _lab_gave_up = order.answer.send(order.command.spawn());
    }
}
