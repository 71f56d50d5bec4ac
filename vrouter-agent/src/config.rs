//! What the operator decides: a TOML file, and flags that come before it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;
use wire::tls::{Command, Entrance};

/// Serves L3 networks on one host: DHCP and DNS in a network namespace.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// TOML file with the settings below, named alike; unknown keys are refused
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
    /// Where controllers that prove who they are send commands [default: 0.0.0.0:7272]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// This machine's identity, which enrol makes [default: /var/lib/cumulet/tls]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Take commands without TLS and without authentication at this address instead
    #[arg(long, value_name = "ADDR")]
    plain_listen: Option<SocketAddr>,
    /// Holds the task journal and what is served [default: /var/lib/cumulet/vrouter-agent]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Whom dnsmasq becomes once it has opened its ports [default: dnsmasq]
    #[arg(long, value_name = "NAME")]
    dnsmasq_user: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    pub listen: SocketAddr,
    pub tls_dir: PathBuf,
    /// Without authentication, and only when it is asked for.
    pub plain_listen: Option<SocketAddr>,
    pub state_dir: PathBuf,
    pub dnsmasq_user: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 7272)),
            tls_dir: wire::tls::DEFAULT_DIR.into(),
            plain_listen: None,
            state_dir: "/var/lib/cumulet/vrouter-agent".into(),
            dnsmasq_user: "dnsmasq".into(),
        }
    }
}

impl Config {
    /// What the program was told: to serve with this, or to do something else.
    pub fn from_args() -> Result<anyhow::Result<Self>, Command> {
        let mut args = Args::parse();
        args.command.take().map_or_else(|| Ok(Self::resolve(args)), Err)
    }

    pub fn entrance(&self) -> Entrance {
        Entrance {
            program: "cumulet-vrouter-agent",
            listen: self.listen,
            tls_dir: self.tls_dir.clone(),
            plain_listen: self.plain_listen,
        }
    }

    fn resolve(args: Args) -> anyhow::Result<Self> {
        let mut config = match &args.config {
            None => Config::default(),
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.with_context(|| format!("cannot read {}", file.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not understood", file.display()))?
            }
        };
        config.listen = args.listen.unwrap_or(config.listen);
        config.tls_dir = args.tls_dir.unwrap_or(config.tls_dir);
        config.plain_listen = args.plain_listen.or(config.plain_listen);
        config.state_dir = args.state_dir.unwrap_or(config.state_dir);
        config.dnsmasq_user = args.dnsmasq_user.unwrap_or(config.dnsmasq_user);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<Config>("listne = '127.0.0.1:1'").is_err());
    }

    #[test]
    fn a_flag_comes_before_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "plain-listen = '127.0.0.1:1'\ndnsmasq-user = 'a'").unwrap();
        let path = file.path().to_str().unwrap();
        let args = ["x", "--config", path, "--plain-listen", "127.0.0.1:2"];
        let config = Config::resolve(Args::parse_from(args)).unwrap();
        assert_eq!((config.plain_listen.unwrap().port(), config.dnsmasq_user.as_str()), (2, "a"));
    }
}
