//! Why an image did not come into its store.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use host::qcow2::{self, Format};

use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] qcow2::Error),
    #[error("the image is {found}, not {named}: name the format that it has")]
    OtherFormat { named: Format, found: Format },
    #[error("the image is larger than {0} bytes, the limit of this store")]
    TooLarge(u64),
    #[error("the image needs {needed} more bytes, but the store has only {available}: free some space")]
    NoRoom { needed: u64, available: u64 },
    #[error("the store is full: free some space and import the image again")]
    Full,
    #[error("image {0} is there already, from another source: delete it first")]
    OtherSource(String),
    #[error("image {0} is on its way from another source: wait for it or delete it first")]
    OtherImport(String),
    #[error("the import took longer than {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the import was given up because the image was deleted")]
    Cancelled,
    #[error("the import was given up: a later owner of the image has taken over")]
    Superseded,
    #[error("image url {0}")]
    BadUrl(String),
    #[error("{0} is not a public address: imports reach only public ones, and those in allow-private")]
    Private(String),
    #[error("the server answered {status} for {url}")]
    Status { status: String, url: String },
    #[error("the server sent {what} instead of an image for {url}")]
    NoImage { what: String, url: String },
    #[error("cannot fetch {url}: {reason}")]
    Fetch { url: String, reason: String },
    #[error("the transfer broke off after {received} bytes: {reason}")]
    Broken { received: u64, reason: String },
    #[error("file {path:?} cannot be imported: {reason}")]
    File { path: std::path::PathBuf, reason: String },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot {verb} {path:?}: {source}")]
    Io { verb: &'static str, path: std::path::PathBuf, source: io::Error },
}

impl Error {
    /// An error of the disk; a full one is told apart.
    pub fn disk(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Io { verb, path, source },
        }
    }

    /// What an uploader is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::Refused(_) | Error::OtherFormat { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::NoRoom { .. } | Error::Full => StatusCode::INSUFFICIENT_STORAGE,
            Error::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Error::Cancelled | Error::Superseded | Error::OtherSource(_) | Error::OtherImport(_) => {
                StatusCode::CONFLICT
            }
            Error::Broken { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
