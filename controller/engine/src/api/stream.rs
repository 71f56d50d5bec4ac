//! `GET /v1/events`: the outbox as server-sent events, from any place in it, so that nothing is missed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures::Stream;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, WeakEngine};
use crate::error::{Result, codes};
use crate::event::{self, Event};

const BATCH: i64 = 200;
/// So often the outbox is looked at although nobody said that there is something new.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a client wants to hear.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Behind this place; what comes from now on when there is none.
    since: Option<i64>,
    /// Events of this name, or that begin so and end in `*`.
    name: Option<String>,
}

impl Wanted {
    /// From the URL's parameters, or where the client says that it was cut off.
    pub fn read(url: &[(String, String)], last_heard: Option<&str>) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for (name, value) in url {
            match name.as_str() {
                "since" => wanted.since = Some(place(value)?),
                "type" => wanted.name = Some(value.clone()),
                _ => {
                    let details =
                        format!("\"{name}\" is not a parameter of a stream; there are since and type");
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
            }
        }
        if let Some(heard) = last_heard {
            wanted.since = Some(place(heard)?);
        }
        Ok(wanted)
    }
}

fn place(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        codes::INVALID_ARGUMENT.because(format!("\"since\" must be the \"seq\" of an event, not \"{text}\""))
    })
}

/// Where a listener is.
struct Listener {
    engine: WeakEngine,
    wanted: Option<String>,
    last: i64,
    ready: VecDeque<Sent>,
    news: Receiver<Event>,
    stop: CancellationToken,
}

pub(super) async fn stream(
    engine: &Engine,
    wanted: Wanted,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>> + use<>>> {
    let news = engine.events();
    let mut tx = engine.db().read().await?;
    let (first, newest) = (event::first(&mut tx).await?, event::last(&mut tx).await?);
    let last = wanted.since.unwrap_or(newest);
    let mut ready = VecDeque::new();
    if last + 1 < first {
        let gone = json!({ "since": last, "first": first });
        ready.push_back(Sent::default().event("gap").data(gone.to_string()));
    }
    let listener =
        Listener { engine: engine.weak(), wanted: wanted.name, last, ready, news, stop: engine.stopping() };
    let events = futures::stream::unfold(listener, |mut listener| async {
        let sent = listener.next().await?;
        Some((Ok(sent), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Listener {
    /// The next event that is wanted; none when the controller ends.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                return Some(sent);
            }
            let engine = self.engine.upgrade().filter(|_| !self.stop.is_cancelled())?;
            match self.read(&engine).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a stream of events waits"),
            }
            drop(engine);
            // Whatever it says, the outbox is what counts.
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = tokio::time::timeout(LOOK_AGAIN, self.news.recv()) => {}
            }
        }
    }

    /// Reads on; false when there is nothing new.
    async fn read(&mut self, engine: &Engine) -> Result<bool> {
        let events = event::since(&mut engine.db().read().await?, self.last, BATCH).await?;
        let Some(newest) = events.last() else { return Ok(false) };
        self.last = newest.seq;
        let wanted = self.wanted.as_deref();
        for event in
            events.iter().filter(|event| wanted.is_none_or(|wanted| event::is_of(&event.name, wanted)))
        {
            let sent = Sent::default().id(event.seq.to_string()).event(&event.name);
            self.ready.push_back(sent.data(serde_json::to_string(event)?));
        }
        Ok(true)
    }
}
