//! Imports from `http` and `https`.
//!
//! Redirects are followed here, one by one, each judged like the first; no proxy; no content encoding.
//! A transfer that breaks off is continued by a range request when the server named a validator.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::address::{Forbidden, Guard};
use super::order::shown;
use super::sink::{Sink, pour};
use super::{Error, Import};

const REDIRECTS: usize = 10;
/// Attempts that bring nothing, in a row.
const ATTEMPTS: u32 = 4;
/// Before the second attempt of a row; doubled with each.
const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(15);
/// The longest silence within a transfer.
const SILENCE: Duration = Duration::from_secs(60);

struct Remote {
    client: Client,
    guard: Guard,
    url: Url,
}

/// Whether another attempt may help.
enum Failure {
    Final(Error),
    Passing(Error),
}

/// What the server is about to send.
struct Transfer {
    response: Response,
    /// Where in the image its first byte belongs.
    from: u64,
    total: Option<u64>,
    validator: Option<String>,
}

pub(super) async fn fetch(import: &mut Import<'_>, mut sink: Sink, url: Url) -> Result<Sink, Error> {
    let remote = Remote::new(url, Guard::new(&import.rules.allow_private))?;
    let mut attempt = 0;
    loop {
        let before = sink.length();
        let (back, result) = remote.attempt(import, sink).await;
        sink = back;
        let error = match result {
            Ok(()) => return Ok(sink),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => error,
        };
        attempt = if sink.length() > before { 1 } else { attempt + 1 };
        if attempt >= ATTEMPTS {
            return Err(error);
        }
        tracing::info!(image = %import.id, received = sink.length(), attempt, %error, "trying again");
        tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
    }
}

impl Remote {
    fn new(url: Url, guard: Guard) -> Result<Self, Error> {
        let client = Client::builder()
            .user_agent(concat!("cumulet/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .http1_only()
            .build();
        let client = client.map_err(|error| fetch_error(&url, error))?;
        Ok(Remote { client, guard, url })
    }

    async fn attempt(&self, import: &mut Import<'_>, mut sink: Sink) -> (Sink, Result<(), Failure>) {
        let transfer = match self.open(import, sink.length()).await {
            Ok(transfer) => transfer,
            Err(failure) => return (sink, Err(failure)),
        };
        if let Err(error) = self.prepare(import, &mut sink, &transfer).await {
            return (sink, Err(Failure::Final(error)));
        }
        let mut chunks = transfer.response.bytes_stream();
        let (sink, poured) = pour(sink, &mut chunks).await;
        let result = match poured {
            Err(error @ Error::Broken { .. }) => Err(Failure::Passing(error)),
            poured => poured.map_err(Failure::Final),
        };
        (sink, result)
    }

    /// Asks for the image from byte `from` on, or for all of it when the server must not be trusted to
    /// still have the same.
    async fn open(&self, import: &Import<'_>, from: u64) -> Result<Transfer, Failure> {
        let validator = import.resume.validator.as_deref().filter(|_| from > 0);
        let response = self.follow(validator.map(|validator| (from, validator))).await?;
        match response.status() {
            StatusCode::OK => self.judge(response, 0),
            StatusCode::PARTIAL_CONTENT if validator.is_some() && starts_at(&response, from) => {
                self.judge(response, from)
            }
            // What the server has now is shorter, or its ranges cannot be understood: from the start.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if validator.is_some() => {
                let whole = self.follow(None).await?;
                if whole.status() == StatusCode::OK { self.judge(whole, 0) } else { Err(refused(&whole)) }
            }
            _ => Err(refused(&response)),
        }
    }

    async fn follow(&self, range: Option<(u64, &str)>) -> Result<Response, Failure> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS {
            self.guard.check(&url).map_err(|Forbidden(host)| Failure::Final(Error::Private(host)))?;
            let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some((from, validator)) = range {
                request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, validator);
            }
            let response = request.send().await.map_err(|error| failure(&url, error))?;
            match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = next(&url, &response)?,
                _ => return Ok(response),
            }
        }
        let reason = format!("more than {REDIRECTS} redirects");
        Err(Failure::Final(Error::Fetch { url: shown(&self.url), reason }))
    }

    /// Refuses what cannot be an image's bits.
    fn judge(&self, response: Response, from: u64) -> Result<Transfer, Failure> {
        let headers = response.headers();
        let what = match (text(headers, &CONTENT_ENCODING), text(headers, &CONTENT_TYPE)) {
            (Some(encoding), _) if encoding != "identity" => format!("a body in encoding {encoding:?}"),
            (_, Some(kind)) if kind.starts_with("text/html") => "a web page".to_owned(),
            _ => {
                let total = response.content_length().and_then(|rest| from.checked_add(rest));
                let validator = validator(headers);
                return Ok(Transfer { response, from, total, validator });
            }
        };
        Err(Failure::Final(Error::NoImage { what, url: shown(response.url()) }))
    }

    async fn prepare(&self, import: &mut Import<'_>, sink: &mut Sink, next: &Transfer) -> Result<(), Error> {
        if next.from != sink.length() {
            sink.restart()?;
        }
        if let Some(total) = next.total {
            import.expect(total, next.from).await?;
        }
        import.remember(next.validator.clone()).await
    }
}

fn next(url: &Url, response: &Response) -> Result<Url, Failure> {
    let wrong = |reason: &str| Failure::Final(Error::Fetch { url: shown(url), reason: reason.into() });
    let location = text(response.headers(), &LOCATION).ok_or_else(|| wrong("a redirect to nowhere"))?;
    let next = url.join(location).map_err(|_| wrong("a redirect to nowhere"))?;
    match next.scheme() {
        "http" | "https" => Ok(next),
        _ => Err(wrong("a redirect to what is neither http nor https")),
    }
}

fn refused(response: &Response) -> Failure {
    let status = response.status();
    let error = Error::Status { status: status.to_string(), url: shown(response.url()) };
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if passing { Failure::Passing(error) } else { Failure::Final(error) }
}

fn failure(url: &Url, error: reqwest::Error) -> Failure {
    match Forbidden::within(&error) {
        Some(Forbidden(host)) => Failure::Final(Error::Private(host.clone())),
        None => Failure::Passing(fetch_error(url, error)),
    }
}

/// The whole chain of causes: the client's own text says little.
fn fetch_error(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    Error::Fetch { url: shown(url), reason }
}

/// `bytes 100-199/200`.
fn starts_at(response: &Response, from: u64) -> bool {
    let range = text(response.headers(), &CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split('-').next()).and_then(|first| first.parse().ok());
    first == Some(from)
}

/// A strong ETag, or else the date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, &ETAG).filter(|etag| etag.starts_with('"'));
    strong.or_else(|| text(headers, &LAST_MODIFIED)).map(str::to_owned)
}

fn text<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
