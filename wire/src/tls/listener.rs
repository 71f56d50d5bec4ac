//! Takes connections in and does their handshakes, many at a time: who is slow or silent holds up nobody.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::{self, Live};
use super::{Error, Peer};

/// A handshake that takes longer is none.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at one time, and those of one address among them.
const MOST: usize = 1024;
const MOST_OF_ONE: usize = 128;
/// Connections that wait to be served.
const READY: usize = 64;
/// When the process has no file descriptors left, waiting helps.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// Who shows a certificate of our authority.
    Certified,
    /// Who shows none, too: routes must ask.
    Anybody,
}

/// Who has connected.
#[derive(Clone, Debug)]
pub struct Guest {
    pub address: SocketAddr,
    /// Absent when no certificate was shown.
    pub peer: Option<Peer>,
}

/// For `axum::serve`, with [`Guest`] as its connections' information.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, Guest)>,
    address: SocketAddr,
    /// Ends with the listener, and the handshakes with it.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, live: Live, guests: Guests) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (tell, ready) = mpsc::channel(READY);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, live, guests, tell));
        Ok(TlsListener { ready, address, _accepting: accepting })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Guest;

    async fn accept(&mut self) -> (Self::Io, Guest) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // Never: whoever accepts lives as long as the listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Guest> {
        Ok(Guest { address: self.address, peer: None })
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Guest {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.remote_addr().clone()
    }
}

async fn accept(
    listener: TcpListener,
    live: Live,
    guests: Guests,
    tell: mpsc::Sender<(TlsStream<TcpStream>, Guest)>,
) {
    let (mut handshakes, crowd) = (JoinSet::new(), Crowd::default());
    loop {
        while handshakes.try_join_next().is_some() {}
        while handshakes.len() >= MOST {
            handshakes.join_next().await;
        }
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        // Dropped: others must find a place.
        let Some(place) = crowd.enter(address.ip()) else { continue };
        let (live, tell) = (live.clone(), tell.clone());
        handshakes.spawn(async move {
            let welcomed = tokio::time::timeout(HANDSHAKE, welcome(stream, address, &live, guests)).await;
            drop(place);
            match welcomed {
                Ok(Ok(ready)) => drop(tell.send(ready).await),
                Ok(Err(error)) => tracing::info!(%address, %error, "a connection was refused"),
                Err(_) => tracing::info!(%address, "a connection said nothing"),
            }
        });
    }
}

async fn welcome(
    stream: TcpStream,
    address: SocketAddr,
    live: &Live,
    guests: Guests,
) -> Result<(TlsStream<TcpStream>, Guest), Error> {
    let refused = |error: io::Error| Error::Refused(error.to_string());
    stream.set_nodelay(true).map_err(refused)?;
    let identity = live.current();
    let stream = TlsAcceptor::from(identity.server(guests)).accept(stream).await.map_err(refused)?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = shown.map(identity::peer).transpose()?;
    match &peer {
        Some(peer) if identity.is_revoked(peer.machine) => {
            Err(Error::Refused(format!("machine {} is revoked", peer.machine)))
        }
        _ => Ok((stream, Guest { address, peer })),
    }
}

/// How many of each address are shaking hands.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

struct Place(Crowd, IpAddr);

impl Crowd {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        (*count < MOST_OF_ONE).then(|| *count += 1)?;
        drop(counts);
        Some(Place(self.clone(), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&self.1) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.1);
        }
    }
}
