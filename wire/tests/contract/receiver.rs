//! A callback receiver that misbehaves as told, and counts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::kit::eventually;

/// What happens to one report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Answer(u16),
    /// Takes its time, then answers 200.
    Slow(Duration),
    /// Reads it and hangs up without a word.
    HangUp,
}

#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    moods: VecDeque<Mood>,
    reports: Vec<Report>,
}

/// A report that arrived, and what was made of it.
#[derive(Clone, Debug)]
pub struct Report {
    pub task: String,
    pub content_type: String,
    pub body: Value,
    pub mood: Mood,
}

impl Receiver {
    /// Follows `moods`, one per report; afterwards everything is taken.
    pub async fn start(moods: &[Mood]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), moods).await
    }

    pub async fn start_at(address: SocketAddr, moods: &[Mood]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/asyncrest/callback", listener.local_addr().unwrap());
        let seen = Seen { moods: moods.iter().copied().collect(), reports: Vec::new() };
        let receiver = Receiver { url, seen: Arc::new(Mutex::new(seen)) };
        let theirs = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(theirs.clone().serve(stream));
            }
        });
        receiver
    }

    pub fn reports(&self) -> Vec<Report> {
        self.seen.lock().unwrap().reports.clone()
    }

    pub async fn wait_reports(&self, count: usize) -> Vec<Report> {
        eventually("reports arrive", async || self.reports().len() >= count).await;
        self.reports()
    }

    /// One report per connection is all that is needed here.
    async fn serve(self, mut stream: TcpStream) -> Option<()> {
        let (head, body) = read_request(&mut stream).await?;
        let mood = {
            let mut seen = self.seen.lock().unwrap();
            let mood = seen.moods.pop_front().unwrap_or(Mood::Answer(200));
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (task, content_type) = (header(&head, "taskuuid"), header(&head, "content-type"));
            seen.reports.push(Report { task, content_type, body, mood });
            mood
        };
        let status = match mood {
            Mood::HangUp => return None,
            Mood::Slow(pause) => {
                sleep(pause).await;
                200
            }
            Mood::Answer(status) => status,
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()
    }
}

/// Reads one request: its head and its body.
pub async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize = header(&head, "content-length").parse().unwrap_or(0);
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                (stream.read_buf(&mut body).await.ok()? > 0).then_some(())?;
            }
            return Some((head, body));
        }
        (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
    }
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
