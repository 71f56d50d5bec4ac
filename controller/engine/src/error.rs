//! Errors as the API tells them: ZStack's ErrorCode shape, one table of codes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub type Result<T, E = ErrorCode> = std::result::Result<T, E>;

/// Why something was refused or failed. `details` is the sentence for the person; `code` is for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ErrorCode(Box<Body>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
struct Body {
    code: String,
    description: String,
    details: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<ErrorCode>,
}

/// One row of the table: a code and what it means in general.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str, pub &'static str);

/// The codes of the engine. Each has a page in `docs/errors.md`.
pub mod codes {
    use super::Code;

    pub const INTERNAL: Code = Code("SYS.1000", "an internal error");
    pub const TIMEOUT: Code = Code("SYS.1001", "the operation took too long");
    pub const NOT_FOUND: Code = Code("SYS.1003", "the resource does not exist");
    pub const STATE: Code = Code("SYS.1005", "the resource's state does not allow this");
    pub const OPERATION: Code = Code("SYS.1006", "the operation failed");
    pub const INVALID_ARGUMENT: Code = Code("SYS.1007", "an argument is not valid");
    pub const UNKNOWN_MESSAGE: Code = Code("SYS.1008", "there is no such API");
    pub const UNIMPLEMENTED: Code = Code("SYS.1014", "not implemented");
    pub const HTTP: Code = Code("SYS.1015", "an agent refused the request");
    pub const IO: Code = Code("SYS.1016", "an agent does not answer");
    /// Ours: another operation owns the resource.
    pub const BUSY: Code = Code("SYS.2001", "another operation is working on the resource");
    /// Ours: this controller no longer owns the work; never seen by a client.
    pub const LOST: Code = Code("SYS.2002", "another controller owns this work");
    /// Ours: the metadata database cannot be reached; whether a write was done may be unknown.
    pub const DATABASE: Code = Code("SYS.2003", "the metadata database does not answer");
    /// Ours: this controller has lost its place among the others for the moment.
    pub const NO_LEASE: Code = Code("SYS.2004", "this controller cannot take work now");
    /// Ours: somebody asked for it.
    pub const CANCELLED: Code = Code("SYS.2005", "the operation was cancelled");

    /// Ours: what a preview said is no longer what would happen.
    pub const MOVED: Code = Code("SYS.2006", "what depends on the resource has changed");
    /// ZStack's: who logs in has not proven to be whom it says.
    pub const AUTHENTICATION: Code = Code("ID.1000", "the account or its password is wrong");
    /// ZStack's: log in again.
    pub const SESSION: Code = Code("ID.1001", "the session is not valid");
    /// ZStack's: the session is good, and may not do this.
    pub const DENIED: Code = Code("ID.1002", "permission denied");
    /// ZStack's: the account has as much as it may have.
    pub const QUOTA: Code = Code("ID.1003", "a quota is exceeded");

    /// Ours: wait.
    pub const LOCKED: Code = Code("ID.1004", "too many failed logins");

    pub const ALL: &[Code] = &[
        INTERNAL,
        TIMEOUT,
        NOT_FOUND,
        STATE,
        OPERATION,
        INVALID_ARGUMENT,
        UNKNOWN_MESSAGE,
        UNIMPLEMENTED,
        HTTP,
        IO,
        BUSY,
        LOST,
        DATABASE,
        NO_LEASE,
        CANCELLED,
        MOVED,
        AUTHENTICATION,
        SESSION,
        DENIED,
        QUOTA,
        LOCKED,
    ];
}

impl Code {
    /// This error, with the sentence that names the thing and the way out.
    pub fn because(self, details: impl Into<String>) -> ErrorCode {
        ErrorCode(Box::new(Body {
            code: self.0.to_owned(),
            description: self.1.to_owned(),
            details: details.into(),
            cause: None,
        }))
    }
}

impl ErrorCode {
    pub fn code(&self) -> &str {
        &self.0.code
    }

    pub fn details(&self) -> &str {
        &self.0.details
    }

    pub fn is(&self, code: Code) -> bool {
        self.0.code == code.0
    }

    /// Whether it, or something that caused it, is of this code.
    pub fn is_rooted_in(&self, code: Code) -> bool {
        self.is(code) || self.0.cause.as_ref().is_some_and(|cause| cause.is_rooted_in(code))
    }

    /// Whether it says nothing of what was to be done, but that this controller may not go on with it now. Who
    /// passes over errors does not pass over these: they end the step, and it is repeated.
    pub fn says_nothing(&self) -> bool {
        [codes::LOST, codes::DATABASE, codes::NO_LEASE].iter().any(|code| self.is_rooted_in(*code))
    }

    /// The same error, told with more words.
    #[must_use]
    pub fn retold(&self, details: String) -> Self {
        let mut told = self.clone();
        told.0.details = details;
        told
    }

    #[must_use]
    pub fn caused_by(mut self, cause: ErrorCode) -> Self {
        self.0.cause = Some(cause);
        self
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.details)?;
        match &self.0.cause {
            Some(cause) => write!(f, " (because {cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ErrorCode {}

impl From<serde_json::Error> for ErrorCode {
    fn from(error: serde_json::Error) -> Self {
        codes::INTERNAL.because(format!("unreadable JSON: {error}"))
    }
}
