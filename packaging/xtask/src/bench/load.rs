//! Load: lanes that each ask, wait until they are told of the end, and ask again.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::http::{Connection, Message};

/// Nothing that is measured takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a lane looks whether its work is done, when it is not told.
const LOOK: Duration = Duration::from_millis(1);

/// How a lane learns that its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the answer itself.
    Answer,
    /// By a request to the address that was given; this header tells which work it was.
    Callback(&'static str),
    /// By asking, again and again, with what [`Aim::question`] makes.
    Looking,
}

/// What is asked, of whom.
#[derive(Clone)]
pub struct Aim {
    pub to: SocketAddr,
    pub told: Told,
    /// The status of an acknowledgement.
    pub status: u16,
    /// A new connection for every request; else each lane keeps one.
    pub fresh: bool,
    /// The whole request, of an id and the address to call back.
    pub request: Request,
    /// The whole question how it goes, of an id; answered by 202 while it goes on.
    pub question: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// What a callback's header must say, for the work to count as well done.
    pub success: Option<(&'static str, &'static str)>,
}

type Request = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// Ends with whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub trips: usize,
    pub time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    pub elapsed: Duration,
    /// From asking to the end of each piece of work, sorted.
    pub latencies: Vec<Duration>,
}

#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<String, oneshot::Sender<Message>>>>);

struct Lane {
    aim: Aim,
    callback: String,
    waiting: Waiting,
    left: Arc<AtomicUsize>,
    end: Instant,
    connection: Option<Connection>,
}

impl Limit {
    pub fn time(time: Duration) -> Self {
        Self { trips: usize::MAX, time }
    }

    pub fn trips(trips: usize) -> Self {
        Self { trips, time: Duration::from_secs(300) }
    }
}

impl Measured {
    pub fn trips(&self) -> usize {
        self.latencies.len()
    }

    pub fn per_second(&self) -> f64 {
        self.trips() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency, in milliseconds, that this share of the work did not exceed.
    pub fn milliseconds(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).ceil() as usize;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Puts this load on; fails when any piece of work does.
pub async fn load(aim: &Aim, lanes: usize, limit: Limit) -> Result<Measured> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let callback = format!("http://{}/asyncrest/callback", listener.local_addr()?);
    let waiting = Waiting::default();
    let mut receiver = JoinSet::new();
    if let Told::Callback(header) = aim.told {
        receiver.spawn(receive(listener, header, waiting.clone()));
    }
    let (left, begin) = (Arc::new(AtomicUsize::new(limit.trips)), Instant::now());
    let mut all = JoinSet::new();
    for _ in 0..lanes {
        let (aim, callback, waiting, left) = (aim.clone(), callback.clone(), waiting.clone(), left.clone());
        let lane = Lane { aim, callback, waiting, left, end: begin + limit.time, connection: None };
        all.spawn(lane.run());
    }
    let mut latencies = Vec::new();
    while let Some(lane) = all.join_next().await {
        latencies.extend(lane??);
    }
    let elapsed = begin.elapsed();
    if latencies.is_empty() {
        bail!("nothing was done within {} s", limit.time.as_secs());
    }
    latencies.sort_unstable();
    Ok(Measured { elapsed, latencies })
}

impl Lane {
    async fn run(mut self) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        while self.may_go_on() {
            let (id, begin) = (fresh_id(), Instant::now());
            let done = timeout(PATIENCE, self.trip(&id)).await;
            let late = || format!("{} has not done a piece of work in {} s", self.aim.to, PATIENCE.as_secs());
            done.with_context(late)??;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    }

    fn may_go_on(&self) -> bool {
        let take = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        take.is_ok() && Instant::now() < self.end
    }

    async fn trip(&mut self, id: &str) -> Result<()> {
        let told = matches!(self.aim.told, Told::Callback(_)).then(|| self.waiting.wait_for(id));
        let request = (self.aim.request)(id, &self.callback);
        self.ask(&request).await?.must_be(self.aim.status)?;
        match (self.aim.told, told) {
            (Told::Callback(_), Some(told)) => self.judge(&told.await?),
            (Told::Looking, _) => self.look(id).await,
            _ => Ok(()),
        }
    }

    async fn ask(&mut self, request: &str) -> io::Result<Message> {
        let kept = self.connection.take().filter(|_| !self.aim.fresh);
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(self.aim.to).await?,
        };
        let answer = connection.ask(request).await?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    async fn look(&mut self, id: &str) -> Result<()> {
        let question = (self.aim.question)(id);
        loop {
            sleep(LOOK).await;
            let answer = self.ask(&question).await?;
            if answer.status() != Some(202) {
                answer.must_be(200)?;
                return Ok(());
            }
        }
    }

    fn judge(&self, outcome: &Message) -> Result<()> {
        match self.aim.success {
            Some((name, value)) if outcome.header(name) != Some(value) => {
                bail!("a piece of work failed: {}", String::from_utf8_lossy(&outcome.body))
            }
            _ => Ok(()),
        }
    }
}

impl Waiting {
    fn wait_for(&self, id: &str) -> oneshot::Receiver<Message> {
        let (tell, told) = oneshot::channel();
        self.lock().insert(id.to_owned(), tell);
        told
    }

    fn tell(&self, id: &str, message: Message) {
        let waiter = self.lock().remove(id);
        if let Some(waiter) = waiter {
            let _ = waiter.send(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes callbacks in until it is dropped.
async fn receive(listener: TcpListener, header: &'static str, waiting: Waiting) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let waiting = waiting.clone();
        connections.spawn(async move {
            let Ok(mut connection) = Connection::over(stream) else { return };
            while let Ok(message) = connection.receive().await {
                let answered = connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                if let Some(id) = message.header(header).map(str::to_owned) {
                    waiting.tell(&id, message);
                }
                if answered.is_err() {
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// 32 hexadecimal digits that no other piece of work has.
fn fresh_id() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    format!("{now:016x}{:016x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every request by `answer`.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = Connection::over(stream).unwrap();
                tokio::spawn(async move {
                    while connection.receive().await.is_ok() {
                        connection.send(answer).await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn aim(to: SocketAddr, told: Told) -> Aim {
        Aim {
            to,
            told,
            status: 200,
            fresh: false,
            request: Arc::new(|id, _| format!("GET /{id} HTTP/1.1\r\n\r\n")),
            question: Arc::new(|_| String::new()),
            success: None,
        }
    }

    #[tokio::test]
    async fn every_trip_is_counted_once() {
        let to = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let measured = load(&aim(to, Told::Answer), 3, Limit::trips(50)).await.unwrap();
        assert_eq!(measured.trips(), 50);
        assert!(measured.milliseconds(0.5) <= measured.milliseconds(1.0));
    }

    #[tokio::test]
    async fn a_refused_request_is_no_measurement() {
        let to = server("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno").await;
        let error = load(&aim(to, Told::Answer), 1, Limit::trips(1)).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }

    #[test]
    fn latencies_are_told_by_their_share() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let measured = Measured { elapsed: Duration::from_secs(10), latencies };
        assert_eq!((measured.milliseconds(0.0), measured.milliseconds(1.0)), (1.0, 100.0));
        assert!((99.0..=100.0).contains(&measured.milliseconds(0.99)));
        assert_eq!(measured.per_second(), 10.0);
    }
}
