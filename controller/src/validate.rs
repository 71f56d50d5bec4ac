//! Checks that several calls share.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use engine::{ErrorCode, Result, codes};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// `stateEvent` of everything that is either enabled or disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateEvent {
    Enable,
    Disable,
}

impl StateEvent {
    pub fn state(self) -> &'static str {
        match self {
            StateEvent::Enable => "Enabled",
            StateEvent::Disable => "Disabled",
        }
    }
}

/// A name: 1 to 255 characters, not only blanks, no control characters.
pub fn name(field: &str, text: &str) -> Result<()> {
    let sound = !text.trim().is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control);
    match sound {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!("\"{field}\" must be 1 to 255 characters"))),
    }
}

/// Where something is asked or told by HTTP.
pub fn url(field: &str, text: &str) -> Result<()> {
    let sound =
        text.parse::<url::Url>().is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    match sound {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT
            .because(format!("\"{field}\" must be a URL of http or https, not \"{text}\""))),
    }
}

/// A parameter, or one of several, is not there.
pub fn missing(details: &str) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(details)
}

/// A number within bounds.
pub fn within(field: &str, value: i64, range: RangeInclusive<i64>) -> Result<()> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "\"{field}\" must be between {} and {}, not {value}",
            range.start(),
            range.end()
        ))),
    }
}

/// A parameter of ZStack's catalogue whose feature does not exist yet.
pub fn unsupported<T>(field: &str, value: &Option<T>) -> Result<()> {
    match value {
        None => Ok(()),
        Some(_) => {
            Err(codes::UNIMPLEMENTED.because(format!("\"{field}\" is not supported yet: leave it out")))
        }
    }
}

/// A list that may stand in a URL, where a name that comes once is no list:
/// `#[serde(default, deserialize_with = "validate::list")]`.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "one value of the right kind, or a list of them")]
    enum Read<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match Read::deserialize(from)? {
        Read::One(one) => vec![one],
        Read::Many(many) => many,
    })
}

/// A number or a truth that may stand in a URL, where everything is text:
/// `#[serde(default, deserialize_with = "validate::plain")]`.
pub fn plain<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, true or false")]
    enum Read<T> {
        Plain(T),
        Text(String),
    }
    match Option::deserialize(from)? {
        None => Ok(None),
        Some(Read::Plain(value)) => Ok(Some(value)),
        Some(Read::Text(text)) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(D::Error::custom(format!("\"{text}\": {error}"))),
        },
    }
}

/// A processor architecture; only the first can run here so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    #[default]
    #[serde(rename = "x86_64")]
    X86,
    Aarch64,
    Mips64el,
    Loongarch64,
}

impl Architecture {
    pub fn name(self) -> &'static str {
        match self {
            Architecture::X86 => "x86_64",
            Architecture::Aarch64 => "aarch64",
            Architecture::Mips64el => "mips64el",
            Architecture::Loongarch64 => "loongarch64",
        }
    }
}

/// What kind of system a guest runs; decides about its devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Platform {
    #[default]
    Linux,
    Windows,
    Other,
    Paravirtualization,
    WindowsVirtio,
}

impl Platform {
    pub fn name(self) -> &'static str {
        match self {
            Platform::Linux => "Linux",
            Platform::Windows => "Windows",
            Platform::Other => "Other",
            Platform::Paravirtualization => "Paravirtualization",
            Platform::WindowsVirtio => "WindowsVirtio",
        }
    }

    /// Whether its guests have drivers for virtio.
    pub fn knows_virtio(self) -> bool {
        matches!(self, Platform::Linux | Platform::Paravirtualization | Platform::WindowsVirtio)
    }
}
