//! Carries a plan of faults out, heals each, and counts which of them really fired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ground::network::{self, Cut};
use crate::ground::{Ground, whereabouts};
use crate::hosts;
use crate::plan::{Fault, Party, Planned, Way};
use crate::takeover::{self, TakeOver};

/// What came of a plan.
#[derive(Default)]
pub struct Fired {
    /// Planned and fired, by kind.
    pub counts: BTreeMap<&'static str, (usize, usize)>,
    pub take_overs: Vec<TakeOver>,
    pub findings: Vec<String>,
    /// Which faults were on, from when to when.
    pub spans: Vec<(Instant, Instant, Fault)>,
}

static CUTS: AtomicUsize = AtomicUsize::new(0);

/// Carries it out from now on; everything is healed when it returns.
pub async fn rage(ground: Arc<Ground>, plan: Vec<Planned>) -> Fired {
    let (began, mut fired) = (Instant::now(), Fired::default());
    let mut faults = Vec::new();
    for Planned { at, fault } in plan {
        fired.counts.entry(fault.kind()).or_default().0 += 1;
        let ground = Arc::clone(&ground);
        let one = tokio::spawn(async move {
            sleep_until(began + at).await;
            eprintln!("{:7.1} s  {fault}", began.elapsed().as_secs_f64());
            let from = Instant::now();
            (fire(&ground, fault).await, from, Instant::now())
        });
        faults.push((fault, one));
    }
    for (fault, one) in faults {
        match one.await {
            Ok((Ok(take_overs), from, to)) => {
                fired.counts.entry(fault.kind()).or_default().1 += 1;
                fired.take_overs.extend(take_overs);
                fired.spans.push((from, to, fault));
            }
            Ok((Err(error), ..)) => fired.findings.push(format!("did not fire: {fault}: {error:#}")),
            Err(error) => fired.findings.push(format!("did not fire: {fault}: {error}")),
        }
    }
    fired
}

/// Does it, sees that it fires, heals it.
async fn fire(ground: &Arc<Ground>, fault: Fault) -> Result<Vec<TakeOver>> {
    match fault {
        Fault::Kill { controller, down } => return kill(ground, controller, down).await,
        Fault::Stop { controller, span } => stop(ground, controller, span).await?,
        Fault::Cut { controller, from, way, span } => cut(ground, controller, from, way, span).await?,
        Fault::Restart { crash, down } => restart(ground, crash, down).await?,
        Fault::FailOver => fail_over(ground, None).await?,
        Fault::Split { span } => fail_over(ground, Some(span)).await?,
        Fault::Alone { span } => alone(ground, span).await?,
        Fault::Clock { controller, seconds, span } => clock(ground, controller, seconds, span).await?,
        Fault::Late { span } => late(ground, span).await?,
    }
    Ok(Vec::new())
}

async fn kill(ground: &Arc<Ground>, number: usize, down: Duration) -> Result<Vec<TakeOver>> {
    let watch = takeover::left_by(number).await;
    let mut controller = ground.controllers[number].lock().await;
    let alive = controller.kill().await?;
    let died = Instant::now();
    ensure!(alive, "the controller had ended before:\n{}", controller.last_words());
    let watched = tokio::spawn(takeover::watch(watch.unwrap_or_default(), died));
    sleep(down).await;
    controller.start(number).await?;
    Ok(watched.await?)
}

async fn stop(ground: &Ground, number: usize, span: Duration) -> Result<()> {
    let controller = ground.controllers[number].lock().await;
    controller.signal(Signal::SIGSTOP)?;
    sleep(span).await;
    let stopped = controller.is_stopped();
    controller.signal(Signal::SIGCONT)?;
    ensure!(stopped, "the controller was not stopped");
    Ok(())
}

async fn cut(ground: &Ground, number: usize, from: Party, way: Way, span: Duration) -> Result<()> {
    let network = ground.controllers[number].lock().await.network.clone();
    let (addresses, listens) = whereabouts(from);
    let cut = network::cut(&network, next_cut(), &addresses, way)?;
    let began = Instant::now();
    let works = match listens {
        Some(to) => cut.works(to).await,
        // Clients listen nowhere: they try to reach the controller.
        None => is_silent(number).await,
    };
    sleep(span.saturating_sub(began.elapsed())).await;
    cut.heal()?;
    ensure!(works, "something got through");
    Ok(())
}

async fn is_silent(number: usize) -> bool {
    let to = crate::ground::controller::at(number);
    let connected =
        tokio::time::timeout(Duration::from_millis(400), tokio::net::TcpStream::connect(to)).await;
    !matches!(connected, Ok(Ok(_)))
}

fn next_cut() -> usize {
    CUTS.fetch_add(1, Ordering::SeqCst)
}

async fn restart(ground: &Ground, crash: bool, down: Duration) -> Result<()> {
    let mut database = ground.database.lock().await;
    ground.outage_begins();
    database.stop(crash).await?;
    sleep(down).await;
    database.resume().await?;
    ground.outage_ends().await;
    Ok(())
}

/// The standby takes over; first, perhaps, it is cut off for a while.
async fn fail_over(ground: &Ground, parted: Option<Duration>) -> Result<()> {
    let mut database = ground.database.lock().await;
    ground.outage_begins();
    let cut = parted.map(|_| database.part(next_cut())).transpose()?;
    let works = lets_nothing_through(cut.as_ref(), database.standby_at()).await;
    sleep(parted.unwrap_or_default()).await;
    let done = database.fail_over().await;
    if let Some(cut) = cut {
        cut.heal()?;
    }
    done?;
    ground.outage_ends().await;
    database.make_standby().await?;
    ensure!(works, "something got through");
    Ok(())
}

async fn lets_nothing_through(cut: Option<&Cut>, to: std::net::SocketAddr) -> bool {
    match cut {
        Some(cut) => cut.works(to).await,
        None => true,
    }
}

async fn alone(ground: &Ground, span: Duration) -> Result<()> {
    let database = ground.database.lock().await;
    ground.outage_begins();
    let cut = database.part(next_cut())?;
    let works = cut.works(database.standby_at()).await;
    sleep(span).await;
    cut.heal()?;
    ground.outage_ends().await;
    ensure!(works, "something got through");
    Ok(())
}

async fn clock(ground: &Ground, number: usize, seconds: i64, span: Duration) -> Result<()> {
    let controller = ground.controllers[number].lock().await;
    let before = controller.clock.reads()?;
    controller.clock.set(seconds)?;
    sleep(span).await;
    let after = controller.clock.reads()?;
    controller.clock.set(0)?;
    ensure!(after > before, "nobody looked at the clock");
    Ok(())
}

async fn late(ground: &Ground, span: Duration) -> Result<()> {
    let before = hosts::tell(ground.dir(), "late").await?.held;
    sleep(span).await;
    let after = hosts::tell(ground.dir(), "prompt").await?.held;
    ensure!(after > before, "nothing was held up");
    Ok(())
}

impl Fired {
    /// Whether another fault than this kill was on between these moments.
    pub fn undisturbed(&self, from: Instant, to: Instant) -> bool {
        let others = self.spans.iter().filter(|(.., fault)| !matches!(fault, Fault::Kill { .. }));
        !others.into_iter().any(|(began, ended, _)| *began <= to && from <= *ended)
    }
}
