//! The process's configuration: one TOML file; unknown keys are refused.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::node::Membership;
use engine::{Result, codes};
use serde::Deserialize;
use wire::caller::Patience;

/// What the file says. Every key has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where the API is served; in the plain, agents report there too.
    pub listen: SocketAddr,
    /// Who passes on what others ask: their `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    pub agents: AgentsMode,
    /// Where machines enrol and agents report, proving who they are.
    pub agents_listen: SocketAddr,
    /// Where the controller keeps its files.
    pub state_dir: PathBuf,
    pub database: Database,
    pub node: Node,
    /// What agents are told to call back; by default the address that is listened on.
    pub callback_url: Option<String>,
    /// The administrator's password at the first start. By default a random one is made and written into
    /// the state directory, `admin-password`, readable by the controller's user alone.
    pub admin_password: Option<String>,
    pub ports: Ports,
    pub console: Console,
    /// The message broker that is told of events.
    pub broker: crate::event::broker::Config,
    /// Not in the file: tests lose messages and cannot wait as long as networks may.
    #[serde(skip)]
    pub patience: Patience,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Database {
    /// `sqlite:/path/to/file`, by default `cumulet.db` in the state directory; or
    /// `postgres://user:password@host/database`, which several controllers may share.
    pub url: Option<String>,
}

/// This controller among others.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Node {
    /// Where the other controllers reach this one; by default where agents do.
    pub url: Option<String>,
    /// How often it says that it lives, milliseconds.
    pub heartbeat: u64,
    /// After so long a silence it counts as dead, milliseconds: at least three heartbeats.
    pub lease: u64,
}

impl Default for Node {
    fn default() -> Self {
        Node { url: None, heartbeat: 2_000, lease: 10_000 }
    }
}

impl Node {
    fn check(&self) -> Result<(), String> {
        if self.heartbeat == 0 || self.lease < 3 * self.heartbeat {
            return Err(format!(
                "node.lease ({} ms) must be at least three times node.heartbeat ({} ms)",
                self.lease, self.heartbeat
            ));
        }
        Ok(())
    }
}

/// How agents are spoken with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentsMode {
    /// Mutual TLS: both sides prove who they are.
    #[default]
    Certified,
    /// Plain HTTP, as ZStack's agents speak it: whoever reaches a port is believed.
    Plain,
}

/// Where agents listen on their hosts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ports {
    pub kvm_agent: u16,
    pub storage_agent: u16,
    pub vrouter_agent: u16,
    pub console_proxy: u16,
    /// Where a storage-agent takes uploads of clients, who have no certificates.
    pub uploads: u16,
}

/// Where the console proxy is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Console {
    /// Where the controller reaches it.
    pub proxy_address: String,
    /// Where browsers reach it; by default there too.
    pub public_hostname: Option<String>,
    pub public_port: u16,
}

impl Console {
    /// Where browsers reach it.
    pub fn hostname(&self) -> &str {
        self.public_hostname.as_deref().unwrap_or(&self.proxy_address)
    }
}

