//! What a command asks for: where the image comes from and what it must be.

use std::path::PathBuf;
use std::time::Duration;

use host::qcow2::Format;
use sha2::{Digest, Sha256};
use url::{Host, Url};
use wire::calls::imagestore::Download;

use super::Error;
use super::upload::Token;
use crate::store::{Image, ImageId};

/// What ZStack's agent takes when a command names no limit.
const DEFAULT_LIMIT: Duration = Duration::from_secs(7200);

#[derive(Clone, Debug)]
pub struct Order {
    pub source: Source,
    /// SHA-256 of the URL: tells sources apart without keeping what may be a password.
    pub digest: String,
    pub format: Option<Format>,
    pub limit: Duration,
}

#[derive(Clone, Debug)]
pub enum Source {
    Http(Url),
    File(PathBuf),
    Upload(Token),
}

impl Order {
    pub fn of(command: &Download) -> Result<Self, Error> {
        let format = command.format.as_deref().filter(|format| !format.is_empty());
        let format = format.map(str::parse).transpose().map_err(|error| bad(format!("has an {error}")))?;
        let limit = match command.timeout {
            0 => DEFAULT_LIMIT,
            seconds => Duration::from_secs(seconds),
        };
        let digest = hex::encode(Sha256::digest(command.url.as_bytes()));
        Ok(Order { source: Source::of(command)?, digest, format, limit })
    }

    /// Whether an image that is there is the one that is wanted.
    pub fn accept(&self, id: &ImageId, image: Image) -> Result<Image, Error> {
        if image.source != self.digest {
            return Err(Error::OtherSource(id.to_string()));
        }
        match self.format {
            Some(named) if named != image.format => Err(Error::OtherFormat { named, found: image.format }),
            _ => Ok(image),
        }
    }
}

impl Source {
    fn of(command: &Download) -> Result<Self, Error> {
        let url = Url::parse(&command.url).map_err(|error| bad(format!("is not a url: {error}")))?;
        match url.scheme() {
            "http" | "https" => Ok(Source::Http(url)),
            "file" => file_path(&url).map(Source::File),
            "upload" => Token::new(command.upload_token.as_deref()).map(Source::Upload),
            other => Err(bad(format!("has scheme {other:?}: use http, https, file or upload"))),
        }
    }
}

fn file_path(url: &Url) -> Result<PathBuf, Error> {
    let here = matches!(url.host(), None | Some(Host::Domain("" | "localhost")));
    match url.to_file_path() {
        Ok(path) if here => Ok(path),
        _ => Err(bad("names a file of another machine: use file:///path".into())),
    }
}

fn bad(reason: String) -> Error {
    Error::BadUrl(reason)
}

/// A URL as it may be shown: without password and without query, where signatures stand.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let cleared = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.set_query(None);
    shown.set_fragment(None);
    if cleared.is_ok() { shown.into() } else { format!("{}:…", url.scheme()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(url: &str) -> Result<Order, String> {
        let command = Download { url: url.into(), upload_token: Some("t".repeat(32)), ..Download::default() };
        Order::of(&command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_scheme_chooses_the_source() {
        assert!(matches!(order("HTTPS://a/b").unwrap().source, Source::Http(_)));
        assert!(matches!(order("upload://name").unwrap().source, Source::Upload(_)));
        let file = order("file:///srv/a%20b").unwrap();
        assert!(matches!(file.source, Source::File(path) if path == *"/srv/a b"));
    }

    #[test]
    fn other_schemes_and_machines_are_refused() {
        for url in ["ftp://a/b", "a.qcow2", "file://far/etc/passwd", "json:{}"] {
            assert!(order(url).unwrap_err().starts_with("image url"), "{url}");
        }
    }

    #[test]
    fn an_upload_needs_a_token_worth_its_name() {
        for token in [None, Some(""), Some("short")] {
            let command = Download {
                url: "upload://x".into(),
                upload_token: token.map(Into::into),
                ..Download::default()
            };
            assert!(Order::of(&command).unwrap_err().to_string().contains("upload token"));
        }
    }

    #[test]
    fn no_secret_of_a_url_is_shown() {
        let url = Url::parse("https://user:word@host:8443/i.qcow2?sig=secret#x").unwrap();
        assert_eq!(shown(&url), "https://host:8443/i.qcow2");
    }
}
