//! Heartbeats: one small datagram says that a host lives.
//!
//! ```text
//!  "CHB1" │ host, 16 bytes │ counter, 8 bytes │ first 16 bytes of HMAC-SHA256 over all before it
//! ```
//! Each host has a key of its own, derived from one secret that all controllers share: any of them verifies any
//! host's datagrams and need not know the host. A counter only grows, also over restarts of an agent, since
//! it is the time (Unix milliseconds, or one more than the last): who remembers the last one hears nothing
//! twice, and who remembers none can tell what is old.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use uuid::Uuid;

use crate::Fault;
use crate::calls::host::Heartbeat;

/// Of a datagram, bytes.
pub const LENGTH: usize = SIGNED + TAG;

const MAGIC: &[u8; 4] = b"CHB1";
const SIGNED: usize = 4 + 16 + 8;
const TAG: usize = 16;
/// Nobody is told to beat faster.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3600);

type HmacSha256 = Hmac<Sha256>;

/// What the keys of all hosts are derived from.
#[derive(Clone)]
pub struct Secret(HmacSha256);

/// What one host signs with.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Its uuid.
    pub host: u128,
    pub counter: u64,
}

/// Gives numbers that only grow.
#[derive(Debug, Default)]
pub struct Counter(u64);

/// A host's heart: beats as it was last told, and not before it was told. Rests when it is dropped.
#[derive(Default)]
pub struct Heart(Mutex<Option<watch::Sender<Arc<Orders>>>>);

#[derive(Clone, PartialEq, Eq)]
struct Orders {
    host: u128,
    key: Key,
    addresses: Vec<String>,
    interval: Duration,
}

impl Secret {
    pub fn new(secret: &[u8]) -> Self {
        Secret(keyed(secret))
    }

    pub fn key(&self, host: u128) -> Key {
        let mut mac = self.0.clone();
        mac.update(&host.to_be_bytes());
        Key(mac.finalize().into_bytes().into())
    }

    /// What the datagram says, if the host that it names has signed it.
    pub fn read(&self, datagram: &[u8]) -> Option<Beat> {
        let beat = Beat::read(datagram)?;
        let mac = self.key(beat.host).over(&datagram[..SIGNED]);
        mac.verify_truncated_left(&datagram[SIGNED..]).ok().map(|()| beat)
    }
}

impl Key {
    pub fn sign(&self, beat: Beat) -> [u8; LENGTH] {
        let mut datagram = [0; LENGTH];
        datagram[..4].copy_from_slice(MAGIC);
        datagram[4..20].copy_from_slice(&beat.host.to_be_bytes());
        datagram[20..SIGNED].copy_from_slice(&beat.counter.to_be_bytes());
        let tag = self.over(&datagram[..SIGNED]).finalize().into_bytes();
        datagram[SIGNED..].copy_from_slice(&tag[..TAG]);
        datagram
    }

    fn over(&self, text: &[u8]) -> HmacSha256 {
        let mut mac = keyed(&self.0);
        mac.update(text);
        mac
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("a key of any length is one")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Key {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let key = hex::decode(text).ok().and_then(|key| key.try_into().ok());
        key.map(Key).ok_or_else(|| Fault::new("a heartbeat's key is 64 hex digits"))
    }
}

impl Beat {
    /// What the datagram claims; nobody has proven it.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let datagram: &[u8; LENGTH] = datagram.try_into().ok()?;
        let host = datagram.strip_prefix(MAGIC)?.first_chunk()?;
        let counter = datagram[20..].first_chunk()?;
        Some(Beat { host: u128::from_be_bytes(*host), counter: u64::from_be_bytes(*counter) })
    }
}

impl Counter {
    pub fn tick(&mut self) -> u64 {
        self.0 = now().max(self.0 + 1);
        self.0
    }
}

/// Unix milliseconds: what a counter is, but for clocks that were set back.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Heart {
    /// Beats for `host` from now on, as `orders` say.
    ///
    /// # Errors
    /// When the orders make no sense.
    pub fn obey(&self, host: &str, orders: &Heartbeat) -> Result<(), Fault> {
        let orders = Arc::new(Orders::of(host, orders)?);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*told {
            Some(told) => {
                told.send_if_modified(|known| {
                    let news = *known != orders;
                    *known = orders;
                    news
                });
            }
            None => {
                let (tell, orders) = watch::channel(orders);
                tokio::spawn(beat(orders));
                *told = Some(tell);
            }
        }
        Ok(())
    }
}

