//! How long the work of a killed controller stands still.

use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use crate::ground::controller::at;
use crate::ground::database::connect;

const LEFT: &str = "SELECT f.uuid, f.owner, f.step FROM flow f JOIN node n ON n.uuid = f.owner \
     WHERE f.state = 'running' AND n.url = $1";
const NOW: &str = "SELECT uuid, owner, step FROM flow WHERE state = 'running' AND uuid = ANY($1)";
const LOOK: Duration = Duration::from_millis(100);
/// Longer than any take-over; what is found then is found at the run's end.
const LONGEST: Duration = Duration::from_secs(60);

/// A flow and who drives it where.
pub type Standing = (String, String, i64);

/// A flow that a dead controller had left, which somebody drives again.
#[derive(Clone, Copy, Debug)]
pub struct TakeOver {
    pub died: Instant,
    /// Somebody owns it.
    pub adopted: Duration,
    /// It has made a step, or has ended.
    pub moved: Duration,
}

/// What the controller drives now.
pub async fn left_by(number: usize) -> Result<Vec<Standing>> {
    let look = async {
        let mut connection = connect("cumulet").await?;
        let url = format!("http://{}", at(number));
        anyhow::Ok(sqlx::query_as(LEFT).bind(url).fetch_all(&mut connection).await?)
    };
    timeout(Duration::from_secs(1), look).await?
}

/// Waits until each of them has moved on.
pub async fn watch(mut left: Vec<Standing>, died: Instant) -> Vec<TakeOver> {
    let (mut adopted, mut done) = (Vec::<(String, Duration)>::new(), Vec::new());
    let mut connection = None;
    while !left.is_empty() && died.elapsed() < LONGEST {
        sleep(LOOK).await;
        let looked = timeout(Duration::from_secs(1), look(&mut connection, &left)).await;
        let Ok(Ok(now)) = looked else {
            connection = None;
            continue;
        };
        let at = died.elapsed();
        left.retain(|(uuid, owner, step)| {
            let found = now.iter().find(|(other, ..)| other == uuid);
            if found.is_none_or(|(_, other, _)| other != owner) && !adopted.iter().any(|(one, _)| one == uuid)
            {
                adopted.push((uuid.clone(), at));
            }
            if found.is_some_and(|(.., other)| other == step) {
                return true;
            }
            let when = adopted.iter().find(|(one, _)| one == uuid).map_or(at, |(_, when)| *when);
            done.push(TakeOver { died, adopted: when, moved: at });
            false
        });
    }
    done
}

async fn look(connection: &mut Option<PgConnection>, left: &[Standing]) -> Result<Vec<Standing>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => connect("cumulet").await?,
    };
    let uuids: Vec<_> = left.iter().map(|(uuid, ..)| uuid.clone()).collect();
    let now = sqlx::query_as(NOW).bind(uuids).fetch_all(&mut open).await?;
    *connection = Some(open);
    Ok(now)
}
