//! How long the work of a killed controller stands still.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use fleet::Effect;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use crate::ground::controller::at;
use crate::ground::database::connect;

const LEFT: &str = "SELECT f.uuid, f.owner, f.step, f.resource, f.epoch FROM flow f JOIN node n ON n.uuid = f.owner \
     WHERE f.state = 'running' AND n.url = $1";
const NOW: &str = "SELECT uuid, owner, step, resource, epoch FROM flow \
     WHERE state = 'running' AND uuid = ANY($1)";
const LOOK: Duration = Duration::from_millis(100);
/// Longer than any take-over; what is found then is found at the run's end.
const LONGEST: Duration = Duration::from_secs(60);

/// A flow and who drives it where.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Standing {
    uuid: String,
    owner: String,
    step: i64,
    resource: String,
    epoch: i64,
}

/// A flow that a dead controller had left, which somebody drives again.
#[derive(Clone, Debug)]
pub struct TakeOver {
    pub flow: String,
    pub died: Instant,
    /// Somebody owns it.
    pub adopted: Duration,
    /// It has made a step, has had an effect, or has ended.
    pub moved: Duration,
    resource: String,
    epoch: i64,
    /// Unix milliseconds.
    died_at: u64,
}

impl TakeOver {
    fn of(flow: &Standing, (died, died_at): (Instant, u64), adopted: Duration, moved: Duration) -> Self {
        let Standing { uuid, resource, epoch, .. } = flow.clone();
        TakeOver { flow: uuid, died, adopted, moved, resource, epoch, died_at }
    }

    /// A host may have done something for it before the step was over.
    pub fn heed(&mut self, effects: &[Vec<Effect>]) {
        let epoch = self.epoch.unsigned_abs();
        let mine = effects.iter().flatten().filter(|one| one.resource == self.resource && one.epoch > epoch);
        if let Some(first) = mine.map(|one| one.at).filter(|at| *at >= self.died_at).min() {
            self.moved = self.moved.min(Duration::from_millis(first - self.died_at)).max(self.adopted);
        }
    }
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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() - died.elapsed();
    let died_at = u64::try_from(since.as_millis()).unwrap_or(0);
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
        left.retain(|flow| {
            let found = now.iter().find(|other| other.uuid == flow.uuid);
            let known = adopted.iter().find(|(one, _)| *one == flow.uuid).map(|(_, when)| *when);
            if known.is_none() && found.is_none_or(|found| found.owner != flow.owner) {
                adopted.push((flow.uuid.clone(), at));
            }
            let stands = found.is_some_and(|found| found.step == flow.step);
            if !stands {
                done.push(TakeOver::of(flow, (died, died_at), known.unwrap_or(at), at));
            }
            stands
        });
    }
    done
}

async fn look(connection: &mut Option<PgConnection>, left: &[Standing]) -> Result<Vec<Standing>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => connect("cumulet").await?,
    };
    let uuids: Vec<_> = left.iter().map(|flow| flow.uuid.clone()).collect();
    let now = sqlx::query_as(NOW).bind(uuids).fetch_all(&mut open).await?;
    *connection = Some(open);
    Ok(now)
}
