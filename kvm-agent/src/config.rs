//! What the agent is told at its start: one TOML file, and flags for the essentials, which win.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use wire::tls::Entrance;

/// Runs virtual machines on this hypervisor at a controller's command.
#[derive(Debug, Default, Parser)]
#[command(name = "cumulet-kvm-agent", version)]
pub struct Flags {
    /// The configuration file; without it, every setting has its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where controllers that prove who they are send commands [default: 0.0.0.0:7070]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// This machine's identity, which enrol makes [default: /var/lib/cumulet/tls]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Serve without TLS and without authentication at this address instead, as ZStack's agents do
    #[arg(long, value_name = "ADDRESS")]
    plain_listen: Option<SocketAddr>,
    /// The libvirt to use, such as qemu:///system or test:///default
    #[arg(long, value_name = "URI")]
    libvirt_uri: Option<String>,
    /// Where the agent remembers its tasks
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How guests run; auto proves by booting whether KVM works here
    #[arg(long, value_name = "TYPE")]
    virt_type: Option<VirtChoice>,
}

/// What the program can be told to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Identity(wire::tls::Command),
    /// Keep this host's leases on shared storages, and kill its VMs when one is lost
    Fencer {
        /// Wait while there is nothing to do, or another fencer runs, instead of ending
        #[arg(long)]
        stay: bool,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub tls_dir: PathBuf,
    /// There is no default: nothing listens without authentication unless it is asked to by name.
    pub plain_listen: Option<SocketAddr>,
    pub libvirt_uri: String,
    pub state_dir: PathBuf,
    pub virt_type: VirtChoice,
    /// The QEMU that is tried with KVM; libvirt finds its own.
    pub emulator: Option<PathBuf>,
    /// Each VM's serial console is appended to a file here; none when absent.
    pub console_log_dir: Option<PathBuf>,
    /// How the libvirts of two hosts speak to each other when a VM moves between them.
    pub migration_transport: MigrationTransport,
    /// Runs a finished task again when it is sent again without a fence, as ZStack's agents do.
    pub repeat_unfenced_tasks: bool,
    /// Lets the controller reboot this host or power it off, when no VM runs on it.
    pub allow_power: bool,
    /// Where the vrouter-agent of this host is; at its usual port on this machine when absent.
    pub vrouter_agent: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VirtChoice {
    #[default]
    Auto,
    Kvm,
    /// Emulation: slow, and works everywhere.
    Qemu,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationTransport {
    /// `qemu+tls`, and the guest's memory and disks encrypted too: libvirt and QEMU need their certificates.
    #[default]
    Tls,
    /// `qemu+tcp`, as ZStack's agents do: for a network that nobody else is on.
    Tcp,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path:?}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path:?} is not a sound configuration: {source}")]
    Parse { path: PathBuf, source: toml::de::Error },
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 7070)),
            tls_dir: wire::tls::DEFAULT_DIR.into(),
            plain_listen: None,
            libvirt_uri: "qemu:///system".into(),
            state_dir: "/var/lib/cumulet/kvm-agent".into(),
            virt_type: VirtChoice::Auto,
            emulator: None,
            console_log_dir: None,
            migration_transport: MigrationTransport::default(),
            repeat_unfenced_tasks: false,
            allow_power: false,
            vrouter_agent: None,
        }
    }
}

impl Flags {
    pub fn config(self) -> Result<Config, Error> {
        let mut config = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        config.listen = self.listen.unwrap_or(config.listen);
        config.tls_dir = self.tls_dir.unwrap_or(config.tls_dir);
        config.plain_listen = self.plain_listen.or(config.plain_listen);
        config.libvirt_uri = self.libvirt_uri.unwrap_or(config.libvirt_uri);
        config.state_dir = self.state_dir.unwrap_or(config.state_dir);
        config.virt_type = self.virt_type.unwrap_or(config.virt_type);
        Ok(config)
    }
}

impl Config {
    pub fn entrance(&self) -> Entrance {
        Entrance {
            program: "cumulet-kvm-agent",
            listen: self.listen,
            tls_dir: self.tls_dir.clone(),
            plain_listen: self.plain_listen,
        }
    }
}

fn read(path: &Path) -> Result<Config, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Config, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Flags { config: Some(file.path().to_owned()), ..Flags::default() }.config()
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = written("libvirt-url = \"qemu:///system\"").unwrap_err().to_string();
        assert!(error.contains("libvirt-url"), "{error}");
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "state-dir = \"/a\"\nvirt-type = \"kvm\"").unwrap();
        let flags =
            Flags { config: Some(file.path().to_owned()), state_dir: Some("/b".into()), ..Flags::default() };
        let config = flags.config().unwrap();
        assert_eq!((config.state_dir, config.virt_type), ("/b".into(), VirtChoice::Kvm));
    }

    #[test]
    fn nothing_listens_unless_it_is_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let flags = Flags { tls_dir: Some(dir.path().to_owned()), ..Flags::default() };
        let error = flags.config().unwrap().entrance().open().err().unwrap().to_string();
        assert!(error.contains("enrol --controller") && error.contains("plain-listen"), "{error}");
    }
}