impl Default for Console {
    fn default() -> Self {
        Console { proxy_address: "127.0.0.1".into(), public_hostname: None, public_port: 4900 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: Vec::new(),
            agents: AgentsMode::default(),
            agents_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            state_dir: "/var/lib/cumulet/controller".into(),
            database: Database::default(),
            node: Node::default(),
            callback_url: None,
            admin_password: None,
            ports: Ports::default(),
            console: Console::default(),
            broker: crate::event::broker::Config::default(),
            patience: Patience::default(),
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Ports {
            kvm_agent: 7070,
            storage_agent: 7171,
            vrouter_agent: 7272,
            console_proxy: 7758,
            uploads: 7172,
        }
    }
}

impl Config {
    pub fn read(path: &Path) -> Result<Config> {
        let wrong = |e: &dyn std::fmt::Display| {
            codes::INVALID_ARGUMENT.because(format!("configuration {}: {e}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        let config: Config = toml::from_str(&text).map_err(|e| wrong(&e))?;
        config.node.check().map_err(|e| wrong(&e))?;
        Ok(config)
    }

    pub fn database_url(&self) -> String {
        let file = || format!("sqlite:{}", self.state_dir.join("cumulet.db").display());
        self.database.url.clone().unwrap_or_else(file)
    }

    /// Where agents report, given the address that is listened on for them.
    /// How the controller takes part among others; agents reach it at `address`.
    pub fn membership(&self, address: SocketAddr, home: String) -> Result<Membership> {
        let url = match (&self.node.url, self.agents) {
            (None, _) => self.callback_url(address)?,
            (Some(url), AgentsMode::Plain) => url.clone(),
            (Some(url), AgentsMode::Certified) => {
                let url = wire::tls::name::to_controller(url);
                url.map(String::from)
                    .map_err(|e| codes::INVALID_ARGUMENT.because(format!("node.url: {e}")))?
            }
        };
        let url = url::Url::parse(&url)
            .map_err(|e| codes::INVALID_ARGUMENT.because(format!("node.url \"{url}\": {e}")))?;
        Ok(Membership {
            url: url.origin().ascii_serialization(),
            home,
            heartbeat: Duration::from_millis(self.node.heartbeat),
            lease: Duration::from_millis(self.node.lease),
        })
    }

    pub fn callback_url(&self, address: SocketAddr) -> Result<String> {
        let wrong = |why: String| codes::INVALID_ARGUMENT.because(why);
        if self.callback_url.is_none() && address.ip().is_unspecified() {
            let why =
                format!("agents cannot report to {address}: configure callback-url with an address of ours");
            return Err(wrong(why));
        }
        let own = |scheme: &str| format!("{scheme}://{address}/zstack/asyncrest/callback");
        match self.agents {
            AgentsMode::Plain => Ok(self.callback_url.clone().unwrap_or_else(|| own("http"))),
            AgentsMode::Certified => {
                let url = self.callback_url.clone().unwrap_or_else(|| own("https"));
                let url = wire::tls::name::to_controller(&url);
                url.map(String::from).map_err(|why| wrong(format!("callback-url: {why}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<Config>("listn = \"127.0.0.1:1\"").unwrap_err().to_string();
        assert!(error.contains("listn"), "{error}");
    }

    #[test]
    fn a_lease_of_less_than_three_heartbeats_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.toml");
        std::fs::write(&path, "[node]\nheartbeat = 2000\nlease = 5000").unwrap();
        assert!(Config::read(&path).unwrap_err().details().contains("three times"));
    }

    #[test]
    fn agents_are_told_an_address_that_they_can_reach() {
        let read = |text: &str| toml::from_str::<Config>(text).unwrap();
        let told = |text: &str, at: &str| read(text).callback_url(at.parse().unwrap());
        let path = "zstack/asyncrest/callback";
        let certified = told("", "10.0.0.1:8081").unwrap();
        assert_eq!(certified, format!("https://10-0-0-1.controller.cumulet:8081/{path}"));
        let plain = told("agents = \"plain\"", "10.0.0.1:8080").unwrap();
        assert_eq!(plain, format!("http://10.0.0.1:8080/{path}"));
        let named = "callback-url = \"https://10.0.0.9:8081/c\"";
        assert_eq!(told(named, "0.0.0.0:8081").unwrap(), "https://10-0-0-9.controller.cumulet:8081/c");
        assert!(told("", "0.0.0.0:8081").unwrap_err().details().contains("callback-url"));
        let open = "callback-url = \"http://10.0.0.9:8081/c\"";
        assert!(told(open, "10.0.0.9:8081").is_err(), "certified agents report to nobody else");
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config.database_url(), "sqlite:/var/lib/cumulet/controller/cumulet.db");
        assert_eq!(config.ports.kvm_agent, 7070);
        assert_eq!((config.console.hostname(), config.console.public_port), ("127.0.0.1", 4900));
    }
}
