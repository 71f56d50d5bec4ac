//! The simulated hosts' process: agents on the real wire, behind relays that can be told to be late.
//!
//! It serves a socket: each connection says one line and gets one line of JSON.
//! `late` and `prompt` set how relays are, `show` tells what there is and everything that happened.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use fleet::{Effect, Host, Manners, Place, Size, State};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use wire::Call;
use wire::calls::{localstorage, vm};

use crate::dice::Dice;
use crate::ground::network::address;

/// Of kvm-agent, vrouter-agent, storage-agent.
pub const PORTS: [u16; 3] = [7070, 7272, 7171];
const HOSTS: u8 = 4;
const SIZE: Size = Size { cpus: 512, memory: 4 << 40 };
/// How long a command and its outcome may take.
const LONGEST: Duration = Duration::from_millis(500);
/// So long after what was said comes the end of a connection.
const LAST: Duration = Duration::from_secs(1);
/// Commands that are refused now and then: those of which nothing is left when the operation is undone.
const REFUSED: &[&str] = &[localstorage::CreateFromCache::PATH, vm::Start::PATH];

pub fn addresses() -> Vec<Ipv4Addr> {
    (0..HOSTS).map(|host| address(101 + host)).collect()
}

/// All that is there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shown {
    /// In the order of [`addresses`].
    pub hosts: Vec<State>,
    pub effects: Vec<Vec<Effect>>,
    /// How often something was delivered late.
    pub held: u64,
}

/// How relays are.
struct Relays {
    late: AtomicBool,
    held: AtomicU64,
    dice: std::sync::Mutex<Dice>,
}

/// Serves until it is killed.
pub async fn serve(socket: &Path, seed: u64) -> Result<()> {
    let relays = Arc::new(Relays {
        late: AtomicBool::new(false),
        held: AtomicU64::new(0),
        dice: std::sync::Mutex::new(Dice::new(seed).fork(77)),
    });
    let mut hosts = Vec::new();
    for (number, outside) in addresses().into_iter().enumerate() {
        let inside = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(number)?);
        let place = Place { address: inside.into(), ..Place::default() };
        let manners = Manners::new(seed ^ (number as u64) << 32, LONGEST, (REFUSED, 25));
        let host = Host::start_with(place, SIZE, manners).await?;
        for (port, to) in PORTS.into_iter().zip([host.kvm, host.vrouter, host.storage]) {
            let listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(outside), port)).await?;
            tokio::spawn(relay(listener, to, Arc::clone(&relays)));
        }
        hosts.push(host);
    }
    let unfinished = socket.with_extension("new");
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::rename(&unfinished, socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        if let Err(error) = answer(stream, &hosts, &relays).await {
            eprintln!("{error:#}");
        }
    }
}

async fn answer(stream: UnixStream, hosts: &[Host], relays: &Relays) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.trim() {
        "late" => relays.late.store(true, Ordering::SeqCst),
        "prompt" => relays.late.store(false, Ordering::SeqCst),
        _ => {}
    }
    let shown = Shown {
        hosts: hosts.iter().map(|host| host.world.state()).collect(),
        effects: hosts.iter().map(|host| host.world.effects()).collect(),
        held: relays.held.load(Ordering::SeqCst),
    };
    Ok(stream.write_all(&serde_json::to_vec(&shown)?).await?)
}

/// Tells the hosts' process something.
pub async fn tell(dir: &Path, word: &str) -> Result<Shown> {
    let socket: PathBuf = dir.join("fleet.sock");
    let asked = async {
        let mut stream = UnixStream::connect(&socket).await?;
        stream.write_all(format!("{word}\n").as_bytes()).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        anyhow::Ok(serde_json::from_slice(&text)?)
    };
    timeout(Duration::from_secs(30), asked).await.context("the hosts' process does not answer")?
}

async fn relay(listener: TcpListener, to: SocketAddr, relays: Arc<Relays>) {
    while let Ok((outside, _)) = listener.accept().await {
        let relays = Arc::clone(&relays);
        tokio::spawn(async move {
            let Ok(inside) = TcpStream::connect(to).await else { return };
            let _set = (outside.set_nodelay(true), inside.set_nodelay(true));
            let ((from, mut back), (mut answers, into)) = (outside.into_split(), inside.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            let _the_connection_is_over = pass(from, into, &relays).await;
        });
    }
}

/// What was read is delivered, also when who sent it has gone.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut into: tokio::net::tcp::OwnedWriteHalf,
    relays: &Relays,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            // Right behind a command it would have the agent drop it unread.
            sleep(LAST).await;
            return into.shutdown().await;
        }
        let pause = relays.pause();
        if !pause.is_zero() {
            sleep(pause).await;
        }
        into.write_all(&buffer[..count]).await?;
    }
}

impl Relays {
    fn pause(&self) -> Duration {
        let mut dice = self.dice.lock().expect("never poisoned");
        if !self.late.load(Ordering::SeqCst) || dice.one_in(2) {
            return Duration::ZERO;
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        dice.millis(500, 12_000)
    }
}
