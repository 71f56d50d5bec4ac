//! A client of the public REST API: session, jobs, errors.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
pub use hyper::Method;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use tokio::time::{Instant, sleep};

use crate::http::{Answer, Client};

const ONE_REQUEST: Duration = Duration::from_secs(30);
const ONE_JOB: Duration = Duration::from_secs(300);
const POLL_FIRST: Duration = Duration::from_millis(20);
const POLL_LONGEST: Duration = Duration::from_millis(500);

/// A session at the API.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: String,
    session: String,
}

/// What the API says when it does not do something.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub description: String,
    pub details: String,
}

impl Api {
    /// `base` is such as `http://127.0.0.1:8080/zstack/v1`.
    pub async fn login(client: Client, base: &str, account: &str, password: &str) -> Result<Self> {
        let mut api = Self { client, base: base.to_owned(), session: String::new() };
        let login = json!({ "logInByAccount": { "accountName": account, "password": sha512(password) } });
        let answer = api.call(Method::PUT, "/accounts/login", login).await?;
        api.session = text(&answer, "/inventory/uuid")?.to_owned();
        Ok(api)
    }

    /// Another account's session at the same address.
    pub async fn login_as(&self, account: &str, password: &str) -> Result<Self> {
        Self::login(self.client.clone(), &self.base, account, password).await
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// What authorises requests.
    pub fn session(&self) -> &str {
        &self.session
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, Value::Null).await
    }

    /// Creates something: its inventory. Without `params` when they are null.
    pub async fn create(&self, path: &str, params: Value) -> Result<Value> {
        let body = if params.is_null() { json!({}) } else { json!({ "params": params }) };
        let mut answer = self.call(Method::POST, path, body).await?;
        match answer.get_mut("inventory") {
            Some(inventory) => Ok(inventory.take()),
            None => bail!("POST {path} answers without an inventory: {answer}"),
        }
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, Value::Null).await
    }

    /// One call to its end: the body of the answer, a [`Refusal`] when the API says no.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let what = format!("{method} {path}");
        let answer = self.request(method, &format!("{}{path}", self.base), &body).await?;
        let done = if answer.status == StatusCode::ACCEPTED { self.wait(&answer).await } else { Ok(answer) };
        done.and_then(|answer| judge(&answer)).context(what)
    }

    /// One call until it is acknowledged: where its job is.
    pub async fn begin(&self, method: Method, path: &str, body: Value) -> Result<String> {
        let answer = self.request(method, &format!("{}{path}", self.base), &body).await?;
        if answer.status != StatusCode::ACCEPTED {
            judge(&answer)?;
        }
        Ok(text(&answer.json()?, "/location")?.to_owned())
    }

    /// Follows what was begun to its end.
    pub async fn follow(&self, location: &str) -> Result<Value> {
        judge(&self.poll(location).await?)
    }

    async fn wait(&self, accepted: &Answer) -> Result<Answer> {
        let body = accepted.json()?;
        self.poll(text(&body, "/location")?).await
    }

    /// Follows a job to its end.
    async fn poll(&self, location: &str) -> Result<Answer> {
        let patience = Instant::now() + ONE_JOB;
        let mut pause = POLL_FIRST;
        loop {
            sleep(pause).await;
            let answer = self.request(Method::GET, location, &Value::Null).await?;
            if answer.status != StatusCode::ACCEPTED {
                return Ok(answer);
            }
            if Instant::now() > patience {
                bail!("job {location} is not done within {} s", ONE_JOB.as_secs());
            }
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }

    async fn request(&self, method: Method, url: &str, body: &Value) -> Result<Answer> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if !self.session.is_empty() {
            headers.push(("authorization", format!("OAuth {}", self.session)));
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.client.send(method, url, &headers, body, ONE_REQUEST).await
    }
}

/// What clients send for a password.
pub fn sha512(password: &str) -> String {
    Sha512::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn judge(answer: &Answer) -> Result<Value> {
    if answer.status.is_success() {
        return if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() };
    }
    let body = answer.json().unwrap_or_else(|_| json!({ "error": { "details": answer.text() } }));
    let error = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    let (code, description, details) = (error("code"), error("description"), error("details"));
    Err(Refusal { status: answer.status, code, description, details }.into())
}

/// A text in an answer, by JSON pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("the answer has no text at {pointer}: {value}"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.status.as_u16(), self.code, self.description, self.details)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn an_error_body_becomes_a_refusal() {
        let body = r#"{"error":{"code":"SYS.1007","description":"d","details":"no such zone"}}"#;
        let error = judge(&answer(503, body)).unwrap_err();
        assert_eq!(error.downcast_ref::<Refusal>().unwrap().code, "SYS.1007");
        assert_eq!(error.to_string(), "503 SYS.1007 d: no such zone");
    }

    #[test]
    fn an_error_without_a_body_still_says_its_status() {
        assert!(judge(&answer(502, "bad gateway")).unwrap_err().to_string().contains("bad gateway"));
    }

    #[test]
    fn an_empty_success_is_no_error() {
        assert_eq!(judge(&answer(200, "")).unwrap(), Value::Null);
    }
}
