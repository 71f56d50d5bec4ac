//! An HTTP client that goes out with the identity that is current.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Client, ClientBuilder};

use super::{Identity, Live, MachineId};

/// Makes a client; when the identity has changed, makes another. Requests that are under way go on with the
/// one that they began with; its idle connections are closed.
pub struct Http {
    make: Box<dyn Fn() -> ClientBuilder + Send + Sync>,
    live: Option<Live>,
    made: Mutex<(Option<Arc<Identity>>, Client)>,
}

impl Http {
    /// Without an identity it shows none, and trusts no https peer.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(
        live: Option<Live>,
        make: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let identity = live.as_ref().map(Live::current);
        let client = with(make(), identity.as_deref()).build()?;
        Ok(Http { make: Box::new(make), live, made: Mutex::new((identity, client)) })
    }

    /// Whether we do not go to this machine any more, whoever answers there.
    pub fn shuns(&self, machine: MachineId) -> bool {
        self.live.as_ref().is_some_and(|live| live.current().is_revoked(machine))
    }

    /// What to tell peers of whom we trust.
    pub fn trust(&self) -> Option<String> {
        Some(self.live.as_ref()?.current().digest().to_owned())
    }

    pub fn client(&self) -> Client {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = self.live.as_ref().map(Live::current) else { return made.1.clone() };
        if made.0.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &current)) {
            match with((self.make)(), Some(&current)).build() {
                Ok(client) => *made = (Some(current), client),
                Err(error) => tracing::error!(%error, "the new identity cannot be used: the old one stays"),
            }
        }
        made.1.clone()
    }
}

pub(super) fn with(builder: ClientBuilder, identity: Option<&Identity>) -> ClientBuilder {
    match identity {
        Some(identity) => builder.tls_backend_preconfigured(identity.client().clone()),
        None => builder,
    }
}
