//! How long finding a host takes: VMs find theirs one after another, each in a unit of its own as creations
//! do. Prints JSON: for each strategy p50 and p99 in milliseconds, and the most VMs that a host got.
//!
//! `choose HOSTS VMS [DATABASE-URL]`

mod store;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use cumulet_controller::Controller;
use cumulet_controller::config::{AgentsMode, Config, Database};
use cumulet_controller::vm::allocate::{Demand, choose, claim};
use engine::{Any, Engine, Id};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const STRATEGIES: [&str; 2] = ["LeastVmPreferredHostAllocatorStrategy", "DefaultHostAllocatorStrategy"];

/// One VM finds its host: which, and in how many milliseconds. Its row is no part of that.
async fn one(engine: &Engine, number: i64, strategy: &'static str) -> Result<(Id<Any>, f64)> {
    let placed = engine.db().write(move |tx| {
        Box::pin(async move {
            let vm = Id::<Any>::random();
            store::enter_vm(tx, vm, number).await?;
            let demand = Demand { hypervisor: "KVM".into(), cpu: 1, memory: 512 << 20, ..Demand::default() };
            let began = Instant::now();
            let place = choose(tx, &demand, strategy).await?;
            claim(tx, vm.cast(), &demand, &place.host, &[]).await?;
            Ok((place.host.uuid.cast(), began.elapsed().as_secs_f64() * 1e3))
        })
    });
    Ok(placed.await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let mut number = |usual: usize| words.next().map_or(Ok(usual), |word| word.parse());
    let (hosts, vms) = (number(1000)?, number(10_000)?);
    let (dir, stop) = (tempfile::tempdir()?, CancellationToken::new());
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        agents: AgentsMode::Plain,
        state_dir: dir.path().to_owned(),
        database: Database { url: words.next() },
        admin_password: Some("secret".into()),
        ..Config::default()
    };
    let controller = Controller::start(config, stop.clone()).await?;
    let engine = &controller.engine;
    engine.db().write(move |tx| Box::pin(store::furnish(tx, hosts))).await?;
    let mut told = Vec::new();
    let mut internal = 0;
    for strategy in STRATEGIES {
        let (mut times, mut taken) = (Vec::with_capacity(vms), HashMap::<_, usize>::new());
        for _ in 0..vms {
            internal += 1;
            let (host, time) = one(engine, internal, strategy).await?;
            *taken.entry(host).or_default() += 1;
            times.push(time);
        }
        engine.db().write(|tx| Box::pin(store::empty(tx))).await?;
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().context("no times");
        let most = taken.values().max().context("no host")?;
        told.push(json!({ "strategy": strategy, "p50": at(50)?, "p99": at(99)?, "most": most,
            "used": taken.len() }));
    }
    println!("{}", json!(told));
    stop.cancel();
    Ok(())
}
