//! Asks every controller something cheap again and again: when does nobody answer?

use std::time::Duration;

use cumulet_tests::http::Client;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ground::{Ground, base};
use crate::plan::CONTROLLERS;

const EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(1000);

/// When it was asked, and whether somebody answered.
pub type Tick = (Instant, bool);

/// Asks until it is stopped.
pub async fn probe(session: String, stop: CancellationToken) -> Vec<Tick> {
    let mut asked = Vec::new();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        asked.push(tokio::spawn(tick(session.clone())));
    }
    let mut ticks = Vec::new();
    for one in asked {
        ticks.extend(one.await.ok());
    }
    ticks
}

/// The share of ticks that somebody answered, of those in which the database was there, and their number.
pub fn availability(ticks: &[Tick], ground: &Ground) -> (f64, usize) {
    let fair = ticks.iter().filter(|(at, _)| !ground.outage_in(*at, *at + PATIENCE));
    let (answered, all) =
        fair.fold((0, 0), |(answered, all), (_, ok)| (answered + usize::from(*ok), all + 1));
    (answered as f64 / f64::from(u32::try_from(all.max(1)).unwrap_or(1)), all)
}

/// When nobody answered though the database was there: from when to when, seconds since the first moment.
pub fn silences(ticks: &[Tick], ground: &Ground) -> Vec<(f64, f64)> {
    let Some((first, _)) = ticks.first() else { return Vec::new() };
    let mut spans: Vec<(f64, f64)> = Vec::new();
    for (at, _) in ticks.iter().filter(|(at, ok)| !ok && !ground.outage_in(*at, *at + PATIENCE)) {
        let at = (*at - *first).as_secs_f64();
        match spans.last_mut().filter(|(_, to)| at - *to < 0.35) {
            Some((_, to)) => *to = at,
            None => spans.push((at, at)),
        }
    }
    spans
}

/// Somebody answers: enough, whoever it is.
async fn tick(session: String) -> Tick {
    let began = Instant::now();
    let (tell, mut told) = tokio::sync::mpsc::channel(CONTROLLERS);
    for number in 0..CONTROLLERS {
        let (session, tell) = (session.clone(), tell.clone());
        tokio::spawn(async move {
            let headers = [("authorization", format!("OAuth {session}"))];
            let url = format!("{}/zones?limit=1", base(number));
            let answer = Client::default().send(Method::GET, &url, &headers, Bytes::new(), PATIENCE).await;
            // A session that a wrong clock has ended is no silence.
            let said = answer.is_ok_and(|a| [StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&a.status));
            let _enough_was_heard = tell.send(said).await;
        });
    }
    drop(tell);
    while let Some(said) = told.recv().await {
        if said {
            return (began, true);
        }
    }
    (began, false)
}
