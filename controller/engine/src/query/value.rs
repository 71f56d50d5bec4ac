//! What statements are given, read from a client's text.

use crate::db::Value;
use crate::error::{ErrorCode, Result, codes};
use crate::inventory::Kind;

/// A value is no longer than this, in bytes.
const LONGEST: usize = 4096;

/// The values of a statement while it is written: each gets its number.
#[derive(Debug, Default)]
pub struct Args(Vec<Value>);

impl Args {
    /// Where the value stands in the statement: `$7`.
    pub fn mark(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    pub(crate) fn values(self) -> Vec<Value> {
        self.0
    }
}

/// `text` as a field of this kind holds it; `name` is the field's.
pub(super) fn typed(name: &str, kind: Kind, text: &str) -> Result<Value> {
    Ok(match kind {
        Kind::Text => Value::from(plain(name, text)?),
        Kind::Int => Value::Int(whole(name, text)?),
        Kind::Bool => Value::Bool(truth(name, text)?),
        Kind::Moment => Value::Int(moment(name, text)?),
    })
}

/// A pattern of texts. `%` and `_` are wild unless a backslash stands before them; without any the text is
/// looked for anywhere.
pub(super) fn pattern(name: &str, kind: Kind, text: &str) -> Result<Value> {
    if kind != Kind::Text {
        return Err(invalid(format!("\"{name}\" is no text: a pattern cannot be looked for in it")));
    }
    let (escaped, wild) = escape(plain(name, text)?);
    Ok(Value::Text(if wild { escaped } else { format!("%{escaped}%") }))
}

fn escape(text: &str) -> (String, bool) {
    let (mut escaped, mut wild) = (String::with_capacity(text.len() + 2), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('%' | '_')) => {
                escaped.push('\\');
                escaped.extend(chars.next());
            }
            ('\\', _) => escaped.push_str("\\\\"),
            _ => {
                wild |= matches!(c, '%' | '_');
                escaped.push(c);
            }
        }
    }
    (escaped, wild)
}

/// Texts that no column can hold are refused before a database does.
fn plain<'t>(name: &str, text: &'t str) -> Result<&'t str> {
    if text.len() > LONGEST {
        return Err(invalid(format!("a value of \"{name}\" is longer than {LONGEST} bytes")));
    }
    match text.contains('\0') {
        true => Err(invalid(format!("a value of \"{name}\" holds a zero byte"))),
        false => Ok(text),
    }
}

pub(super) fn whole(name: &str, text: &str) -> Result<i64> {
    text.parse().map_err(|_| invalid(format!("\"{name}\" must be a whole number, not \"{text}\"")))
}

pub(super) fn truth(name: &str, text: &str) -> Result<bool> {
    text.parse().map_err(|_| invalid(format!("\"{name}\" must be true or false, not \"{text}\"")))
}

/// `2026-11-21 11:28:44`, RFC 3339, or as replies write it; UTC when no zone is named.
fn moment(name: &str, text: &str) -> Result<i64> {
    let zoned: Option<jiff::Timestamp> = text.parse().ok();
    let utc = |plain: jiff::civil::DateTime| Some(plain.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    let plain = || text.parse().ok().and_then(utc);
    let shown = || jiff::civil::DateTime::strptime("%b %d, %Y %I:%M:%S %p", text).ok().and_then(utc);
    zoned.or_else(plain).or_else(shown).map(jiff::Timestamp::as_microsecond).ok_or_else(|| {
        invalid(format!("\"{name}\" must be a moment such as 2026-11-21T11:28:44Z, not \"{text}\""))
    })
}

pub(super) fn invalid(details: String) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_wildcards_is_looked_for_anywhere() {
        let pattern = |text| match pattern("name", Kind::Text, text).unwrap() {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        };
        for (text, expected) in [
            ("web", "%web%"),
            ("web%", "web%"),
            ("w_b", "w_b"),
            (r"50\%", r"%50\%%"),
            (r"a\b", r"%a\\b%"),
            (r"%\", r"%\\"),
        ] {
            assert_eq!(pattern(text), expected, "{text}");
        }
    }

    #[test]
    fn a_moment_is_read_as_people_programs_and_replies_write_it() {
        for text in [
            "2026-11-21 11:28:44",
            "2026-11-21T11:28:44Z",
            "2026-11-21T12:28:44+01:00",
            "Nov 21, 2026 11:28:44 AM",
        ] {
            assert_eq!(moment("createDate", text), Ok(1_795_260_524_000_000), "{text}");
        }
        assert!(moment("createDate", "yesterday").is_err());
    }

    #[test]
    fn what_no_column_can_hold_is_refused() {
        assert!(typed("name", Kind::Text, "a\0b").is_err());
        assert!(typed("name", Kind::Text, &"x".repeat(LONGEST + 1)).is_err());
        assert!(typed("cpuNum", Kind::Int, "many").is_err());
        assert!(pattern("cpuNum", Kind::Int, "1").is_err());
    }
}
