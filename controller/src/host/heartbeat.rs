//! Heartbeats: which hosts were heard lately, in memory.
//!
//! A ping brings a host its key and our address; from then on it says every few seconds, in one datagram, that
//! it lives. Hosts that were heard lately are not pinged ([`super::ping`]), one that falls silent is pinged at
//! once, and only pings declare a host lost.
//!
//! Invariants: nothing counts twice, and nothing that is older than [`LATE`], also after a restart or when the
//! ring has given the host to another controller; what is wrong with a heartbeat costs a ping, never a host.
//! Every controller derives every host's key from one secret, so none of this is written down.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use engine::db::Db;
use engine::{Engine, Id, Result, codes};
use tokio_util::sync::CancellationToken;
use wire::calls::host as call;
use wire::heartbeat::{Beat, LENGTH, Secret, now};
use wire::tls::name;

use super::{HEARTBEAT, Host, store};

/// A heartbeat may differ so much from our clock; the pings of a host whose clock is worse go on.
const LATE: Duration = Duration::from_secs(300);
/// What the kernel may keep while we are busy, if it allows so much.
const BUFFER: usize = 8 << 20;
/// How soon the listener ends.
const GLANCE: Duration = Duration::from_millis(500);

/// What is known of hosts by their heartbeats.
pub struct Heartbeats {
    secret: Secret,
    /// Where hosts send them; nowhere when we cannot listen.
    ear: Option<String>,
    began: Instant,
    heard: Mutex<HashMap<Id<Host>, Last>>,
}

/// A host's last heartbeat.
#[derive(Clone, Copy)]
struct Last {
    counter: u64,
    /// Milliseconds since we began; good for seven weeks, and then for the next.
    at: u32,
    /// It was missed.
    silent: bool,
}

impl Heartbeats {
    /// Listens at `address` until `stop`; hosts are told the address that is in the callback URL.
    pub async fn open(
        db: &Db,
        address: SocketAddr,
        callback_url: &str,
        stop: &CancellationToken,
    ) -> Result<Arc<Heartbeats>> {
        let fresh = hex::encode(rand::random::<[u8; 32]>());
        let secret = db.write(|tx| Box::pin(store::heartbeat_secret(tx, fresh))).await?;
        let (socket, ear) = match (listen(address), ear(callback_url)) {
            (Ok(socket), Some(ear)) => (Some(socket), Some(ear)),
            (Err(error), _) => {
                tracing::warn!(%address, %error, "no heartbeats are heard: all hosts are pinged");
                (None, None)
            }
            (_, None) => (None, None),
        };
        let heartbeats = Arc::new(Heartbeats::new(secret.as_bytes(), ear));
        if let Some(socket) = socket {
            let (ours, stop) = (Arc::clone(&heartbeats), stop.clone());
            // A thread of its own: what waits too long in the kernel is lost.
            let listener = std::thread::Builder::new().name("heartbeats".into());
            let listener = listener.spawn(move || ours.listen(&socket, &stop));
            listener
                .map_err(|error| codes::INTERNAL.because(format!("no thread for heartbeats: {error}")))?;
        }
        Ok(heartbeats)
    }

    fn new(secret: &[u8], ear: Option<String>) -> Self {
        Heartbeats { secret: Secret::new(secret), ear, began: Instant::now(), heard: Mutex::default() }
    }

