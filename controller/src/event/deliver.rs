//! Telling web hooks: each by one controller, in the order of events, until it has heard all.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use engine::event::{self, Event};
use engine::sweep::{By, Sweep};
use engine::{Engine, Id, Result, Stamp, codes};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::store::Hook;
use super::{DeadLetter, TRIES, WebHook, store};

pub(super) const SWEEP: Sweep = Sweep {
    name: "web hooks",
    every: |_| Duration::from_secs(1),
    by: By::Each,
    pass: |engine| Box::pin(pass(engine)),
};

/// So many events are looked at together.
const BATCH: i64 = 200;
const LONGEST_PAUSE: u64 = 60;
/// How long a listener may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hooks that are being told in this process.
static TELLING: LazyLock<Mutex<HashSet<Id<WebHook>>>> = LazyLock::new(Mutex::default);

/// A hook's turn to be told, until it is dropped.
struct Turn(Id<WebHook>);

impl Turn {
    fn of(hook: Id<WebHook>) -> Option<Turn> {
        TELLING.lock().expect("never poisoned").insert(hook).then_some(Turn(hook))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TELLING.lock().expect("never poisoned").remove(&self.0);
    }
}

async fn pass(engine: Engine) -> Result<()> {
    let behind = store::behind(&mut engine.db().read().await?).await?;
    for hook in behind.into_iter().filter(|hook| engine.owns(&hook.uuid.to_string())) {
        let Some(turn) = Turn::of(hook.uuid) else { continue };
        let told_by = engine.clone();
        engine.spawn(async move {
            if let Err(error) = tell(&told_by, hook).await {
                tracing::warn!(%error, "a web hook's place was not kept");
            }
            drop(turn);
        })?;
    }
    Ok(())
}

/// Tells the hook everything that it has not heard; ends when it has, or does not take something.
async fn tell(engine: &Engine, mut hook: Hook) -> Result<()> {
    loop {
        let events = event::since(&mut engine.db().read().await?, hook.seq, BATCH).await?;
        if events.is_empty() {
            return Ok(());
        }
        let passed = events.last().map_or(hook.seq, |event| event.seq);
        let wanted = hook.r#type.clone();
        for event in events.into_iter().filter(|event| event::is_of(&event.name, &wanted)) {
            if let Err(error) = post(engine, &hook, &event).await {
                return not_taken(engine, hook, event, error.details().to_owned()).await;
            }
            if !move_on(engine, &mut hook, event.seq).await? {
                return Ok(());
            }
        }
        if hook.seq < passed && !move_on(engine, &mut hook, passed).await? {
            return Ok(());
        }
    }
}

/// Notes how far the hook has come; false when somebody else has told it meanwhile.
async fn move_on(engine: &Engine, hook: &mut Hook, seq: i64) -> Result<bool> {
    let from = hook.clone();
    let noted =
        engine.db().write(move |tx| Box::pin(async move { store::heard(tx, &from, seq).await })).await?;
    (hook.seq, hook.failures) = (seq, 0);
    Ok(noted)
}

async fn not_taken(engine: &Engine, hook: Hook, event: Event, error: String) -> Result<()> {
    let tries = engine.setting(&TRIES);
    let pause = 1_u64.checked_shl(u32::try_from(hook.failures).unwrap_or(u32::MAX)).unwrap_or(LONGEST_PAUSE);
    let not_before = Stamp::now().plus(Duration::from_secs(pause.min(LONGEST_PAUSE)));
    tracing::info!(hook = %hook.uuid, event = event.seq, error, "a web hook did not take an event");
    let noted = engine.db().write(move |tx| {
        Box::pin(async move {
            match hook.failures + 1 >= tries {
                true => store::give_up(tx, &hook, &event, &error).await,
                false => store::failed(tx, &hook, &error, not_before).await,
            }
        })
    });
    noted.await
}

/// Sends a dead letter again.
pub(super) async fn again(engine: &Engine, letter: Id<DeadLetter>) -> Result<()> {
    let mut tx = engine.db().read().await?;
    let missing = || codes::NOT_FOUND.because(format!("there is no dead letter of uuid {letter}"));
    let (hook, event) = store::letter(&mut tx, letter).await?.ok_or_else(missing)?;
    let hook = store::hook(&mut tx, hook).await?.ok_or_else(missing)?;
    drop(tx);
    post(engine, &hook, &event).await
}

async fn post(engine: &Engine, hook: &Hook, event: &Event) -> Result<()> {
    let mut body = json!(event);
    body["opaque"] = json!(hook.opaque);
    let body = body.to_string();
    let failed = |reason: String| codes::IO.because(format!("\"{}\": {reason}", hook.url));
    let answer = engine
        .http()
        .post(&hook.url)
        .header("content-type", "application/json")
        .header("x-cumulet-event", event.seq)
        .header("x-cumulet-signature", signature(&hook.secret, &body))
        .timeout(PATIENCE)
        .body(body)
        .send()
        .await
        .map_err(|e| failed(e.without_url().to_string()))?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(failed(format!("it answered {}", answer.status()))),
    }
}

/// `sha256=` and the HMAC of the body in hex.
fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