impl Orders {
    fn of(host: &str, orders: &Heartbeat) -> Result<Self, Fault> {
        let interval = Duration::from_millis(orders.interval);
        if !(SHORTEST..=LONGEST).contains(&interval) || orders.addresses.is_empty() {
            return Err(Fault::new(format!(
                "a heartbeat goes to somebody, every {SHORTEST:?} to {LONGEST:?}, not every {interval:?} to {:?}",
                orders.addresses
            )));
        }
        let (host, key) = (Uuid::try_parse(host)?.as_u128(), orders.key.parse()?);
        Ok(Orders { host, key, addresses: orders.addresses.clone(), interval })
    }
}

/// Ends with its heart.
async fn beat(mut orders: watch::Receiver<Arc<Orders>>) {
    let mut counter = Counter::default();
    loop {
        let current = Arc::clone(&orders.borrow_and_update());
        let datagram = current.key.sign(Beat { host: current.host, counter: counter.tick() });
        for address in &current.addresses {
            if let Err(error) = send(&datagram, address).await {
                tracing::debug!(address, %error, "a heartbeat was not sent");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(current.interval) => {}
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

/// From a socket of its own each time: addresses and routes of a machine come and go.
async fn send(datagram: &[u8], address: &str) -> std::io::Result<()> {
    let to = tokio::net::lookup_host(address).await?.next();
    let to = to.ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let from = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind(SocketAddr::new(from, 0)).await?;
    socket.send_to(datagram, to).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(counter: u64) -> Beat {
        Beat { host: 7, counter }
    }

    #[test]
    fn a_datagram_says_what_its_host_has_signed_and_nothing_else() {
        let (secret, other) = (Secret::new(b"ours"), Secret::new(b"theirs"));
        let datagram = secret.key(beat(1).host).sign(beat(u64::MAX));
        assert!(datagram.len() <= 128);
        assert_eq!(secret.read(&datagram), Some(beat(u64::MAX)));
        assert_eq!(other.read(&datagram), None);
        assert_eq!(secret.read(&secret.key(8).sign(beat(1))), None, "another host's key");
        for at in 0..LENGTH {
            let mut changed = datagram;
            changed[at] ^= 1;
            assert_eq!(secret.read(&changed), None, "byte {at}");
            assert_eq!(secret.read(&datagram[..at]), None, "cut at {at}");
        }
        assert_eq!(secret.read(&[&datagram[..], b"x"].concat()), None);
    }

    #[test]
    fn every_version_signs_alike() {
        let key = Secret::new(b"ours").key(beat(1).host);
        assert_eq!(hex::encode(key.sign(beat(1))), GOLDEN);
        assert!(key.to_string().parse::<Key>().is_ok_and(|again| again == key));
        assert!("ab".parse::<Key>().is_err());
    }

    #[test]
    fn a_counter_grows_also_when_no_time_passes() {
        let mut counter = Counter::default();
        let numbers: Vec<u64> = (0..1000).map(|_| counter.tick()).collect();
        assert!(numbers.is_sorted_by(|one, other| one < other) && numbers[0].abs_diff(now()) < 60_000);
    }

    #[tokio::test]
    async fn a_heart_beats_as_it_was_last_told_and_rests_when_it_is_dropped() {
        let (secret, heart) = (Secret::new(b"ours"), Heart::default());
        let [first, second] = [UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await];
        let (first, second) = (first.unwrap(), second.unwrap());
        let host = beat(1).host;
        let orders = |ear: &UdpSocket| Heartbeat {
            addresses: vec![ear.local_addr().unwrap().to_string()],
            key: secret.key(host).to_string(),
            interval: 50,
        };
        let hear = async |ear: &UdpSocket| {
            let mut datagram = [0; 128];
            let heard = tokio::time::timeout(Duration::from_secs(10), ear.recv(&mut datagram)).await;
            secret.read(&datagram[..heard.ok()?.ok()?])
        };
        heart.obey(&format!("{host:032x}"), &orders(&first)).unwrap();
        let (one, two) = (hear(&first).await.unwrap(), hear(&first).await.unwrap());
        assert!(one.counter < two.counter && two.host == host);
        heart.obey(&format!("{host:032x}"), &orders(&second)).unwrap();
        assert!(hear(&second).await.unwrap().counter > two.counter);
        assert!(heart.obey("h", &orders(&first)).is_err());
        assert!(heart.obey(&format!("{host:032x}"), &Heartbeat::default()).is_err());
        drop(heart);
        tokio::time::sleep(Duration::from_millis(200)).await;
        while second.try_recv(&mut [0; 128]).is_ok() {}
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(second.try_recv(&mut [0; 128]).is_err());
    }

    const GOLDEN: &str =
        "43484231000000000000000000000000000000070000000000000001d041af86561397cd887b99807c9ee9da";
}
