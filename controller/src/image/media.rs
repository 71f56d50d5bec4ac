//! What an image may be, and where it may come from.

use engine::{Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum MediaType {
    RootVolumeTemplate,
    DataVolumeTemplate,
    #[serde(rename = "ISO")]
    Iso,
}

/// The formats that a storage can inspect and a KVM host can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Raw,
    Qcow2,
    Iso,
}

impl MediaType {
    pub fn name(self) -> &'static str {
        match self {
            MediaType::RootVolumeTemplate => "RootVolumeTemplate",
            MediaType::DataVolumeTemplate => "DataVolumeTemplate",
            MediaType::Iso => "ISO",
        }
    }

    /// What an image is for when nobody said so.
    pub fn of(named: Option<MediaType>, format: Option<Format>) -> MediaType {
        match (named, format) {
            (Some(named), _) => named,
            (None, Some(Format::Iso)) => MediaType::Iso,
            (None, _) => MediaType::RootVolumeTemplate,
        }
    }

    /// Refuses a format that cannot serve this purpose.
    pub fn suits(self, format: &str) -> Result<()> {
        match (self == MediaType::Iso, format == Format::Iso.name()) {
            (true, false) => Err(codes::INVALID_ARGUMENT
                .because(format!("an image of media type ISO must have format iso, not {format}"))),
            (false, true) => Err(codes::INVALID_ARGUMENT
                .because(format!("an iso cannot be a {}: use media type ISO", self.name()))),
            _ => Ok(()),
        }
    }
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Iso => "iso",
        }
    }
}

/// Refuses at once what no storage would fetch.
pub(super) fn address(text: &str) -> Result<Url> {
    let bad = |why: &str| codes::INVALID_ARGUMENT.because(format!("\"url\" {why}"));
    let url = Url::parse(text).map_err(|error| bad(&format!("is not a url: {error}")))?;
    match url.scheme() {
        "http" | "https" | "upload" => Ok(url),
        "file" if matches!(url.host(), None | Some(Host::Domain("localhost"))) => Ok(url),
        "file" => {
            Err(bad("names a file of another machine: use file:///path, a path on the storage's machine"))
        }
        other => Err(bad(&format!("has scheme \"{other}\": use http, https, file or upload"))),
    }
}

/// Whether a client is to bring the bits itself.
pub(super) fn is_upload(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("upload"))
}

/// A URL as it may be kept and shown: without user and password.
pub(super) fn shown(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return String::new() };
    let has_secret = !url.username().is_empty() || url.password().is_some();
    if !has_secret {
        return text.to_owned();
    }
    match url.set_username("").and_then(|()| url.set_password(None)) {
        Ok(()) => url.into(),
        Err(()) => format!("{}:…", url.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_no_storage_fetches_is_refused_with_the_reason() {
        for good in
            ["http://a/b.qcow2", "HTTPS://a/b", "file:///srv/i.raw", "file://localhost/i", "upload://i"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("ftp://a/b", "use http"),
            ("image.qcow2", "not a url"),
            ("file://far/etc/passwd", "another machine"),
            ("http://", "not a url"),
        ] {
            let error = address(bad).unwrap_err();
            assert!(error.details().contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(shown("https://user:word@host:8443/i.qcow2"), "https://host:8443/i.qcow2");
        assert_eq!(shown("upload://web.qcow2"), "upload://web.qcow2");
    }

    #[test]
    fn only_an_iso_is_an_iso() {
        assert_eq!(MediaType::of(None, Some(Format::Iso)), MediaType::Iso);
        assert!(MediaType::Iso.suits("iso").is_ok());
        assert!(MediaType::Iso.suits("qcow2").is_err());
        assert!(MediaType::RootVolumeTemplate.suits("iso").is_err());
        assert!(MediaType::DataVolumeTemplate.suits("raw").is_ok());
    }
}
