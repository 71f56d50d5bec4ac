//! System tags as they are declared: `hostname::{hostname}`.

use std::collections::BTreeMap;

use super::{invalid, plain};
use crate::error::{Result, codes};

/// One kind of system tag, declared in the module that reads it.
#[derive(Clone, Copy, Debug)]
pub struct SystemTag {
    /// The kind of resource that carries it: `VmInstance`.
    pub resource: &'static str,
    /// Words and `{tokens}` with `::` between them.
    pub pattern: &'static str,
    pub help: &'static str,
    pub hold: Hold,
    /// The tokens of which each combination may stand on a resource once: none for a single tag of this
    /// pattern.
    pub once: &'static [&'static str],
    /// What must be true of the tokens.
    pub check: fn(&Tokens) -> Result<()>,
}

/// Who may put a tag on, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Users, at any time.
    Free,
    /// Users, together with the resource: it steers how that is made.
    Birth,
    /// The cloud alone: a fact to be read.
    Inherent,
    /// Users, together with the resource; who reads it there keeps it. It may be long or secret, and is never
    /// written down as a tag.
    Kept,
}

/// What a tag says: its tokens by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(BTreeMap<&'static str, String>);

impl Tokens {
    /// The token, which the pattern has.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl SystemTag {
    /// The tokens, when `text` is of this pattern. The last token takes what is left, `::` too.
    pub fn read(&self, text: &str) -> Option<Tokens> {
        let parts: Vec<&'static str> = self.pattern.split("::").collect();
        let mut found = BTreeMap::new();
        let mut rest = Some(text);
        for (n, part) in parts.iter().enumerate() {
            let left = rest?;
            let last = n + 1 == parts.len();
            let (word, behind) = match left.split_once("::").filter(|_| !last) {
                Some((word, behind)) => (word, Some(behind)),
                None => (left, None),
            };
            rest = behind;
            match token(part) {
                Some(name) if !word.is_empty() => {
                    found.insert(name, word.to_owned());
                }
                None if word == *part => {}
                _ => return None,
            }
        }
        rest.is_none().then_some(Tokens(found))
    }

    /// The text that says this; `tokens` in the pattern's order.
    pub fn text(&self, tokens: &[&str]) -> String {
        let mut tokens = tokens.iter();
        let parts = self.pattern.split("::");
        let said: Vec<_> =
            parts.map(|part| token(part).and_then(|_| tokens.next().copied()).unwrap_or(part)).collect();
        said.join("::")
    }

    /// The text for people to read.
    pub(super) fn told<'t>(&self, text: &'t str) -> &'t str {
        match self.hold {
            Hold::Kept => text.split_once("::").map_or("", |(name, _)| name),
            _ => text,
        }
    }

    /// What another tag of this pattern must differ in to stand beside this one.
    pub(super) fn place(&self, tokens: &Tokens) -> Vec<String> {
        self.once.iter().map(|name| tokens.get(name).to_owned()).collect()
    }
}

fn token(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// The tag's declaration and tokens; unknown and malformed ones are refused with what there is.
pub(super) fn recognised(known: &[SystemTag], kind: &str, text: &str) -> Result<(SystemTag, Tokens)> {
    let of_kind: Vec<_> = known.iter().filter(|tag| tag.resource == kind).collect();
    let found = of_kind.iter().find_map(|tag| Some((**tag, tag.read(text)?)));
    if found.as_ref().is_none_or(|(tag, _)| tag.hold != Hold::Kept) {
        plain(text)?;
    }
    let Some((tag, tokens)) = found else {
        let patterns: Vec<_> = of_kind.iter().map(|tag| tag.pattern).collect();
        let there = if patterns.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", patterns.join(", "))
        };
        return Err(invalid(format!("system tag \"{text}\" is of no pattern of a {kind}; {there}")));
    };
    (tag.check)(&tokens).map_err(|error| {
        codes::INVALID_ARGUMENT.because(format!(
            "system tag \"{}\" ({}): {}",
            tag.told(text),
            tag.pattern,
            error.details()
        ))
    })?;
    Ok((tag, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: SystemTag = SystemTag {
        resource: "Thing",
        pattern: "address::{network}::{ip}",
        help: "",
        hold: Hold::Birth,
        once: &["network"],
        check: |_| Ok(()),
    };

    #[test]
    fn a_tag_is_read_by_its_pattern_and_written_again() {
        let tokens = ADDRESS.read("address::n1::fe80::1").unwrap();
        assert_eq!((tokens.get("network"), tokens.get("ip")), ("n1", "fe80::1"));
        assert_eq!(ADDRESS.text(&["n1", "fe80::1"]), "address::n1::fe80::1");
        for wrong in
            ["address", "address::", "address::n1", "address::n1::", "addresses::n1::1", "x::address::n1::1"]
        {
            assert_eq!(ADDRESS.read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_kept_elsewhere_may_be_long_and_is_not_told() {
        fn refuse(_: &Tokens) -> Result<()> {
            Err(codes::INVALID_ARGUMENT.because("wrong"))
        }
        let kept = SystemTag { pattern: "data::{data}", hold: Hold::Kept, once: &[], ..ADDRESS };
        let text = format!("data::{}", "secret".repeat(1000));
        assert!(recognised(&[kept], "Thing", &text).is_ok());
        let error = recognised(&[SystemTag { check: refuse, ..kept }], "Thing", &text).unwrap_err();
        assert!(error.details().contains("wrong") && !error.details().contains("secret"), "{error}");
        let long = format!("address::n::{}", "x".repeat(3000));
        assert!(recognised(&[ADDRESS], "Thing", &long).is_err());
    }

    #[test]
    fn what_is_of_no_pattern_is_refused_with_those_that_there_are() {
        let error = recognised(&[ADDRESS], "Thing", "adress::a::b").unwrap_err();
        assert!(error.details().contains("address::{network}::{ip}"), "{error}");
        assert!(recognised(&[ADDRESS], "Other", "address::a::b").is_err());
    }
}
