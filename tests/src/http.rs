//! A small HTTP client that can speak from within a lab's network. One connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::Network;

const LONGEST_BODY: usize = 64 << 20;

/// Speaks from a network: without one, from that of the caller.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub network: Option<Network>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Client {
    /// Gets a page; gives up after `limit`.
    pub async fn get(&self, url: &str, limit: Duration) -> Result<Answer> {
        self.send(Method::GET, url, &[], Bytes::new(), limit).await
    }

    /// Sends one request to an `http://<ip>:<port>/…` address; gives up after `limit`.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, String)],
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer> {
        let sent = timeout(limit, self.exchange(method, url, headers, body, limit)).await;
        let sent = sent.with_context(|| format!("{url} does not answer within {} s", limit.as_secs()))?;
        sent.with_context(|| format!("cannot get an answer from {url}"))
    }

    /// A connection, without a word said over it.
    pub async fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream> {
        match &self.network {
            Some(network) => network.connect(to, limit).await,
            None => Ok(timeout(limit, TcpStream::connect(to)).await??),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, String)],
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer> {
        let url: Uri = url.parse()?;
        let to = address(&url)?;
        let stream = self.connect(to, limit).await?;
        let mut request =
            Request::builder().method(method).uri(url.path_and_query().map_or("/", |p| p.as_str()));
        request = request.header("host", to.to_string());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request.body(Full::new(body))?).await;
        let answer = receive(answer?).await;
        connection.abort();
        answer
    }
}

async fn receive(answer: hyper::Response<hyper::body::Incoming>) -> Result<Answer> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("cannot read the answer: {error}"))?;
    Ok(Answer { status, body: body.to_bytes() })
}

/// Names are not looked up: a lab knows its addresses.
fn address(url: &Uri) -> Result<SocketAddr> {
    if url.scheme_str() != Some("http") {
        bail!("only http:// addresses are spoken to");
    }
    let host = url.host().context("the address names no host")?.trim_matches(['[', ']']);
    let ip = host.parse().with_context(|| format!("{host:?} is not an IP address"))?;
    Ok(SocketAddr::new(ip, url.port_u16().unwrap_or(80)))
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the answer is not JSON: {}", self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        let read = |text: &str| address(&text.parse().unwrap()).map(|to| to.to_string());
        assert_eq!(read("http://127.0.0.1/x").unwrap(), "127.0.0.1:80");
        assert_eq!(read("http://[::1]:8080/").unwrap(), "[::1]:8080");
        assert!(read("http://example.org/").is_err());
        assert!(read("https://127.0.0.1/").is_err());
    }
}
