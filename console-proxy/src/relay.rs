//! Moves bytes between a viewer's WebSocket and a VM's screen.
//!
//! Each direction holds one message at a time: whoever reads slowly slows the other side down, and
//! nothing piles up here. Whatever ends it, the viewer is told why in the close frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::target::{self, Screen};
use crate::tickets::Admission;

/// A viewer is asked for a sign of life this often, and given up when it missed three.
const PING: Duration = Duration::from_secs(30);
/// A viewer that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(120);
const FAREWELL: Duration = Duration::from_secs(5);

/// Codes of our own, from the range that is free for them.
const CUT: u16 = 4001;
const IDLE: u16 = 4002;

/// Why a relay ended.
#[derive(Debug)]
enum End {
    Viewer,
    ViewerLost(&'static str),
    Screen,
    ScreenLost(target::Error),
    Cut,
    Idle,
    Shutdown,
}

/// When something last passed, and when the viewer last showed that it is there.
struct Activity {
    start: Instant,
    passed: AtomicU64,
    viewer: AtomicU64,
}

/// Relays until either side, the ticket's owner or `shutdown` ends it.
pub async fn run(viewer: WebSocket, admission: Admission, token: &str, front: &Front) {
    let (mut to_viewer, from_viewer) = viewer.split();
    let (vm, shutdown) = (&admission.ticket.vm, &front.shutdown);
    tracing::info!(vm, "viewer let in");
    let end = tokio::select! {
        connected = target::connect(&admission.ticket.target, token, front.live.as_ref()) => match connected {
            Ok(screen) => relay(&mut to_viewer, from_viewer, screen, &admission, shutdown).await,
            Err(error) => End::ScreenLost(error),
        },
        () = admission.cut.cancelled() => End::Cut,
        () = shutdown.cancelled() => End::Shutdown,
    };
    tracing::info!(vm, ?end, "viewer left");
    let farewell = Message::Close(Some(end.frame()));
    let _ = timeout(FAREWELL, to_viewer.send(farewell)).await;
}

async fn relay(
    to_viewer: &mut SplitSink<WebSocket, Message>,
    from_viewer: SplitStream<WebSocket>,
    screen: Screen,
    admission: &Admission,
    shutdown: &CancellationToken,
) -> End {
    let activity = Activity { start: Instant::now(), passed: AtomicU64::new(0), viewer: AtomicU64::new(0) };
    tokio::select! {
        end = down(to_viewer, screen.from, &activity) => end,
        end = up(from_viewer, screen.to, &activity) => end,
        () = activity.idle(admission.ticket.idle) => End::Idle,
        () = admission.cut.cancelled() => End::Cut,
        () = shutdown.cancelled() => End::Shutdown,
    }
}

async fn down(
    viewer: &mut (impl Sink<Message> + Unpin),
    mut screen: impl Stream<Item = Result<Bytes, target::Error>> + Unpin,
    activity: &Activity,
) -> End {
    let mut pings = interval(PING);
    loop {
        let message = tokio::select! {
            piece = screen.next() => match piece {
                Some(Ok(piece)) => Message::Binary(piece),
                Some(Err(error)) => return End::ScreenLost(error),
                None => return End::Screen,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        if activity.viewer_silent_for() > 3 * PING {
            return End::ViewerLost("it gives no sign of life");
        }
        let is_data = matches!(message, Message::Binary(_));
        match timeout(STALL, viewer.send(message)).await {
            Ok(Ok(())) if is_data => activity.note(&activity.passed),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::ViewerLost("its connection broke"),
            Err(_) => return End::ViewerLost("it takes nothing any more"),
        }
    }
}

async fn up(
    mut viewer: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
    mut screen: impl Sink<Bytes, Error = target::Error> + Unpin,
    activity: &Activity,
) -> End {
    while let Some(message) = viewer.next().await {
        activity.note(&activity.viewer);
        let piece = match message {
            Ok(Message::Binary(piece)) => piece,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) => return End::Viewer,
            Ok(Message::Text(_)) => return End::ViewerLost("it sends text where bytes are expected"),
            Err(_) => return End::ViewerLost("its connection broke"),
        };
        activity.note(&activity.passed);
        if let Err(error) = screen.send(piece).await {
            return End::ScreenLost(error);
        }
    }
    End::Viewer
}

impl Activity {
    fn note(&self, what: &AtomicU64) {
        let now = self.start.elapsed().as_millis();
        what.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn at(&self, what: &AtomicU64) -> Instant {
        self.start + Duration::from_millis(what.load(Ordering::Relaxed))
    }

    fn viewer_silent_for(&self) -> Duration {
        self.at(&self.viewer).elapsed()
    }

    /// Returns when nothing has passed for `limit`; without a limit, never.
    async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let due = self.at(&self.passed) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

impl End {
    /// Close frames hold at most 123 bytes of reason.
    fn frame(&self) -> CloseFrame {
        let (code, reason) = match self {
            End::Viewer => (close_code::NORMAL, String::new()),
            End::ViewerLost(reason) => (close_code::POLICY, format!("The viewer was given up: {reason}.")),
            End::Screen => (close_code::NORMAL, "The VM closed the console: it was stopped or moved.".into()),
            End::ScreenLost(error) => {
                (close_code::ERROR, format!("The VM's screen is not reachable: {error}."))
            }
            End::Cut => (CUT, "The console was closed by an operator, or the VM was stopped.".into()),
            End::Idle => (IDLE, "The console was closed because nothing happened for a while.".into()),
            End::Shutdown => (close_code::AWAY, "The console proxy is restarting.".into()),
        };
        let cut = reason.char_indices().take_while(|(at, c)| at + c.len_utf8() <= 123).count();
        CloseFrame { code, reason: reason.chars().take(cut).collect::<String>().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_its_frame() {
        let long = End::ScreenLost(target::Error::Io(std::io::Error::other("ü".repeat(200))));
        assert!(long.frame().reason.len() <= 123);
        assert!(long.frame().reason.len() > 120);
    }

    fn activity() -> Activity {
        Activity { start: Instant::now(), passed: AtomicU64::new(0), viewer: AtomicU64::new(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_without_a_sign_of_life_is_given_up() {
        let (activity, began) = (activity(), Instant::now());
        let mut viewer = futures::sink::drain();
        let end = down(&mut viewer, futures::stream::pending(), &activity).await;
        assert!(matches!(end, End::ViewerLost(_)), "{end:?}");
        assert!((90..=120).contains(&began.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_a_ping_is_a_sign_of_life_and_nothing_more() {
        let activity = activity();
        tokio::time::advance(Duration::from_secs(80)).await;
        let pongs = futures::stream::iter([Ok(Message::Pong(Bytes::new()))]);
        let screen = futures::sink::drain().sink_map_err(|never| match never {});
        up(pongs, screen, &activity).await;
        assert_eq!(activity.viewer_silent_for(), Duration::ZERO);
        assert_eq!(activity.at(&activity.passed).elapsed().as_secs(), 80);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_ends_only_after_a_whole_pause() {
        let activity = activity();
        let limit = Duration::from_secs(10);
        let busy = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            activity.note(&activity.passed);
            std::future::pending::<()>().await
        };
        let began = Instant::now();
        tokio::select! { () = activity.idle(Some(limit)) => {}, () = busy => {} }
        assert_eq!(began.elapsed().as_secs(), 17);
    }
}
