//! The floor of rows 1 to 3 of `cargo xtask bench`: HTTP that acknowledges a command and calls back, no more.
//!
//! `floor_command ADDRESS STATE_DIR`. At `/null/act` a line is made durable before the acknowledgement and another
//! before the call back; those that wait share one fsync.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const OUTCOME: &[u8] = br#"{"success":true}"#;

#[derive(Clone)]
struct Floor {
    client: Client<HttpConnector, Full<Bytes>>,
    journal: mpsc::Sender<Line>,
}

struct Line {
    text: String,
    durable: oneshot::Sender<()>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(dir)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: floor_command ADDRESS STATE_DIR"));
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector);
    let floor = Floor { client, journal: journal(Path::new(&dir))? };
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = floor.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| floor.clone().answer(request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A thread that appends lines and makes them durable, many at once.
fn journal(dir: &Path) -> io::Result<mpsc::Sender<Line>> {
    let mut file = File::options().create(true).append(true).open(dir.join("journal"))?;
    let (send, lines) = mpsc::channel::<Line>();
    std::thread::spawn(move || -> io::Result<()> {
        while let Ok(first) = lines.recv() {
            let group: Vec<_> = std::iter::once(first).chain(lines.try_iter()).collect();
            let text: String = group.iter().map(|line| line.text.as_str()).collect();
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            for line in group {
                let _ = line.durable.send(());
            }
        }
        Ok(())
    });
    Ok(send)
}

impl Floor {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let header = |name| request.headers().get(name).cloned();
        let (Some(task), Some(callback)) = (header("taskuuid"), header("callbackurl")) else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        let acts = request.uri().path() == "/null/act";
        if acts && !self.write(&task).await {
            return Ok(status(StatusCode::INTERNAL_SERVER_ERROR));
        }
        tokio::spawn(async move {
            if !acts || self.write(&task).await {
                self.report(task, callback).await;
            }
        });
        Ok(status(StatusCode::OK))
    }

    async fn write(&self, task: &HeaderValue) -> bool {
        let (durable, done) = oneshot::channel();
        let sent = self.journal.send(Line { text: format!("{task:?} {:200}\n", "record"), durable });
        sent.is_ok() && done.await.is_ok()
    }

    async fn report(&self, task: HeaderValue, callback: HeaderValue) {
        let request = Request::post(callback.as_bytes()).header("taskuuid", task);
        let Ok(request) = request.body(Full::new(Bytes::from_static(OUTCOME))) else { return };
        if let Err(error) = self.client.request(request).await {
            eprintln!("not reported: {error}");
        }
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