    /// What the host is told when it is pinged.
    pub(super) fn orders(&self, host: Id<Host>, interval: Duration) -> Option<call::Heartbeat> {
        let ear = self.ear.as_ref()?;
        Some(call::Heartbeat {
            addresses: vec![ear.clone()],
            key: self.secret.key(host.bits()).to_string(),
            interval: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Whether the host has missed no two heartbeats.
    pub(super) fn is_heard(&self, host: Id<Host>, interval: Duration) -> bool {
        let (now, patience) = (self.now(), patience(interval));
        self.heard().get(&host).is_some_and(|last| last.is_within(patience, now))
    }

    /// Those who have just missed their second heartbeat; each is told once, until it is heard again.
    pub(super) fn fallen_silent(&self, interval: Duration) -> Vec<Id<Host>> {
        let (now, patience) = (self.now(), patience(interval));
        let mut heard = self.heard();
        let missed = heard.iter_mut().filter(|(_, last)| !last.silent && !last.is_within(patience, now));
        missed
            .map(|(host, last)| {
                last.silent = true;
                *host
            })
            .collect()
    }

    /// Forgets all but these.
    pub(super) fn retain(&self, hosts: &HashSet<Id<Host>>) {
        let mut heard = self.heard();
        heard.retain(|host, _| hosts.contains(host));
        let spare = heard.len() * 2;
        heard.shrink_to(spare);
    }

    fn listen(&self, socket: &UdpSocket, stop: &CancellationToken) {
        let mut datagram = [0; LENGTH + 1];
        while !stop.is_cancelled() {
            match socket.recv(&mut datagram) {
                Ok(length) => _ = self.hear(&datagram[..length], now()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => {
                    tracing::warn!(%error, "a heartbeat was not received");
                    std::thread::park_timeout(GLANCE);
                }
            }
        }
    }

    /// Whether it is news. The cheap questions come first: anybody can send datagrams.
    fn hear(&self, datagram: &[u8], clock: u64) -> bool {
        let late = u64::try_from(LATE.as_millis()).unwrap_or(u64::MAX);
        let claimed = Beat::read(datagram).filter(|beat| beat.counter.abs_diff(clock) <= late);
        let Some(claimed) = claimed.filter(|beat| self.is_news(*beat)) else { return false };
        if self.secret.read(datagram) != Some(claimed) {
            return false;
        }
        let last = Last { counter: claimed.counter, at: self.now(), silent: false };
        self.heard().insert(Id::of_bits(claimed.host), last);
        true
    }

    fn is_news(&self, beat: Beat) -> bool {
        self.heard().get(&Id::of_bits(beat.host)).is_none_or(|last| last.counter < beat.counter)
    }

    /// Milliseconds, turning over.
    #[expect(clippy::cast_possible_truncation, reason = "only differences are looked at")]
    fn now(&self) -> u32 {
        self.began.elapsed().as_millis() as u32
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<Id<Host>, Last>> {
        self.heard.lock().expect("never poisoned")
    }
}

impl Last {
    fn is_within(self, patience: Duration, now: u32) -> bool {
        !self.silent && u128::from(now.wrapping_sub(self.at)) <= patience.as_millis()
    }
}

/// Two heartbeats, and what the second may be late.
fn patience(interval: Duration) -> Duration {
    interval * 5 / 2
}

/// How often hosts shall beat.
pub(super) fn interval(engine: &Engine) -> Duration {
    engine.setting(&HEARTBEAT)
}

fn listen(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(GLANCE))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
    Ok(socket)
}

/// The host and port of a URL at which agents reach us.
fn ear(callback_url: &str) -> Option<String> {
    let url = url::Url::parse(callback_url).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Some(match name::address(host) {
        Some(address) => SocketAddr::new(address, port).to_string(),
        None => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);
    const CLOCK: u64 = 1_800_000_000_000;

    fn host() -> Id<Host> {
        Id::of_bits(7)
    }

    fn beat(heartbeats: &Heartbeats, counter: u64) -> [u8; LENGTH] {
        let host = host().bits();
        heartbeats.secret.key(host).sign(Beat { host, counter })
    }

    #[test]
    fn a_heartbeat_counts_once_and_not_when_it_is_old_or_not_the_hosts() {
        let ours = Heartbeats::new(b"ours", None);
        assert!(!ours.is_heard(host(), INTERVAL));
        let stranger = Heartbeats::new(b"theirs", None);
        assert!(!ours.hear(&beat(&stranger, CLOCK), CLOCK));
        for counter in [CLOCK - 300_001, CLOCK + 300_001] {
            assert!(!ours.hear(&beat(&ours, counter), CLOCK), "{counter}");
        }
        assert!(!ours.is_heard(host(), INTERVAL));
        assert!(ours.hear(&beat(&ours, CLOCK), CLOCK));
        assert!(ours.is_heard(host(), INTERVAL));
        for counter in [CLOCK - 1, CLOCK] {
            assert!(!ours.hear(&beat(&ours, counter), CLOCK), "{counter}");
        }
        assert!(ours.hear(&beat(&ours, CLOCK + 1), CLOCK));
        ours.retain(&HashSet::new());
        assert!(!ours.is_heard(host(), INTERVAL));
    }

    #[tokio::test]
    async fn who_misses_two_heartbeats_is_told_once() {
        let ours = Heartbeats::new(b"ours", None);
        ours.hear(&beat(&ours, CLOCK), CLOCK);
        assert_eq!(ours.fallen_silent(INTERVAL), []);
        tokio::time::sleep(INTERVAL * 3).await;
        assert!(!ours.is_heard(host(), INTERVAL));
        assert_eq!(ours.fallen_silent(INTERVAL), [host()]);
        assert_eq!(ours.fallen_silent(INTERVAL), []);
        ours.hear(&beat(&ours, CLOCK), CLOCK);
        assert!(!ours.is_heard(host(), INTERVAL), "what was sent before does not bring it back");
        ours.hear(&beat(&ours, CLOCK + 1), CLOCK);
        assert!(ours.is_heard(host(), INTERVAL));
    }

    #[test]
    fn a_host_takes_little_memory() {
        assert!(size_of::<(Id<Host>, Last)>() <= 32);
    }

    #[test]
    fn hosts_are_told_an_address_and_not_a_name_of_ours() {
        let ear = |url| super::ear(url).unwrap();
        assert_eq!(ear("https://10-0-0-1.controller.cumulet:8081/zstack/c"), "10.0.0.1:8081");
        assert_eq!(ear("http://10.0.0.1:8080/c"), "10.0.0.1:8080");
        assert_eq!(ear("http://[::1]:8080/c"), "[::1]:8080");
        assert_eq!(ear("http://cloud.example.org/c"), "cloud.example.org:80");
    }
}
