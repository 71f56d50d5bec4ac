//! The REST API: requests, queries, refusals.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

const ONE_REQUEST: Duration = Duration::from_secs(30);
const ROOT: &str = "/zstack/v1";
/// How many rows one query brings.
const PAGE: usize = 1000;

pub struct Api {
    http: reqwest::Client,
    base: String,
    session: Option<String>,
}

/// A request that changes something.
#[derive(Clone, Debug)]
pub struct Order {
    pub method: Method,
    /// With its segments encoded.
    pub path: String,
    pub body: Value,
}

/// An answer as it came.
pub struct Reply {
    pub status: StatusCode,
    pub body: Value,
}

/// What the API says when it does not do something.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub details: String,
}

/// `http://host:port` of what people write as a server.
pub fn server(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|error| format!("{error}: write http://host:8080"))?;
    let sound = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
    match sound && url.query().is_none() && url.password().is_none() {
        true => Ok(url.as_str().trim_end_matches('/').trim_end_matches(ROOT).to_owned()),
        false => Err("write http://host:8080".into()),
    }
}

impl Api {
    pub fn new(server: &str, session: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(ONE_REQUEST).build()?;
        Ok(Self { http, base: format!("{server}{ROOT}"), session })
    }

    /// One request, whatever its answer is.
    pub async fn send(
        &self,
        order: &Order,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Reply> {
        let mut url = format!("{}{}", self.base, order.path);
        if !query.is_empty() {
            let pairs = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            url = format!("{url}?{pairs}");
        }
        let mut request = self.http.request(order.method.clone(), url);
        if let Some(session) = &self.session {
            request = request.header("authorization", format!("OAuth {session}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !order.body.is_null() {
            request = request.json(&order.body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!({ "error": { "details": text } }));
        Ok(Reply { status, body })
    }

    /// A request that is answered at once.
    pub async fn ask(&self, order: &Order, query: &[(&str, &str)]) -> Result<Value> {
        let reply = self.send(order, query, &[]).await.with_context(|| self.silent())?;
        reply.judge().map_err(Into::into)
    }

    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let order = Order { method: Method::GET, path: path.to_owned(), body: Value::Null };
        self.ask(&order, query).await
    }

    /// All that meets the conditions; at most `limit`.
    pub async fn list(
        &self,
        path: &str,
        conditions: &[String],
        sort: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        while found.len() < limit {
            let (start, size) = (found.len().to_string(), PAGE.min(limit - found.len()));
            let wanted = size.to_string();
            let mut query: Vec<(&str, &str)> = conditions.iter().map(|q| ("q", q.as_str())).collect();
            query.extend([("start", start.as_str()), ("limit", wanted.as_str())]);
            query.extend(sort.map(|sort| ("sort", sort)));
            let mut answer = self.get(path, &query).await?;
            let page = answer.get_mut("inventories").and_then(Value::as_array_mut).map(std::mem::take);
            let page = page.with_context(|| format!("the answer to GET {path} has no inventories"))?;
            let last = page.len() < size;
            found.extend(page);
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// What is said when nothing answers.
    pub fn silent(&self) -> String {
        format!("the controller at {} does not answer: is it running?", self.base.trim_end_matches(ROOT))
    }
}

impl Reply {
    pub fn judge(self) -> Result<Value, Refusal> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let error = |name: &str| self.body["error"][name].as_str().unwrap_or_default().trim().to_owned();
        let said = match error("details") {
            details if details.is_empty() => error("description"),
            details => details,
        };
        Err(Refusal { status: self.status, code: error("code"), details: said })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == StatusCode::UNAUTHORIZED {
            f.write_str("the session has expired or is unknown: log in again with cumulet login: ")?;
        }
        match self.code.as_str() {
            "" => write!(f, "HTTP {}: {}", self.status.as_u16(), self.details),
            code => write!(f, "{code}: {}", self.details),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_people_write_them() {
        for text in ["127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/zstack/v1"] {
            assert_eq!(server(text).unwrap(), "http://127.0.0.1:8080", "{text}");
        }
        for text in ["ftp://a", "http://", "http://me:word@a", "http://a?x=y"] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expired_session_says_what_to_do() {
        let body = json!({ "error": { "code": "ID.1001", "details": "no such session" } });
        let error = Reply { status: StatusCode::UNAUTHORIZED, body }.judge().unwrap_err();
        assert!(error.to_string().contains("cumulet login: ID.1001: no such session"));
    }
}
