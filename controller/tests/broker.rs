//! A real message broker is told of every event, also of those that happened while it was away.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cumulet_controller::Controller;
use cumulet_controller::config::{AgentsMode, Config};
use cumulet_controller::event::broker;
use cumulet_tests::lab::program::command;
use engine::{Engine, Id};
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(120);

/// A RabbitMQ of one's own, on loopback; killed when dropped.
struct Rabbit<'d> {
    dir: &'d Path,
    ports: [u16; 3],
    server: Option<Child>,
}

impl Rabbit<'_> {
    fn new(dir: &Path) -> Rabbit<'_> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let held = [free(), free(), free()];
        Rabbit { dir, ports: held.map(|port| port.local_addr().unwrap().port()), server: None }
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[0])
    }

    async fn start(&mut self) {
        let [port, distribution, mapper] = self.ports.map(|port| port.to_string());
        let log = File::create(self.dir.join("log")).unwrap();
        let server = command("/usr/lib/rabbitmq/bin/rabbitmq-server", [""; 0])
            .env("HOME", self.dir)
            .env("RABBITMQ_NODENAME", format!("cumulet{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port)
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("ERL_EPMD_PORT", mapper)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", self.dir.join("data"))
            .env("RABBITMQ_LOG_BASE", self.dir.join("logs"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.dir.join("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(server.expect("RabbitMQ is installed"));
        self.connection().await;
    }

    /// Waits until it is there.
    async fn connection(&self) -> Connection {
        let began = Instant::now();
        loop {
            match Connection::connect(&self.url(), ConnectionProperties::default()).await {
                Ok(connection) => return connection,
                Err(error) if began.elapsed() > PATIENCE => {
                    let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                    panic!("RabbitMQ does not come: {error}\n{log}");
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        // What it has started knows its port.
        let _ = command("pkill", ["-9", "-f", &format!("cumulet{}@", self.ports[0])]).status();
    }
}

impl Drop for Rabbit<'_> {
    fn drop(&mut self) {
        self.kill();
        let _ = command("pkill", ["-9", "-f", &format!("epmd.*{}", self.ports[2])]).status();
    }
}

async fn controller(dir: &Path, url: String, stop: &CancellationToken) -> Controller {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        state_dir: dir.to_owned(),
        agents: AgentsMode::Plain,
        admin_password: Some("secret".into()),
        broker: broker::Config { url: Some(url), exchange: None },
        ..Config::default()
    };
    Controller::start(config, stop.clone()).await.unwrap()
}

async fn happens(engine: &Engine, value: u32) {
    let payload = json!({ "value": value });
    let written = engine.db().write(move |tx| {
        Box::pin(async move { tx.emit("/global-config/updated", Id::random(), payload).await })
    });
    written.await.unwrap();
}

/// The values of the next `count` messages of the queue, which is made when it is not there.
async fn heard(rabbit: &Rabbit<'_>, count: usize) -> Vec<Value> {
    let channel = rabbit.connection().await.create_channel().await.unwrap();
    let mut messages = channel
        .basic_consume("test".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let mut values = Vec::new();
    while values.len() < count {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.routing_key.as_str(), "global-config.updated");
        let event: Value = serde_json::from_slice(&message.data).unwrap();
        message.ack(BasicAckOptions::default()).await.unwrap();
        values.push(event["payload"]["value"].clone());
    }
    values
}

async fn bind(rabbit: &Rabbit<'_>) {
    let channel = rabbit.connection().await.create_channel().await.unwrap();
    let (fields, durable) =
        (FieldTable::default, QueueDeclareOptions { durable: true, ..Default::default() });
    let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare("cumulet".into(), ExchangeKind::Topic, exchange, fields()).await.unwrap();
    channel.queue_declare("test".into(), durable, fields()).await.unwrap();
    let bound = QueueBindOptions::default();
    channel
        .queue_bind("test".into(), "cumulet".into(), "global-config.*".into(), bound, fields())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "belongs to the stage store"]
async fn a_broker_is_told_of_everything_also_of_what_it_was_away_for() {
    let (dir, state, stop) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), CancellationToken::new());
    let mut rabbit = Rabbit::new(dir.path());
    rabbit.start().await;
    bind(&rabbit).await;
    let controller = controller(state.path(), rabbit.url(), &stop).await;
    // One that is new hears what comes from its first look on.
    sleep(Duration::from_secs(3)).await;
    happens(&controller.engine, 1).await;
    happens(&controller.engine, 2).await;
    assert_eq!(heard(&rabbit, 2).await, [1, 2]);

    rabbit.kill();
    happens(&controller.engine, 3).await;
    sleep(Duration::from_secs(3)).await;
    happens(&controller.engine, 4).await;
    rabbit.start().await;
    assert_eq!(heard(&rabbit, 2).await, [3, 4]);
    stop.cancel();
    controller.ended().await;
}
