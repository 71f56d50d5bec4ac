//! The floor of rows 4 to 6 of `cargo xtask bench`: rows of a VM made durable in SQLite, one HTTP call, no more.
//!
//! `floor_create ADDRESS STATE_DIR`. A request that has a body is a creation: its rows are written (those that wait
//! share one transaction), then an agent is called. The agent is this program too: it answers requests without
//! a body.

use std::convert::Infallible;
use std::path::Path;
use std::sync::mpsc;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rusqlite::{Connection, params};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What a creation leaves behind; each row is about as long as in the product.
const TABLES: [&str; 9] =
    ["job", "flow", "ownership", "vm_instance", "volume", "vm_nic", "used_ip", "host_claim", "event"];
const ROW: &str = concat!(
    "{\"name\":\"vm\",\"description\":null,\"state\":\"Running\",\"cpuNum\":1,\"memorySize\":134217728,",
    "\"zoneUuid\":\"00000000000000000000000000000000\",\"clusterUuid\":\"00000000000000000000000000000000\",",
    "\"hostUuid\":\"00000000000000000000000000000000\",\"imageUuid\":\"00000000000000000000000000000000\"}"
);

#[derive(Clone)]
struct Floor {
    client: Client<HttpConnector, Full<Bytes>>,
    agent: String,
    writer: mpsc::Sender<oneshot::Sender<()>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(dir)) = (arguments.next(), arguments.next()) else {
        return Err("usage: floor_create ADDRESS STATE_DIR".into());
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector);
    let floor = Floor { client, agent: format!("http://{address}/"), writer: writer(Path::new(&dir))? };
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

/// A thread that writes the rows of all creations that wait in one durable transaction.
fn writer(dir: &Path) -> rusqlite::Result<mpsc::Sender<oneshot::Sender<()>>> {
    let mut database = Connection::open(dir.join("floor.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    for table in TABLES {
        let create = format!("CREATE TABLE {table} (uuid TEXT PRIMARY KEY, body TEXT NOT NULL)");
        database.execute(&create, [])?;
    }
    let (send, creations) = mpsc::channel::<oneshot::Sender<()>>();
    std::thread::spawn(move || -> rusqlite::Result<()> {
        let mut number = 0_u64;
        while let Ok(first) = creations.recv() {
            let group: Vec<_> = std::iter::once(first).chain(creations.try_iter()).collect();
            let transaction = database.transaction()?;
            for _ in &group {
                number += 1;
                insert(&transaction, number)?;
            }
            transaction.commit()?;
            for done in group {
                let _ = done.send(());
            }
        }
        Ok(())
    });
    Ok(send)
}

fn insert(database: &Connection, number: u64) -> rusqlite::Result<()> {
    let uuid = format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for table in TABLES {
        let insert = format!("INSERT INTO {table} (uuid, body) VALUES (?1, ?2)");
        database.prepare_cached(&insert)?.execute(params![uuid, ROW])?;
    }
    Ok(())
}

impl Floor {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let made = request.body().is_end_stream() || self.create().await;
        let mut response = Response::new(Full::default());
        if !made {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }

    async fn create(&self) -> bool {
        let (done, durable) = oneshot::channel();
        if self.writer.send(done).is_err() || durable.await.is_err() {
            return false;
        }
        let Ok(call) = Request::post(&self.agent).body(Full::default()) else { return false };
        self.client.request(call).await.is_ok_and(|answer| answer.status().is_success())
    }
}
