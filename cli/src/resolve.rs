//! Names and uuids of people become uuids of the API.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::Api;
use crate::resources::{self, Resource};

/// How many candidates are fetched for a name.
const CANDIDATES: usize = 50;

/// The one that `text` means: by uuid, or by name when that is unambiguous.
pub async fn one(api: &Api, resource: &Resource, text: &str) -> Result<Value> {
    let path = resource.path.with_context(|| format!("a {} cannot be looked up", resource.title))?;
    if is_uuid(text) {
        let uuid = text.replace('-', "").to_ascii_lowercase();
        let found = api.list(path, &[format!("uuid={uuid}")], None, 1).await?;
        if let Some(found) = found.into_iter().next() {
            return Ok(found);
        }
    }
    let named = api.list(path, &[format!("{}={text}", resource.known_by)], None, CANDIDATES).await?;
    choose(resource, text, named)
}

pub async fn uuid(api: &Api, resource: &str, text: &str) -> Result<String> {
    let resource = resources::find(resource).with_context(|| format!("there is no resource {resource}"))?;
    let found = one(api, resource, text).await?;
    found["uuid"]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{} \"{text}\" has no uuid", resource.title))
}

fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(|&byte| byte != b'-');
    digits.clone().all(|byte| byte.is_ascii_hexdigit()) && digits.count() == 32
}

fn choose(resource: &Resource, text: &str, mut named: Vec<Value>) -> Result<Value> {
    named.retain(|one| one[resource.known_by] == text);
    match named.len() {
        1 => Ok(named.remove(0)),
        0 => bail!(
            "there is no {} \"{text}\": see cumulet {} list for what there is",
            resource.title,
            resource.name
        ),
        _ => {
            let uuids: Vec<_> = named.iter().filter_map(|one| one["uuid"].as_str()).collect();
            bail!(
                "{} \"{text}\" is ambiguous, name one by its uuid:\n  {}",
                resource.title,
                uuids.join("\n  ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choice(named: &[(&str, &str)]) -> Result<Value> {
        let named = named.iter().map(|(name, uuid)| json!({ "name": name, "uuid": uuid })).collect();
        choose(resources::find("zone").unwrap(), "z1", named)
    }

    #[test]
    fn a_name_that_is_there_once_is_taken() {
        assert_eq!(choice(&[("z1", "a"), ("Z1", "b")]).unwrap()["uuid"], "a");
    }

    #[test]
    fn an_ambiguous_name_lists_its_candidates() {
        let error = choice(&[("z1", "aaa"), ("z1", "bbb")]).unwrap_err().to_string();
        assert!(error.contains("aaa") && error.contains("bbb"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(choice(&[]).unwrap_err().to_string().contains("there is no zone \"z1\""));
    }

    #[test]
    fn uuids_are_told_from_names() {
        assert!(is_uuid("806d9f874d4c44d4ab568eda86dab01e"));
        assert!(is_uuid("806D9F87-4d4c-44d4-ab56-8eda86dab01e"));
        assert!(!is_uuid("web") && !is_uuid("") && !is_uuid("806d9f874d4c44d4ab568eda86dab01g"));
    }
}
