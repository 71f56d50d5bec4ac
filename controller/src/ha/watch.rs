//! Looks after hosts that do not answer: at each by itself, again and again, until it answers or is given up.
//!
//! A look begins when a host misses its first ping, and so has ended when enough of them were missed. It changes
//! nothing and is kept in memory: a controller that dies costs another look. What was seen may be a little old when
//! the host is given up, for then the leases are compared once more.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use engine::{Engine, Id, Result};
use tokio::time::{Instant, sleep};

use super::bury::Bury;
use super::evidence::{self, Case, Proof, Verdict};
use super::give_up::{GiveUp, capped};
use super::{ENABLE, store};
use crate::host::{self, Host};

/// From the end of a look to the next.
const PAUSE: Duration = Duration::from_secs(10);
/// How long after a look is waited for enough pings to be missed.
const DOUBT: Duration = Duration::from_secs(60);

/// Hosts that are looked at, and when those are again that were. Hosts of all controllers of this process: none
/// belongs to two.
static LOOKED: LazyLock<Mutex<HashMap<Id<Host>, Look>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy)]
enum Look {
    Now,
    After(Instant),
}

fn looked() -> MutexGuard<'static, HashMap<Id<Host>, Look>> {
    LOOKED.lock().expect("never poisoned")
}

/// The look is over, also when its controller dies.
struct Looking(Id<Host>);

impl Looking {
    /// None while another look is under way, or has just ended.
    fn begin(host: Id<Host>) -> Option<Looking> {
        let mut looked = looked();
        match looked.get(&host) {
            Some(Look::Now) => None,
            Some(Look::After(at)) if *at > Instant::now() => None,
            _ => {
                looked.insert(host, Look::Now);
                Some(Looking(host))
            }
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        looked().insert(self.0, Look::After(Instant::now() + PAUSE));
    }
}

pub(super) async fn pass(engine: Engine) -> Result<()> {
    returned(&engine).await?;
    if !engine.setting(&ENABLE) {
        return Ok(());
    }
    bury(&engine).await?;
    let mut hosts = store::lost(&mut engine.db().read().await?).await?;
    hosts.extend(host::suspects());
    hosts.sort();
    hosts.dedup();
    looked().retain(|_, look| {
        matches!(look, Look::Now) || matches!(look, Look::After(at) if *at > Instant::now())
    });
    for host in hosts.into_iter().filter(|host| engine.owns(&host.to_string())) {
        let Some(looking) = Looking::begin(host) else { continue };
        let ours = engine.clone();
        engine.spawn(async move {
            if let Err(error) = look_at(&ours, looking.0).await {
                tracing::warn!(%host, %error, "a lost host was not looked at");
            }
            drop(looking);
        })?;
    }
    Ok(())
}

/// Hosts that are connected again are trusted again.
async fn returned(engine: &Engine) -> Result<()> {
    for host in store::back(&mut engine.db().read().await?).await? {
        note(engine, host, "Returned", "it is connected").await?;
    }
    Ok(())
}

/// VMs that a flow worked on when their host was given up.
async fn bury(engine: &Engine) -> Result<()> {
    for (vm, name, host) in store::unburied(&mut engine.db().read().await?).await? {
        if !engine.owns(&vm.to_string()) {
            continue;
        }
        if let Err(error) = engine.run(Bury { vm, name, host }).await {
            tracing::warn!(%vm, %error, "is not written off yet");
        }
    }
    Ok(())
}

async fn look_at(engine: &Engine, host: Id<Host>) -> Result<()> {
    let case = Case::of(&mut engine.db().read().await?, host).await?;
    if store::left(&mut engine.db().read().await?, host).await?.is_empty() {
        return Ok(());
    }
    let stands = store::stands(&mut engine.db().read().await?, host).await?;
    if stands.is_none_or(|one| !["Alive", "Undecided", "Held"].contains(&one.state.as_str())) {
        note(engine, host, "Watching", "it does not answer, and others look after its leases").await?;
    }
    match evidence::look(engine, &case).await {
        Verdict::Lives(how) => note(engine, host, "Alive", &how).await,
        Verdict::Unknown(why) => note(engine, host, "Undecided", &why).await,
        Verdict::Down(proof) => give_up(engine, &case, proof).await,
    }
}

/// As soon as it counts as lost.
async fn give_up(engine: &Engine, case: &Case, proof: Proof) -> Result<()> {
    let (host, began) = (case.host.uuid, Instant::now());
    loop {
        let mut tx = engine.db().read().await?;
        let now = Case::of(&mut tx, host).await?;
        if now.connection != case.connection || began.elapsed() > DOUBT {
            return Ok(());
        }
        if now.host.status == "Disconnected" {
            break;
        }
        // It has answered a ping meanwhile.
        if !host::suspects().contains(&host) && now.host.is_connected() {
            return Ok(());
        }
        drop(tx);
        sleep(Duration::from_millis(200)).await;
    }
    let mut tx = engine.db().read().await?;
    if store::seems_capped(&mut tx, &case.host).await? {
        let why = capped(&mut tx, &case.host).await?;
        drop(tx);
        return note(engine, host, "Held", &why).await;
    }
    drop(tx);
    match engine.run(GiveUp::new(&case.host, proof)).await {
        Ok(_) => Ok(()),
        Err(error) => note(engine, host, "Undecided", error.details()).await,
    }
}

/// Of a host that is lost, or back.
async fn note(engine: &Engine, host: Id<Host>, state: &'static str, reason: &str) -> Result<()> {
    let reason = reason.to_owned();
    let unit =
        engine.db().write(move |tx| Box::pin(async move { store::note_if(tx, host, state, &reason).await }));
    unit.await
}
