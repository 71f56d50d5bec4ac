//! One call from its invocation to its outcome, by any controller that answers.
//!
//! The client names the job. A call that is sent again, to whomever, is the same job; a controller that knows
//! it already says so.

use std::sync::{Mutex, RwLock};
use std::time::Duration;

use cumulet_tests::http::{Answer, Client};
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::history::{History, Step};
use crate::dice::Dice;
use crate::ground::base;
use crate::plan::CONTROLLERS;

const ONE_TRY: Duration = Duration::from_secs(3);
/// Some are more patient, and hear what was held up; some hang up almost at once.
const LONG_TRY: Duration = Duration::from_secs(15);
const SUBMIT: Duration = Duration::from_secs(120);
/// Longer than the longest fault and what comes after it.
const FOLLOW: Duration = Duration::from_secs(240);
/// The error codes of a controller that cannot say, rather than of a job.
const CANNOT_SAY: [&str; 2] = ["SYS.2003", "SYS.2004"];
/// A job that has failed so may be done yet: what cannot be taken back goes on (ADR 10).
const GOES_ON: &str = "is tried again until it is done";

/// The way to the API.
pub struct Door {
    session: RwLock<String>,
    logins: Mutex<u64>,
}

pub struct Call<'a> {
    pub object: &'a str,
    pub name: &'a str,
    pub method: Method,
    pub path: String,
    pub body: Value,
    pub job: String,
}

#[derive(Debug)]
pub enum Outcome {
    Done,
    Failed,
    Refused,
    /// Whether it is done, or will be, is not known.
    Unknown,
}

enum Heard {
    Acknowledged,
    Refused(String),
    Nothing(String),
}

impl Door {
    pub fn new(session: String) -> Self {
        Door { session: RwLock::new(session), logins: Mutex::new(0) }
    }

    /// How often a session was refused and another made.
    pub fn logins(&self) -> u64 {
        *self.logins.lock().expect("never poisoned")
    }

    pub async fn call(&self, call: &Call<'_>, history: &History, dice: &mut Dice) -> Outcome {
        let note = |step, said: &str| history.note(step, call.object, &call.job, call.name, said);
        note(Step::Invoked, &call.body.to_string());
        match self.submit(call, dice).await {
            Heard::Acknowledged => note(Step::Acknowledged, ""),
            Heard::Refused(why) => {
                note(Step::Refused, &why);
                return Outcome::Refused;
            }
            Heard::Nothing(why) => {
                note(Step::Unknown, &why);
                return Outcome::Unknown;
            }
        }
        let (step, said) = self.follow(&call.job, dice).await;
        note(step, &said);
        match step {
            Step::Done => Outcome::Done,
            Step::Failed if said.contains(GOES_ON) => Outcome::Unknown,
            Step::Failed => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    /// A list, from whoever answers.
    pub async fn list(&self, path: &str, dice: &mut Dice) -> Option<Vec<Value>> {
        for _ in 0..20 {
            let answer = self.get(dice.below(CONTROLLERS), path).await;
            if let Some(answer) = answer.filter(|answer| answer.status == StatusCode::OK) {
                return serde_json::from_value(answer.json().ok()?["inventories"].take()).ok();
            }
            sleep(dice.millis(100, 300)).await;
        }
        None
    }

    async fn submit(&self, call: &Call<'_>, dice: &mut Dice) -> Heard {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < SUBMIT {
            let to = dice.below(CONTROLLERS);
            let limit = match dice.below(6) {
                0 => dice.millis(10, 200),
                1 | 2 => LONG_TRY,
                _ => ONE_TRY,
            };
            let sent = self.send(to, call.method.clone(), &call.path, &call.body, Some(&call.job));
            let sent = tokio::time::timeout(limit, sent).await;
            match sent.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {limit:?}"))) {
                Ok(answer) => match heard(&answer) {
                    Heard::Nothing(why) => last = format!("c{to}: {why}"),
                    heard => return heard,
                },
                Err(error) => last = format!("c{to}: {error:#}"),
            }
            sleep(dice.millis(50, 400)).await;
        }
        Heard::Nothing(last)
    }

    async fn follow(&self, job: &str, dice: &mut Dice) -> (Step, String) {
        let (began, mut unknown, mut last) = (Instant::now(), 0, String::new());
        let path = format!("/api-jobs/{job}");
        let mut pause = 30;
        while began.elapsed() < FOLLOW {
            sleep(dice.millis(pause / 2, pause)).await;
            pause = (pause * 2).min(500);
            let to = dice.below(CONTROLLERS);
            let Some(answer) = self.get(to, &path).await else { continue };
            let (code, details) = error_of(&answer);
            match answer.status {
                StatusCode::OK => return (Step::Done, String::new()),
                StatusCode::SERVICE_UNAVAILABLE if !CANNOT_SAY.contains(&code.as_str()) => {
                    return (Step::Failed, format!("{code}: {details}"));
                }
                StatusCode::NOT_FOUND => unknown += 1,
                _ => unknown = 0,
            }
            last = format!("c{to}: {} {details}", answer.status);
            if unknown > 5 {
                return (Step::Lost, last);
            }
        }
        (Step::Open, last)
    }

    async fn get(&self, to: usize, path: &str) -> Option<Answer> {
        let sent = self.send(to, Method::GET, path, &Value::Null, None);
        tokio::time::timeout(ONE_TRY, sent).await.ok()?.ok()
    }

    async fn send(
        &self,
        to: usize,
        method: Method,
        path: &str,
        body: &Value,
        job: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let session = self.session.read().expect("never poisoned").clone();
        let mut headers = vec![("authorization", format!("OAuth {session}"))];
        headers.extend(job.map(|job| ("x-job-uuid", job.to_owned())));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let url = format!("{}{path}", base(to));
        let answer = Client::default().send(method, &url, &headers, body, LONG_TRY).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.login(to, &session).await?;
        }
        Ok(answer)
    }

    /// Another session in the place of the one that was refused.
    async fn login(&self, to: usize, refused: &str) -> anyhow::Result<()> {
        if *self.session.read().expect("never poisoned") != refused {
            return Ok(());
        }
        let base = base(to);
        let api = cumulet_tests::api::Api::login(
            Client::default(),
            &base,
            cumulet_tests::cloud::ACCOUNT,
            cumulet_tests::cloud::PASSWORD,
        );
        let session = tokio::time::timeout(ONE_TRY, api).await??.session().to_owned();
        *self.session.write().expect("never poisoned") = session;
        *self.logins.lock().expect("never poisoned") += 1;
        Ok(())
    }
}

fn heard(answer: &Answer) -> Heard {
    let (code, details) = error_of(answer);
    let known_already = details.contains("there is a job") && details.contains("already");
    match answer.status {
        StatusCode::ACCEPTED => Heard::Acknowledged,
        StatusCode::BAD_REQUEST if known_already => Heard::Acknowledged,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Heard::Refused(format!("{code}: {details}")),
        status => Heard::Nothing(format!("{status} {code}: {details}")),
    }
}

/// Code and details of an answer that tells an error, as deep as it tells them.
fn error_of(answer: &Answer) -> (String, String) {
    let body = answer.json().unwrap_or_default();
    let error = &body["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("details"))
}
