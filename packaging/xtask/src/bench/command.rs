//! Rows 1 and 2: how fast an agent takes a command that does nothing and reports it, and what that costs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::ground::{Ground, build, example};
use super::load::{Aim, Limit, Measured, Told, load};
use super::peer;
use super::subject::{Subject, free_address, processor_time};
use super::table::{Figure, Gate, Line, Report, Unit};

/// Not journalled.
pub const LOOK: &str = "/null/look";
/// Journalled.
pub const ACT: &str = "/null/act";

const LANES: usize = 32;
const MANY_LANES: usize = 256;
/// Each subject in turn, so that a noisy moment hits all alike; the round with the median rate counts.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);

/// A load, and the processor time of the one it was put on.
struct Round {
    measured: Measured,
    used: Duration,
}

struct Served {
    address: SocketAddr,
    pid: u32,
    /// Takes connections better when they are new.
    fresh: bool,
}

/// An agent of our own kind: the null agent or its floor.
pub struct Null {
    pub address: SocketAddr,
    pub process: Subject,
}

impl Null {
    /// `name` is both an example's and that of its state and log.
    pub async fn start(ground: &Ground, name: &str, state: PathBuf) -> Result<Self> {
        let address = free_address()?;
        let args = [address.to_string().into(), state.into_os_string()];
        let process = ground.start(&format!("{name}.log"), &example(name), args, address).await?;
        Ok(Self { address, process })
    }

    fn served(&self) -> Served {
        Served { address: self.address, pid: self.process.pid(), fresh: false }
    }
}

pub fn build_all() -> Result<()> {
    build(&["-p", "wire", "--example", "null_agent"])?;
    build(&["-p", "xtask", "--example", "floor_command"])
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    build_all()?;
    let ours = Null::start(ground, "null_agent", ground.state("row1-ours")?).await?;
    let floor = Null::start(ground, "floor_command", ground.state("row1-floor")?).await?;
    let mut report = Report::default();
    let peer = match peer::start(ground).await {
        Ok(peer) => Some(peer),
        Err(error) => {
            report.notes.push(format!("rows 1 and 2: {error:#}"));
            None
        }
    };
    let served = match &peer {
        Some(peer) => Some(best_of(peer.address, peer.process.pid()).await.context("peer")?),
        None => None,
    };
    let served = served.as_ref();
    for (path, kind) in [(LOOK, "not journalled"), (ACT, "journalled")] {
        ground.progress.stage(&format!("row 1: null commands, {kind}"));
        let [ours, floor] = [ours.served(), floor.served()];
        report.lines.extend(at(path, kind, &ours, &floor, served).await?);
    }
    report.lines.sort_by_key(|line| line.row);
    Ok(report)
}

async fn at(
    path: &'static str,
    kind: &str,
    ours: &Served,
    floor: &Served,
    peer: Option<&Served>,
) -> Result<Vec<Line>> {
    let (mut our, mut floors, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our.push(round(ours, path, LANES).await.context("null agent")?);
        floors.push(round(floor, path, LANES).await.context("floor")?);
        if let Some(peer) = peer {
            peers.push(round(peer, path, LANES).await.context("peer")?);
        }
    }
    let (our, floors) = (median(our).context("no round")?, median(floors).context("no round")?);
    let peers = median(peers);
    let many = [round(ours, path, MANY_LANES).await?, round(floor, path, MANY_LANES).await?];
    let peer_figure = |figure: fn(&Round) -> Figure| peers.as_ref().map(figure);
    let p99 = |round: &Round| Unit::Milliseconds.of(round.measured.milliseconds(0.99));
    let line = |row, metric: &str| (row, format!("{metric}, {kind}"));
    let rate = |round: &Round| Unit::PerSecond.of(round.measured.per_second());
    let ((row, name), (p99_row, p99_name)) = (line(1, "null command c=32"), line(1, "p99 c=256"));
    let (cost_row, cost_name) = line(2, "CPU per null command");
    Ok(vec![
        Line::new(row, name, rate(&our))
            .floor(rate(&floors))
            .peer(peer_figure(rate))
            .gate(Gate::TimesPeer(15.0)),
        Line::new(p99_row, p99_name, p99(&many[0])).floor(p99(&many[1])),
        Line::new(cost_row, cost_name, cost(&our))
            .floor(cost(&floors))
            .peer(peer_figure(cost))
            .gate(Gate::TimesPeer(10.0)),
    ])
}

fn cost(round: &Round) -> Figure {
    Unit::Microseconds.of(round.used.as_secs_f64() * 1e6 / round.measured.trips() as f64)
}

async fn round(served: &Served, path: &'static str, lanes: usize) -> Result<Round> {
    let before = processor_time(served.pid)?;
    let measured = load(&aim(served.address, path, served.fresh), lanes, Limit::time(ROUND)).await?;
    Ok(Round { measured, used: processor_time(served.pid)? - before })
}

fn median(mut rounds: Vec<Round>) -> Option<Round> {
    rounds.sort_by(|a, b| a.measured.per_second().total_cmp(&b.measured.per_second()));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle)
}

/// The peer is given the kind of connections that it takes better.
async fn best_of(address: SocketAddr, pid: u32) -> Result<Served> {
    let [kept, fresh] = [false, true].map(|fresh| Served { address, pid, fresh });
    let by_kept = round(&kept, LOOK, LANES).await?.measured.per_second();
    let by_fresh = round(&fresh, LOOK, LANES).await?.measured.per_second();
    Ok(if by_kept > by_fresh { kept } else { fresh })
}

/// Commands that do nothing, to an agent.
pub fn aim(to: SocketAddr, path: &'static str, fresh: bool) -> Aim {
    let connection = if fresh { "close" } else { "keep-alive" };
    let request = move |id: &str, callback: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nconnection: {connection}\r\ntaskuuid: {id}\r\n\
             callbackurl: {callback}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        )
    };
    Aim {
        to,
        told: Told::Callback("taskuuid"),
        status: 200,
        fresh,
        request: Arc::new(request),
        question: Arc::new(|_| String::new()),
        success: None,
    }
}
