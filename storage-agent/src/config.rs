//! The configuration file: TOML, unknown keys refused.
//!
//! ```toml
//! listen = "0.0.0.0:7171"           # for peers that prove who they are
//! tls-dir = "/var/lib/cumulet/tls"  # this machine's identity, which enrol makes
//! plain-listen = "127.0.0.1:7171"   # without authentication, instead of the above; absent by default
//! upload-listen = "10.0.0.5:7172"   # where clients PUT images, each by a one-use token; absent by default
//! state-dir = "/var/lib/cumulet/storage-agent"
//! max-image-size = "500GiB"
//! import-limit-hours = 72           # the longest that one import may take
//! import-dirs = []                  # file:// reads below these only
//! allow-private = []                # networks that URL imports may reach although they are not public
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use wire::tls::Entrance;

/// ZStack's port for the agent of an sftp backup storage.
pub const PORT: u16 = 7171;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    pub listen: Listen,
    pub tls_dir: PathBuf,
    pub plain_listen: Option<Listen>,
    /// Plain HTTP for who has a token for one upload: clients have no certificates.
    pub upload_listen: Option<SocketAddr>,
    pub state_dir: PathBuf,
    pub max_image_size: Bytes,
    pub import_limit_hours: u32,
    pub import_dirs: Vec<PathBuf>,
    pub allow_private: Vec<IpNet>,
}

/// What imports are held to.
#[derive(Clone, Debug)]
pub struct ImportRules {
    pub max_image_size: u64,
    pub longest: Duration,
    pub import_dirs: Vec<PathBuf>,
    pub allow_private: Vec<IpNet>,
}

/// An address, with [`PORT`] when it names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub SocketAddr);

/// A number of bytes: `1048576`, `"1MiB"`, `"500 GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Amount")]
pub struct Bytes(pub u64);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read configuration file {path:?}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("configuration file {path:?}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    pub fn entrance(&self) -> Entrance {
        Entrance {
            program: "cumulet-storage-agent",
            listen: self.listen.0,
            tls_dir: self.tls_dir.clone(),
            plain_listen: self.plain_listen.map(|listen| listen.0),
        }
    }

    pub(crate) fn imports(&self) -> ImportRules {
        ImportRules {
            max_image_size: self.max_image_size.0,
            longest: Duration::from_secs(u64::from(self.import_limit_hours) * 3600),
            import_dirs: self.import_dirs.clone(),
            allow_private: self.allow_private.clone(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: Listen(SocketAddr::from(([0, 0, 0, 0], PORT))),
            tls_dir: wire::tls::DEFAULT_DIR.into(),
            plain_listen: None,
            upload_listen: None,
            state_dir: "/var/lib/cumulet/storage-agent".into(),
            max_image_size: Bytes(500 << 30),
            import_limit_hours: 72,
            import_dirs: Vec::new(),
            allow_private: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of bytes, as 1048576 or \"500GiB\"")]
enum Amount {
    Number(u64),
    Text(String),
}

impl TryFrom<Amount> for Bytes {
    type Error = String;

    fn try_from(amount: Amount) -> Result<Self, String> {
        let text = match amount {
            Amount::Number(number) => return Ok(Bytes(number)),
            Amount::Text(text) => text,
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(format!("size {text:?} has no known unit: use KiB, MiB, GiB or TiB")),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Bytes).ok_or_else(|| format!("size {text:?} is not a number of bytes"))
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        bare.or_else(|_| text.parse())
            .map(Listen)
            .map_err(|_| format!("{text:?} is not an address: use one as 127.0.0.1 or 127.0.0.1:{PORT}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let config: Config = toml::from_str(
            "plain-listen = '127.0.0.1'\nlisten = '::1'\ntls-dir = '/t'\nupload-listen = '127.0.0.1:1'\nstate-dir = '/s'\nmax-image-size = '2 GiB'\n\
             import-limit-hours = 1\nimport-dirs = ['/i']\nallow-private = ['127.0.0.0/8']",
        )
        .unwrap();
        assert_eq!(config.plain_listen, Some(Listen("127.0.0.1:7171".parse().unwrap())));
        assert_eq!(config.max_image_size, Bytes(2 << 30));
        let rules = config.imports();
        assert_eq!(rules.longest, Duration::from_secs(3600));
        assert_eq!(rules.allow_private[0].to_string(), "127.0.0.0/8");
    }

    #[test]
    fn an_unknown_key_and_a_bad_size_are_refused() {
        assert!(toml::from_str::<Config>("listn = '::1'").unwrap_err().to_string().contains("listn"));
        for size in ["'5 GB'", "'GiB'", "-1", "'99999999 TiB'"] {
            assert!(toml::from_str::<Config>(&format!("max-image-size = {size}")).is_err(), "{size}");
        }
    }
}
