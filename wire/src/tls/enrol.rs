//! How a machine gets its identity, and a newer one.
//!
//! ```text
//! machine                                       controller's listener for agents
//!   │ handshake: the authority must have the fingerprint in the token  ◀── nothing secret is said before
//!   │ POST /tls/enrol {token, request}  ──────▶  token known, not expired, not used by another key
//!   │ ◀──────────── certificate, authorities     …and the same key gets its answer again
//!   │ POST /tls/renew {request}  ─────────────▶  by the certificate that it still has, for a new key
//!   │ GET  /tls/trust  ───────────────────────▶  authorities and revoked machines, now and then
//! ```

use std::fmt;
use std::net::IpAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{RequestBuilder, Url};
use rustls::version::TLS13;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::authority::fingerprint_of;
use super::first_contact::FirstContact;
use super::{Directory, Error, Identity, MachineId, identity, name};
use crate::call::Fault;
use crate::client::client;

/// Path: [`Enrolment`] in, [`Issued`] out. The only one that asks for no certificate.
pub const ENROL: &str = "/tls/enrol";
/// Path: [`Renewal`] in, [`Issued`] out.
pub const RENEW: &str = "/tls/renew";
/// Path: [`Trust`] out.
pub const TRUST: &str = "/tls/trust";

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// Far more than the certificates and revocations of any cloud.
const LARGEST: usize = 16 << 20;

/// What an operator hands to a machine: `id.secret.fingerprint`, three times hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub secret: String,
    /// SHA-256 of the authority's certificate.
    pub authority: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    pub id: String,
    pub secret: String,
    /// PEM.
    pub request: String,
    /// What people call the machine.
    pub name: String,
    /// Where its agents are reached; by default where the request comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// PEM.
    pub request: String,
}

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// PEM, one or several.
    pub authorities: String,
    pub revoked: Vec<MachineId>,
}

impl Trust {
    /// The same for the same, and otherwise another.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new_with_prefix(&self.authorities);
        self.revoked.iter().for_each(|machine| hash.update(machine.to_string()));
        hex::encode(&hash.finalize()[..16])
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
    pub machine: MachineId,
    /// PEM: the machine's certificate, and the authority's.
    pub chain: String,
    pub trust: Trust,
}

/// Enrols this machine with a controller: it gets a certificate, which all of its agents use
#[derive(Clone, Debug, Args)]
pub struct Enrol {
    /// The controller's listener for agents, such as https://10.0.0.1:8081
    #[arg(long, value_name = "URL")]
    pub controller: String,
    /// What the controller answered to POST /v1/enrolment-tokens; by default it is read from standard input,
    /// so that no list of processes shows it
    #[arg(long, value_name = "TOKEN", default_value = "-")]
    pub token: String,
    /// Where this machine's agents are reached [default: the address that the controller sees]
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// What people call this machine [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where the identity is kept [default: /var/lib/cumulet/tls]
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<std::path::PathBuf>,
    /// Takes the place of an identity that is there
    #[arg(long)]
    pub again: bool,
}

/// What an agent's program can be told to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    Enrol(Enrol),
}

