//! The headers of a command. What is there is understood or refused, never ignored.

use axum::http::HeaderMap;
use reqwest::Url;

use crate::call::{
    CALLBACK_URL, CALLBACKS, DEADLINE, EPOCH, Fault, Fence, GENERATION, RESOURCE, TASK_UUID, TaskId,
};

pub struct Headers {
    pub task: Option<TaskId>,
    /// Where to report, the first address first; separated by spaces.
    pub callback: Option<String>,
    pub fence: Option<Fence>,
}

impl Headers {
    pub fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        Ok(Headers { task: task(headers)?, callback: callback(headers)?, fence: fence(headers)? })
    }
}

fn task(headers: &HeaderMap) -> Result<Option<TaskId>, Fault> {
    let Some(text) = text(headers, TASK_UUID)? else { return Ok(None) };
    TaskId::parse(text).map(Some).ok_or_else(|| unreadable(TASK_UUID, "1 to 64 printable characters"))
}

fn callback(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(first) = text(headers, CALLBACK_URL)? else { return Ok(None) };
    if !is_http(first) {
        return Err(unreadable(CALLBACK_URL, "an absolute http or https URL"));
    }
    let others = text(headers, CALLBACKS)?.unwrap_or_default();
    if !others.split_ascii_whitespace().all(is_http) {
        return Err(unreadable(CALLBACKS, "absolute http or https URLs, separated by spaces"));
    }
    let others = others.split_ascii_whitespace().filter(|other| *other != first);
    Ok(Some(std::iter::once(first).chain(others).collect::<Vec<_>>().join(" ")))
}

fn is_http(url: &str) -> bool {
    let parsed = Url::parse(url).ok().filter(|_| !url.contains(char::is_whitespace));
    parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn fence(headers: &HeaderMap) -> Result<Option<Fence>, Fault> {
    let (resource, deadline) = (text(headers, RESOURCE)?, number(headers, DEADLINE)?);
    match (resource, number(headers, GENERATION)?, number(headers, EPOCH)?) {
        (Some(""), _, _) => Err(unreadable(RESOURCE, "the resource's uuid")),
        (Some(resource), Some(generation), Some(epoch)) => {
            Ok(Some(Fence { resource: resource.to_owned(), generation, epoch, deadline }))
        }
        (None, None, None) if deadline.is_none() => Ok(None),
        _ => Err(Fault::new(format!(
            "headers {RESOURCE}, {GENERATION} and {EPOCH} come together or not at all"
        ))),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Fault> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.map(Some).ok_or_else(|| unreadable(name, "a decimal unsigned 64-bit number"))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        (_, Some(_)) => Err(Fault::new(format!("header {name} is there more than once"))),
        (Err(_), None) => Err(unreadable(name, "printable ASCII")),
    }
}

fn unreadable(name: &str, expected: &str) -> Fault {
    Fault::new(format!("header {name} is unreadable: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Headers, Fault> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Headers::read(&headers)
    }

    #[test]
    fn a_whole_fence_is_read() {
        let lines = [(RESOURCE, "vm1"), (GENERATION, "3"), (EPOCH, "18446744073709551615"), (DEADLINE, "9")];
        let fence = Fence { resource: "vm1".into(), generation: 3, epoch: u64::MAX, deadline: Some(9) };
        assert_eq!(read(&lines).ok().and_then(|h| h.fence), Some(fence));
        assert_eq!(read(&[]).ok().and_then(|h| h.fence), None);
    }

    #[test]
    fn half_a_fence_is_refused() {
        for lines in [
            &[(RESOURCE, "vm1")][..],
            &[(RESOURCE, "vm1"), (EPOCH, "1")],
            &[(GENERATION, "1"), (EPOCH, "1")],
            &[(DEADLINE, "1")],
            &[(RESOURCE, ""), (GENERATION, "1"), (EPOCH, "1")],
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn unreadable_numbers_are_refused() {
        for number in ["", "-1", "+1", "1.0", "0x1", "18446744073709551616", " 1x"] {
            let lines = [(RESOURCE, "vm1"), (GENERATION, "1"), (EPOCH, number)];
            assert!(read(&lines).is_err(), "{number:?}");
        }
        assert!(read(&[(EPOCH, "1"), (EPOCH, "2"), (RESOURCE, "r"), (GENERATION, "1")]).is_err());
    }

    #[test]
    fn a_callback_must_be_an_http_url() {
        assert!(read(&[(CALLBACK_URL, "http://10.0.0.1:8080/zstack/asyncrest/callback")]).is_ok());
        for url in ["", "callback", "/callback", "ftp://h/x", "http://", "http://a http://b"] {
            assert!(read(&[(CALLBACK_URL, url)]).is_err(), "{url:?}");
        }
    }

    #[test]
    fn other_addresses_follow_the_first() {
        let callbacks = |lines: &[_]| read(lines).ok().and_then(|headers| headers.callback);
        let first = (CALLBACK_URL, "http://a/c");
        let both = callbacks(&[first, (CALLBACKS, "http://b/c  http://a/c https://d")]);
        assert_eq!(both.as_deref(), Some("http://a/c http://b/c https://d"));
        assert_eq!(callbacks(&[first, (CALLBACKS, "")]).as_deref(), Some("http://a/c"));
        assert_eq!(callbacks(&[(CALLBACKS, "http://b/c")]), None, "nobody waits for it");
        assert!(read(&[first, (CALLBACKS, "http://b/c d")]).is_err());
    }
}
