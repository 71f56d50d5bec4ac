//! The heartbeats of very many hosts in one process, for measurements.
//!
//! `beats DATABASE CLUSTER NUMBER SECONDS PORT CONTROLLER` enters the hosts into the SQLite database of a controller
//! that runs, as connected ones of the cluster at 127.1.0.0, 127.1.0.1, …; says `ready`; sends for each of
//! them one heartbeat every so many seconds to the controller (`address:port`), and answers pings at that port
//! of all of them. Ends with its standard input, and says as a line of JSON how much it sent and answered.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::Fault;
use wire::agent::{Agent, Cx, Machine, Routes};
use wire::calls::host::{Ping, Pong};
use wire::heartbeat::{Beat, Key, Secret, now};

const INSERT: &str = "INSERT INTO host (uuid, name, description, zone_uuid, cluster_uuid, management_ip, \
     hypervisor_type, state, status, username, ssh_port, cpu_num, cpu_sockets, cpu_speed, \
     total_memory, create_date, last_op_date) SELECT ?1, ?2, NULL, zone_uuid, uuid, ?3, 'KVM', 'Enabled', \
     'Connected', 'root', 22, 8, 1, 2000, 68719476736, 0, 0 FROM cluster WHERE uuid = ?4";
/// So many hosts are entered at a time: the controller that runs writes too.
const TOGETHER: u32 = 500;
/// So often datagrams leave, many together.
const PACE: Duration = Duration::from_millis(5);

/// How much was done.
#[derive(Default)]
struct Count {
    beats: AtomicU64,
    pings: AtomicU64,
    over: AtomicBool,
}

struct Wanted {
    database: String,
    cluster: String,
    number: u32,
    interval: Duration,
    port: u16,
    controller: SocketAddr,
}

fn wanted() -> Option<Wanted> {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next();
    Some(Wanted {
        database: next()?,
        cluster: next()?,
        number: next()?.parse().ok()?,
        interval: Duration::from_secs(next()?.parse().ok()?),
        port: next()?.parse().ok()?,
        controller: next()?.parse().ok()?,
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    wire::agent::main_setup();
    let wanted = wanted().ok_or("usage: beats DATABASE CLUSTER NUMBER SECONDS PORT CONTROLLER")?;
    let (count, dir) = (Arc::<Count>::default(), tempfile::tempdir()?);
    let keys = enter(&wanted)?;
    let agent = Agent { name: "simulated", state_dir: dir.path().to_owned(), again: false };
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, wanted.port)).await?;
    let routes = Routes::new(Arc::clone(&count)).on(ping);
    tokio::spawn(agent.serve_on(listener, None, Machine::here()?, routes, CancellationToken::new()));
    println!("ready");
    let ours = Arc::clone(&count);
    let beating = std::thread::spawn(move || beat(&wanted, &keys, &ours));
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    count.over.store(true, Ordering::SeqCst);
    beating.join().map_err(|_| "the sender panicked")??;
    let [beats, pings] = [&count.beats, &count.pings].map(|count| count.load(Ordering::SeqCst));
    println!("{{\"beats\":{beats},\"pings\":{pings}}}");
    Ok(())
}

/// As whatever host is asked.
async fn ping(cx: Cx<Count>, command: Ping) -> Result<Pong, Fault> {
    cx.pings.fetch_add(1, Ordering::Relaxed);
    Ok(Pong { host_uuid: command.host_uuid, ..Pong::default() })
}

/// Enters the hosts: who they are, and what they sign with.
fn enter(wanted: &Wanted) -> Result<Vec<(u128, Key)>, Box<dyn Error>> {
    let mut database = Connection::open(&wanted.database)?;
    database.busy_timeout(Duration::from_secs(30))?;
    let secret = "SELECT value FROM secret WHERE name = 'heartbeat'";
    let secret: String = database.query_row(secret, [], |row| row.get(0))?;
    let secret = Secret::new(secret.as_bytes());
    let (first, mut keys) = (u32::from(Ipv4Addr::new(127, 1, 0, 0)), Vec::new());
    for begin in (0..wanted.number).step_by(TOGETHER as usize) {
        let unit = database.transaction()?;
        for number in begin..wanted.number.min(begin + TOGETHER) {
            // Spread as random ones are: the ring and its readers shall not find them in order.
            let host = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let (uuid, name) = (format!("{host:032x}"), format!("hv{number}"));
            let address = Ipv4Addr::from(first + number).to_string();
            unit.prepare_cached(INSERT)?.execute(params![uuid, name, address, wanted.cluster])?;
            keys.push((host, secret.key(host)));
        }
        unit.commit()?;
        std::thread::park_timeout(PACE);
    }
    Ok(keys)
}

/// Evenly over the interval, host after host.
fn beat(wanted: &Wanted, keys: &[(u128, Key)], count: &Count) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(wanted.controller)?;
    let (began, mut sent) = (Instant::now(), 0_u64);
    let mut hosts = keys.iter().cycle();
    while !count.over.load(Ordering::Relaxed) {
        let share = began.elapsed().as_secs_f64() / wanted.interval.as_secs_f64();
        let due = (share * keys.len() as f64) as u64;
        for (host, key) in hosts.by_ref().take(usize::try_from(due - sent).unwrap_or(0)) {
            // Nobody hears it: a controller that is being started.
            let _ = socket.send(&key.sign(Beat { host: *host, counter: now() }));
        }
        sent = due;
        count.beats.store(sent, Ordering::Relaxed);
        std::thread::park_timeout(PACE);
    }
    Ok(())
}
