//! Calls that take a while: begun once, whatever gets lost, and followed to their end.
//!
//! The job's id is chosen here, so a request whose answer was lost is asked for before it is sent again.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::client::{Api, Order, Reply};

const TRIES: usize = 10;
const POLL_FIRST: Duration = Duration::from_millis(50);
const POLL_LONGEST: Duration = Duration::from_secs(1);
/// How long a controller may be away while its job is followed.
const PATIENCE: Duration = Duration::from_secs(300);

/// A call that the API has acknowledged, or done at once.
pub enum Begun {
    Job(String),
    Done(Value),
}

/// One call to its end.
pub async fn run(api: &Api, order: &Order) -> Result<Value> {
    match begin(api, order).await? {
        Begun::Job(job) => follow(api, &job, &spinner()).await,
        Begun::Done(answer) => Ok(answer),
    }
}

pub async fn begin(api: &Api, order: &Order) -> Result<Begun> {
    let job = Uuid::new_v4().simple().to_string();
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(POLL_LONGEST).await;
            match poll(api, &job).await {
                Ok(reply) if reply.status != StatusCode::NOT_FOUND => return Ok(Begun::Job(job)),
                Ok(_) => {}
                Err(_) => continue,
            }
        }
        match api.send(order, &[], &[("x-job-uuid", &job)]).await {
            Ok(reply) if reply.status == StatusCode::ACCEPTED => return Ok(Begun::Job(job)),
            // The first request may have arrived between the question and the second.
            Ok(reply) if reply.status == StatusCode::BAD_REQUEST && attempt > 0 => {
                if poll(api, &job).await.is_ok_and(|known| known.status != StatusCode::NOT_FOUND) {
                    return Ok(Begun::Job(job));
                }
                reply.judge()?;
            }
            Ok(reply) => return Ok(Begun::Done(reply.judge()?)),
            Err(error) if error.is_connect() && attempt == 0 => return Err(error).context(api.silent()),
            Err(_) => {}
        }
    }
    bail!("the controller went away: it is unknown whether it took the call; its job would be {job}")
}

/// Waits for a job, showing what it is doing.
pub async fn follow(api: &Api, job: &str, shown: &ProgressBar) -> Result<Value> {
    let mut pause = POLL_FIRST;
    let mut heard = Instant::now();
    loop {
        match poll(api, job).await {
            Ok(reply) if reply.status != StatusCode::ACCEPTED => {
                shown.finish_and_clear();
                return reply.judge().map_err(Into::into);
            }
            Ok(_) => heard = Instant::now(),
            Err(error) if heard.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("{}; job {job} goes on without us", api.silent()));
            }
            Err(_) => shown.set_message("the controller does not answer; trying again"),
        }
        if !shown.is_hidden() && heard.elapsed() < POLL_LONGEST {
            shown.set_message(doing(api, job).await);
        }
        sleep(pause).await;
        pause = (pause * 2).min(POLL_LONGEST);
    }
}

/// The job's answer when it has ended.
pub async fn ended(api: &Api, job: &str) -> Option<Result<Value>> {
    let reply = poll(api, job).await.ok().filter(|reply| reply.status != StatusCode::ACCEPTED)?;
    Some(reply.judge().map_err(Into::into))
}

/// On a terminal a spinner on stderr, elsewhere nothing.
pub fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

async fn poll(api: &Api, job: &str) -> reqwest::Result<Reply> {
    let order = Order { method: Method::GET, path: format!("/api-jobs/{job}"), body: Value::Null };
    api.send(&order, &[], &[]).await
}

async fn doing(api: &Api, job: &str) -> String {
    let condition = format!("job={job}");
    let flows = api.get("/flows", &[("q", &condition), ("sort", "-createDate"), ("limit", "1")]).await;
    let Some(flow) = flows.ok().and_then(|answer| answer.pointer("/inventories/0").cloned()) else {
        return "waiting".into();
    };
    let percent = match flow["name"].as_str() {
        Some("image.add") => percent(api, job).await,
        _ => None,
    };
    describe(&flow, percent.as_deref())
}

async fn percent(api: &Api, job: &str) -> Option<String> {
    let answer = api.get(&format!("/task-progresses/{job}"), &[]).await.ok()?;
    answer.pointer("/inventories/0/content")?.as_str().map(str::to_owned)
}

fn describe(flow: &Value, percent: Option<&str>) -> String {
    let title = flow["title"].as_str().unwrap_or("working");
    let number = || format!("step {}", flow["step"].as_i64().unwrap_or(0) + 1);
    let step = flow["stepName"].as_str().map_or_else(number, str::to_owned);
    let mut text = format!("{title}: {step}");
    if let Some(percent) = percent {
        text.push_str(&format!(", {percent} %"));
    }
    if flow["direction"].as_str().is_some_and(|direction| direction != "forward") {
        text.push_str(", undoing");
    }
    if flow["state"] == "parked" {
        text.push_str(", parked until its trouble is over");
    }
    match flow["error"].as_str() {
        Some(error) => format!("{text}: {error}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_running_step_is_named() {
        let flow = json!({ "title": "create vm \"web\"", "step": 2, "stepName": "image", "state": "running", "direction": "forward" });
        assert_eq!(describe(&flow, None), "create vm \"web\": image");
        assert_eq!(describe(&flow, Some("40")), "create vm \"web\": image, 40 %");
        let flow = json!({ "title": "t", "step": 0, "state": "parked", "direction": "undo", "error": "no" });
        assert_eq!(describe(&flow, None), "t: step 1, undoing, parked until its trouble is over: no");
    }
}