impl Command {
    /// Does it, and says how it ended.
    pub fn execute(&self) -> ExitCode {
        let Command::Enrol(enrol) = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let enrolled = match runtime {
            Ok(runtime) => runtime.block_on(enrol.run()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match enrolled {
            Ok(machine) => {
                println!("enrolled as machine {machine}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("cannot enrol: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Enrol {
    /// Gets an identity and keeps it. Repeating it after an answer was lost gets the same.
    ///
    /// # Errors
    /// When the controller is not the token's, refuses, or the directory cannot be written.
    pub async fn run(&self) -> Result<MachineId, Error> {
        let dir = Directory::new(self.tls_dir.clone().unwrap_or_else(|| super::DEFAULT_DIR.into()));
        if dir.is_enrolled() && !self.again {
            let me = dir.identity()?.me().machine;
            let text = format!("this machine is enrolled as {me} already: --again gets a new identity");
            return Err(Error::Refused(text));
        }
        let token: Token = self.token()?.parse().map_err(Error::Refused)?;
        let controller = name::to_controller(&self.controller).map_err(Error::Refused)?;
        let key = dir.pending()?;
        let enrolment = Enrolment {
            id: token.id,
            secret: token.secret,
            request: request(&key)?,
            name: self.name.clone().unwrap_or_else(host_name),
            address: self.address,
        };
        let issued: Issued =
            ask(first(&token.authority)?.post(at(&controller, ENROL)).json(&enrolment)).await?;
        check(&issued, &key)?;
        if !identity::certificates(&issued.trust.authorities)?
            .iter()
            .any(|a| fingerprint_of(a) == token.authority)
        {
            return Err(Error::Refused("the controller does not trust its own authority".into()));
        }
        dir.enrolled(controller.as_str(), &issued, &key)?;
        Ok(issued.machine)
    }

    fn token(&self) -> Result<String, Error> {
        if self.token != "-" {
            return Ok(self.token.clone());
        }
        let text = std::io::read_to_string(std::io::stdin());
        let text = text.map_err(|error| Error::Refused(format!("the token cannot be read: {error}")))?;
        Ok(text.trim().to_owned())
    }
}

/// A client for whom the authority of this fingerprint is the only one, and who shows nothing.
fn first(authority: &str) -> Result<reqwest::Client, Error> {
    let config = rustls::ClientConfig::builder_with_provider(identity::provider());
    let config = config.with_protocol_versions(&[&TLS13])?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(FirstContact::new(authority)));
    let builder = client(CONNECT, 0, Duration::ZERO).timeout(ANSWER);
    builder.tls_backend_preconfigured(config.with_no_client_auth()).build().map_err(Error::Http)
}

pub(super) fn at(controller: &Url, path: &str) -> Url {
    let mut url = controller.clone();
    url.set_path(path);
    url
}

/// A request for a certificate (PEM); the authority takes nothing of it but the key.
pub(super) fn request(key: &KeyPair) -> Result<String, Error> {
    Ok(CertificateParams::default().serialize_request(key)?.pem()?)
}

/// That it fits the key and can be used.
pub(super) fn check(issued: &Issued, key: &KeyPair) -> Result<Identity, Error> {
    let identity = Identity::new(&issued.chain, &key.serialize_pem(), &issued.trust)?;
    match identity.me().machine == issued.machine {
        true => Ok(identity),
        false => Err(Error::Refused("the controller's certificate is for another machine".into())),
    }
}

/// The answer, or the controller's reason.
pub(super) async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    let mut answer = request.send().await.map_err(|error| Error::Http(error.without_url()))?;
    let (status, mut body) = (answer.status(), Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(Error::Http)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Error::Refused(format!("the controller's answer is larger than {LARGEST} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        let read = serde_json::from_slice(&body);
        return read
            .map_err(|error| Error::Refused(format!("the controller's answer is unreadable: {error}")));
    }
    let why =
        serde_json::from_slice::<Fault>(&body).map_or_else(|_| format!("HTTP status {status}"), |f| f.error);
    Err(Error::Refused(format!("the controller refuses: {why}")))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unnamed".into() } else { name.trim().to_owned() }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.id, self.secret, self.authority)
    }
}

/// Without its secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.*****.{}", self.id, self.authority)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "the token is not whole: it is three groups of hex digits with dots between".to_owned();
        let hex = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [id, secret, authority] = parts[..] else { return Err(bad()) };
        match (id.len(), authority.len()) {
            (32, 64) if parts.iter().all(hex) => {
                Ok(Token { id: id.into(), secret: secret.into(), authority: authority.into() })
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_shown_without_its_secret() {
        let token = Token { id: "a".repeat(32), secret: "5ec".into(), authority: "f".repeat(64) };
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("5ec"));
        for bad in ["", "a.b.c", &format!("{token}.x"), &token.to_string()[1..]] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
