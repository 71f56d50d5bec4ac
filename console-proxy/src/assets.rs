//! What the browser loads. It stands below a path that changes with its content, so that a browser keeps
//! it for good and never mixes two builds.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const FOREVER: &str = "public, max-age=31536000, immutable";

/// The file called `name`.
pub fn find(name: &str) -> Option<&'static [u8]> {
    let at = FILES.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(FILES[at].1)
}

/// Where the page finds the files.
pub fn base() -> String {
    format!("/assets/{VERSION}")
}

/// `GET /assets/{version}/{name}`.
pub async fn serve(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = find(&name).filter(|_| version == VERSION && !name.ends_with(".html"));
    let Some(content) = found else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"{VERSION}\"");
    let caching = [(header::CACHE_CONTROL, FOREVER.to_owned()), (header::ETAG, tag.clone())];
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, kind(&name))], content).into_response()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    #[test]
    fn every_file_is_found_by_its_name() {
        assert!(names().all(|name| find(name).is_some()));
        assert!(find("vnc.js").is_some() && find("../Cargo.toml").is_none());
        assert_eq!(COMPLETE, find("novnc/core/rfb.js").is_some());
    }

    #[test]
    fn no_page_names_another_host_or_carries_code_in_itself() {
        for name in names().filter(|name| !name.starts_with("novnc/")) {
            let text = std::str::from_utf8(find(name).unwrap()).unwrap();
            assert!(!text.contains("//") || name.ends_with(".js"), "{name}");
            assert!(!text.contains("http:") && !text.contains("https://"), "{name}");
            assert!(
                !text.contains("<script>") && !text.contains("style=") && !text.contains(" onclick"),
                "{name}"
            );
        }
    }

    #[test]
    fn every_module_imports_only_files_that_are_here() {
        for name in names().filter(|name| name.ends_with(".js")) {
            let text = std::str::from_utf8(find(name).unwrap()).unwrap();
            for line in text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "))
            {
                let from = line.split(['"', '\'']).nth(1).unwrap_or_else(|| panic!("{name}: {line}"));
                assert!(from.starts_with('.'), "{name} imports {from}");
                let there = resolve(name, from);
                assert!(!COMPLETE || find(&there).is_some(), "{name} imports {there}");
            }
        }
    }

    fn resolve(name: &str, from: &str) -> String {
        let mut parts: Vec<_> = name.split('/').collect();
        parts.pop();
        for part in from.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }
}
