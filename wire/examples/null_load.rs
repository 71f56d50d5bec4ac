//! Loads a `null_agent` through raw sockets, as cheaply as it can, so that what is measured is the agent.
//!
//! `null_load AGENT PATH COMMANDS CONCURRENCY` posts, waits for each callback, prints trips per second and
//! latencies.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use wire::TaskId;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [agent, path, commands, concurrency] = &arguments[..] else {
        return Err(io::Error::other("usage: null_load AGENT PATH COMMANDS CONCURRENCY"));
    };
    let agent: SocketAddr = agent.parse().map_err(io::Error::other)?;
    let commands: usize = commands.parse().map_err(io::Error::other)?;
    let concurrency: usize = concurrency.parse().map_err(io::Error::other)?;
    let waiting = Waiting::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let callback = format!("http://{}/asyncrest/callback", listener.local_addr()?);
    tokio::spawn(receive(listener, waiting.clone()));
    let left = Arc::new(AtomicUsize::new(commands));
    let begin = Instant::now();
    let lanes = (0..concurrency)
        .map(|_| tokio::spawn(lane(agent, path.clone(), callback.clone(), waiting.clone(), left.clone())));
    let mut latencies = Vec::with_capacity(commands);
    for lane in lanes.collect::<Vec<_>>() {
        latencies.extend(lane.await??);
    }
    print(begin.elapsed(), latencies);
    Ok(())
}

fn print(elapsed: Duration, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let rate = latencies.len() as f64 / elapsed.as_secs_f64();
    println!("{rate:.0} trips/s p50 {:?} p99 {:?} max {:?}", at(0.5), at(0.99), at(1.0));
}

async fn lane(
    agent: SocketAddr,
    path: String,
    callback: String,
    waiting: Waiting,
    left: Arc<AtomicUsize>,
) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(agent).await?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut latencies) = (Vec::new(), Vec::new());
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        let (task, (tell, told)) = (TaskId::random(), oneshot::channel());
        waiting.lock().unwrap().insert(task.to_string(), tell);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ntaskuuid: {task}\r\ncallbackurl: {callback}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let begin = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let head = read_message(&mut stream, &mut buffer).await?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(head));
        }
        told.await.map_err(io::Error::other)?;
        latencies.push(begin.elapsed());
    }
    Ok(latencies)
}

async fn receive(listener: TcpListener, waiting: Waiting) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let waiting = waiting.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut buffer = Vec::new();
            while let Ok(head) = read_message(&mut stream, &mut buffer).await {
                let mut lines = head.lines().filter_map(|line| line.strip_prefix("taskuuid: "));
                let told = lines.next().and_then(|task| waiting.lock().unwrap().remove(task));
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                    return;
                }
                let _ = told.map(|told| told.send(()));
            }
        });
    }
}

/// Reads one HTTP message with a `content-length`; gives its head.
async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
            let length: usize = lengths.next().and_then(|l| l.parse().ok()).unwrap_or(0);
            while buffer.len() < end + 4 + length {
                fill(stream, buffer).await?;
            }
            buffer.drain(..end + 4 + length);
            return Ok(head);
        }
        fill(stream, buffer).await?;
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
