//! libvirt for one machine: its own configuration, state, logs and sockets, and no user accounts needed.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::mounts::Bind;
use super::program::command;
use super::{Daemon, Machine};

/// QEMU's driver looks its default account up even when told to use another.
const ACCOUNT: &str = "libvirt-qemu";
const START: Duration = Duration::from_secs(60);

/// A libvirt that is laid out below a directory.
#[derive(Debug, Clone)]
pub struct Libvirt {
    dir: PathBuf,
    /// Where it serves other hosts; without it only its sockets are open.
    address: Option<IpAddr>,
}

impl Libvirt {
    /// Writes its files. `host` is the uuid that the host shall have.
    pub fn lay_out(dir: &Path, host: &str, address: Option<IpAddr>) -> Result<Self> {
        for name in ["etc", "run", "lib", "cache", "log"] {
            let dir = dir.join(name);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let libvirt = Self { dir: dir.to_owned(), address };
        libvirt.write("etc/libvirtd.conf", &libvirt.daemon_settings(host))?;
        libvirt.write("etc/qemu.conf", &libvirt.qemu_settings())?;
        libvirt.write(
            "passwd",
            &with_account("/etc/passwd", &format!("{ACCOUNT}:x:64055:64055::/:/bin/false"))?,
        )?;
        libvirt.write("group", &with_account("/etc/group", &format!("{ACCOUNT}:x:64055:"))?)?;
        Ok(libvirt)
    }

    /// What its machine must see in the place of the real files.
    pub fn binds(&self) -> Vec<Bind> {
        let places = [
            ("etc", "/etc/libvirt"),
            ("run", "/run/libvirt"),
            ("lib", "/var/lib/libvirt"),
            ("cache", "/var/cache/libvirt"),
            ("log", "/var/log/libvirt"),
            ("passwd", "/etc/passwd"),
            ("group", "/etc/group"),
        ];
        places.map(|(source, target)| Bind { source: self.dir.join(source), target: target.into() }).into()
    }

    /// Where clients outside the machine reach it. On the machine it is `qemu:///system`.
    pub fn uri(machine: &Machine) -> String {
        format!("qemu+unix:///system?socket={}", socket(machine).display())
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self, machine: &Machine) -> Result<Daemon> {
        let listen = self.address.map(|_| "--listen");
        let args = listen.into_iter().chain(["--pid-file", "/run/libvirt/libvirtd.pid"]);
        let mut daemon = machine.daemon("libvirtd", command("libvirtd", args))?;
        let patience = Instant::now() + START;
        while UnixStream::connect(socket(machine)).await.is_err() {
            daemon.must_live()?;
            if Instant::now() > patience {
                bail!("libvirt does not answer:\n{}", daemon.last_words(20));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(daemon)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn daemon_settings(&self, host: &str) -> String {
        let tcp = u8::from(self.address.is_some());
        let listen = self.address.map(|address| format!("listen_addr = \"{address}\"\n")).unwrap_or_default();
        format!(
            "listen_tls = 0\nlisten_tcp = {tcp}\n{listen}auth_tcp = \"none\"\n\
             auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nunix_sock_group = \"root\"\n\
             host_uuid = \"{host}\"\nmax_clients = 500\n"
        )
    }

    /// No control groups: a machine has none of its own, and two machines would share the names of theirs.
    fn qemu_settings(&self) -> String {
        let migration = self
            .address
            .map(|address| format!("migration_address = \"0.0.0.0\"\nmigration_host = \"{address}\"\n"));
        format!(
            "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nstdio_handler = \"file\"\n\
             namespaces = [ ]\nremember_owner = 0\ncgroup_controllers = [ ]\n\
             swtpm_user = \"root\"\nswtpm_group = \"root\"\n{}",
            migration.unwrap_or_default()
        )
    }
}

/// A short path, wherever the lab's directory lies: the names of sockets are at most 107 bytes long.
fn socket(machine: &Machine) -> PathBuf {
    format!("/proc/{}/root/run/libvirt/libvirt-sock", machine.first().pid).into()
}

/// The machine's accounts, with this one if there is none of its name.
fn with_account(path: &str, line: &str) -> Result<String> {
    let mut text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let has = text.lines().any(|line| line.split(':').next() == Some(ACCOUNT));
    if !has {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}
