//! What the operator decides: a TOML file, and flags that come before it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;
use wire::tls::{Command, Entrance};

/// Shows VMs' screens in a browser.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// TOML file with the settings below, named alike; unknown keys are refused
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
    /// Where controllers that prove who they are send commands [default: 0.0.0.0:7758]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// This machine's identity, which enrol makes [default: /var/lib/cumulet/tls]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Take commands without TLS and without authentication at this address instead
    #[arg(long, value_name = "ADDR")]
    plain_listen: Option<SocketAddr>,
    /// Where browsers are served; they need a ticket [default: 0.0.0.0:4900]
    #[arg(long, value_name = "ADDR")]
    web_listen: Option<SocketAddr>,
    /// Holds the task journal [default: /var/lib/cumulet/console-proxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    pub listen: SocketAddr,
    pub tls_dir: PathBuf,
    /// Without authentication, and only when it is asked for.
    pub plain_listen: Option<SocketAddr>,
    pub web_listen: SocketAddr,
    pub state_dir: PathBuf,
    /// Pages of these origins (`https://ui.example`) may open consoles besides our own; file only.
    pub allowed_origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 7758)),
            tls_dir: wire::tls::DEFAULT_DIR.into(),
            plain_listen: None,
            web_listen: SocketAddr::from(([0, 0, 0, 0], 4900)),
            state_dir: "/var/lib/cumulet/console-proxy".into(),
            allowed_origins: Vec::new(),
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
            program: "cumulet-console-proxy",
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
        config.web_listen = args.web_listen.unwrap_or(config.web_listen);
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
        std::fs::write(file.path(), "plain-listen = '127.0.0.1:1'\nallowed-origins = ['a']").unwrap();
        let path = file.path().to_str().unwrap();
        let args = ["x", "--config", path, "--plain-listen", "127.0.0.1:2"];
        let config = Config::resolve(Args::parse_from(args)).unwrap();
        assert_eq!((config.plain_listen.unwrap().port(), config.allowed_origins), (2, vec!["a".to_owned()]));
    }
}
