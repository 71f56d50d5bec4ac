//! An identity in use: what is shown to peers, and whom they are checked against.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::{Notify, watch};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::authority::SCHEME;
use super::enrol::Trust;
use super::listener::Guests;
use super::{Error, MachineId, Peer, Role};

/// A certificate with its key, and what its holder trusts. It never changes; a newer one takes its place
/// in a [`Live`].
pub struct Identity {
    me: Peer,
    not_before: SystemTime,
    not_after: SystemTime,
    trust: Trust,
    digest: String,
    revoked: BTreeSet<MachineId>,
    strict: Arc<ServerConfig>,
    lenient: Arc<ServerConfig>,
    client: ClientConfig,
}

/// The identity that a process has at this moment. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    identity: watch::Sender<Arc<Identity>>,
    outdated: Notify,
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

pub(super) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

impl Identity {
    /// `chain` and `key` are PEM.
    ///
    /// # Errors
    /// When they do not belong together, or anything in them is not sound.
    pub fn new(chain: &str, key: &str, trust: &Trust) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| Error::Refused(format!("the identity's key is not sound: {error}")))?;
        let chain = certificates(chain)?;
        let Some(own) = chain.first() else {
            return Err(Error::Refused("the identity has no certificate".into()));
        };
        let (me, [not_before, not_after]) = read(own)?;
        let roots = roots(&trust.authorities)?;
        Ok(Identity {
            me,
            not_before,
            not_after,
            trust: trust.clone(),
            digest: trust.digest(),
            revoked: trust.revoked.iter().copied().collect(),
            strict: server(&roots, Guests::Certified, &chain, &key)?,
            lenient: server(&roots, Guests::Anybody, &chain, &key)?,
            client: client(&roots, chain, key)?,
        })
    }

    /// As whom peers see us.
    pub fn me(&self) -> &Peer {
        &self.me
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// [`Trust::digest`].
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether two thirds of its life are over.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        now >= self.not_before + life * 2 / 3
    }

    pub fn is_revoked(&self, machine: MachineId) -> bool {
        self.revoked.contains(&machine)
    }

    /// How long it is good.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// For going out to peers.
    pub fn client(&self) -> &ClientConfig {
        &self.client
    }

    pub(super) fn server(&self, guests: Guests) -> Arc<ServerConfig> {
        match guests {
            Guests::Certified => self.strict.clone(),
            Guests::Anybody => self.lenient.clone(),
        }
    }
}

impl Live {
    pub fn new(identity: Identity) -> Self {
        let identity = watch::Sender::new(Arc::new(identity));
        Live(Arc::new(Shared { identity, outdated: Notify::new() }))
    }

    pub fn current(&self) -> Arc<Identity> {
        self.0.identity.borrow().clone()
    }

    /// From now on connections are made with this one. Those that are there go on, unless their peer is
    /// revoked.
    pub fn replace(&self, identity: Identity) {
        self.0.identity.send_replace(Arc::new(identity));
    }

    /// A controller trusts by `digest`: when that is not ours, [`Live::outdated`] is told.
    pub(super) fn hear_of(&self, digest: &str) {
        if self.current().digest() != digest {
            self.0.outdated.notify_one();
        }
    }

    /// Waits until somebody has said that whom we trust is out of date.
    pub(super) async fn outdated(&self) {
        self.0.outdated.notified().await;
    }
}

/// Whom a verified certificate names.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> Result<Peer, Error> {
    read(certificate).map(|(peer, _)| peer)
}

fn read(certificate: &CertificateDer<'_>) -> Result<(Peer, [SystemTime; 2]), Error> {
    let unsound = |why: &str| Error::Refused(format!("the certificate is none of a machine: {why}"));
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| unsound(&e.to_string()))?;
    let uris = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let uris = uris.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    let mut peer: Option<Peer> = None;
    for (role, machine) in uris.filter_map(|uri| uri.split_once('/')) {
        let machine = machine.parse().map_err(|error: String| unsound(&error))?;
        let peer = peer.get_or_insert(Peer { machine, roles: Vec::new() });
        if peer.machine != machine {
            return Err(unsound("it names several"));
        }
        // A role that a later version knows means nothing to this one.
        peer.roles.extend(role.parse::<Role>());
    }
    let moment = |time: x509_parser::time::ASN1Time| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(time.timestamp().unsigned_abs())
    };
    let validity = parsed.validity();
    let peer = peer.ok_or_else(|| unsound("it names no machine"))?;
    Ok((peer, [moment(validity.not_before), moment(validity.not_after)]))
}

pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.map_err(|error| Error::Refused(format!("a certificate is not sound: {error}")))
}

fn roots(authorities: &str) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities)? {
        roots.add(authority)?;
    }
    Ok(Arc::new(roots))
}

fn server(
    roots: &Arc<RootCertStore>,
    guests: Guests,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    let verifier = match guests {
        Guests::Certified => verifier,
        Guests::Anybody => verifier.allow_unauthenticated(),
    };
    let verifier = verifier.build().map_err(|error| Error::Refused(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let mut config =
        config.with_client_cert_verifier(verifier).with_single_cert(chain.to_vec(), key.clone_key())?;
    // A resumed session would not look at the peer's certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
    let verifier = verifier.map_err(|error| Error::Refused(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    Ok(config.with_webpki_verifier(verifier).with_client_auth_cert(chain, key)?)
}
