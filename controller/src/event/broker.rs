//! Telling a message broker (AMQP 0.9.1, such as RabbitMQ): every event, to a durable topic exchange, with the
//! event's name as routing key (`/vm/created` is `vm.created`). An event counts as told when the broker has
//! confirmed it.

use std::sync::Arc;
use std::time::Duration;

use engine::event::{self, Event};
use engine::sweep::{By, Sweep};
use engine::{Engine, ErrorCode, Result, codes};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::store;

pub(super) const SWEEP: Sweep = Sweep {
    name: "message broker",
    every: |_| Duration::from_secs(1),
    by: By::One,
    pass: |engine| Box::pin(pass(engine)),
};

const BATCH: i64 = 200;
/// Its name among those who listen.
const LISTENER: &str = "broker";
const CONNECT: Duration = Duration::from_secs(10);
/// Marks a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

/// Where the broker is, as the configuration says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// `amqp://user:password@host:5672/%2f`; without it no broker is told.
    pub url: Option<String>,
    /// The topic exchange; by default `cumulet`.
    pub exchange: Option<String>,
}

/// The way to the broker, once there is one.
#[derive(Clone)]
pub struct Broker {
    config: Config,
    line: Arc<Mutex<Option<Line>>>,
}

struct Line {
    connection: Connection,
    channel: Channel,
}

impl Broker {
    pub fn new(config: Config) -> Self {
        Broker { config, line: Arc::default() }
    }

    fn exchange(&self) -> &str {
        self.config.exchange.as_deref().unwrap_or("cumulet")
    }

    async fn connect(&self, url: &str) -> Result<Line, lapin::Error> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(self.exchange().into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await?;
        Ok(Line { connection, channel })
    }

    /// Publishes the events, and waits until the broker has confirmed each.
    async fn publish(&self, line: &Line, events: &[Event]) -> Result<(), lapin::Error> {
        let mut confirmations = Vec::with_capacity(events.len());
        for event in events {
            let key = event.name.trim_start_matches('/').replace('/', ".");
            let body = serde_json::to_vec(event).expect("events are JSON");
            let properties = BasicProperties::default()
                .with_content_type("application/json".into())
                .with_delivery_mode(PERSISTENT)
                .with_message_id(event.seq.to_string().into());
            let options = BasicPublishOptions::default();
            let sent =
                line.channel.basic_publish(self.exchange().into(), key.into(), options, &body, properties);
            confirmations.push(sent.await?);
        }
        for confirmation in confirmations {
            confirmation.await?;
        }
        Ok(())
    }
}

async fn pass(engine: Engine) -> Result<()> {
    let broker = engine.of::<Broker>().clone();
    let Some(url) = broker.config.url.clone() else { return Ok(()) };
    let mut line = broker.line.lock().await;
    let mut last = place(&engine).await?;
    loop {
        let events = event::since(&mut engine.db().read().await?, last, BATCH).await?;
        let Some(newest) = events.last().map(|event| event.seq) else { return Ok(()) };
        let open = match line.take().filter(|line| line.connection.status().connected()) {
            Some(open) => open,
            None => tokio::time::timeout(CONNECT, broker.connect(&url))
                .await
                .map_err(|_| silent())?
                .map_err(explain)?,
        };
        tokio::time::timeout(CONNECT, broker.publish(&open, &events))
            .await
            .map_err(|_| silent())?
            .map_err(explain)?;
        *line = Some(open);
        last = newest;
        engine.db().write(move |tx| Box::pin(store::set_cursor(tx, LISTENER, last))).await?;
    }
}

/// How far the broker has come; one that is new hears what comes from now on.
async fn place(engine: &Engine) -> Result<i64> {
    let mut tx = engine.db().read().await?;
    if let Some(known) = store::cursor(&mut tx, LISTENER).await? {
        return Ok(known);
    }
    let now = event::last(&mut tx).await?;
    engine.db().write(move |tx| Box::pin(store::set_cursor(tx, LISTENER, now))).await?;
    Ok(now)
}

fn silent() -> ErrorCode {
    codes::IO.because("the message broker does not answer")
}

/// Without the URL, which holds a password.
fn explain(error: lapin::Error) -> ErrorCode {
    codes::IO.because(format!("the message broker: {error}"))
}
