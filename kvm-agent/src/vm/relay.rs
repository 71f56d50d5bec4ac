//! Carries bytes between a viewer's WebSocket and a VM's screen, until either ends.
//!
//! At most one message or buffer is held in each direction: who reads slowly slows the other side down.
//! A viewer that has vanished without a word is noticed by its silence.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const BUFFER: usize = 32 * 1024;
/// A viewer is asked for a sign of life this often, and may stay silent for one such time.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// How long a viewer may take to read one buffer.
const SLOWEST: Duration = Duration::from_secs(60);

pub(super) async fn run(socket: WebSocket, screen: TcpStream) {
    let (to_viewer, from_viewer) = socket.split();
    let (from_screen, to_screen) = screen.into_split();
    let heard = AtomicBool::new(true);
    tokio::select! {
        () = towards_viewer(from_screen, to_viewer, &heard) => {}
        () = towards_screen(from_viewer, to_screen, &heard) => {}
    }
}

async fn towards_viewer(
    mut screen: impl AsyncRead + Unpin,
    mut viewer: SplitSink<WebSocket, Message>,
    heard: &AtomicBool,
) {
    let mut ticks = tokio::time::interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BUFFER);
        let message = tokio::select! {
            read = screen.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => Message::Binary(buffer.split().freeze()),
            },
            _ = ticks.tick() => {
                if !heard.swap(false, Ordering::Relaxed) {
                    break;
                }
                Message::Ping(Bytes::new())
            }
        };
        if !matches!(tokio::time::timeout(SLOWEST, viewer.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), viewer.close()).await;
}

async fn towards_screen(
    mut viewer: SplitStream<WebSocket>,
    mut screen: impl AsyncWrite + Unpin,
    heard: &AtomicBool,
) {
    while let Some(Ok(message)) = viewer.next().await {
        heard.store(true, Ordering::Relaxed);
        match message {
            Message::Binary(bytes) => {
                if screen.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Message::Close(_) => return,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}
