//! Reads a request: parameters from the path, the body and the URL become one JSON object.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Result, codes};
use crate::tag;

/// The members that a body may have beside the one that holds the parameters.
const BESIDE: &[&str] = &[tag::SYSTEM, tag::USER];

/// Reads parameters into a call's struct; says which parameter is wrong and why.
pub(super) fn read<A: DeserializeOwned>(api: &str, params: Value) -> Result<A> {
    serde_path_to_error::deserialize(params).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!(" at \"{path}\"") };
        codes::INVALID_ARGUMENT.because(format!("{api}{place}: {}", error.inner()))
    })
}

/// Takes out of the parameters the hash of the plan that was agreed to.
pub(super) fn agreed(params: &mut Value) -> Result<Option<String>> {
    match params.as_object_mut().and_then(|params| params.remove("planHash")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(hash)) => Ok(Some(hash)),
        Some(_) => Err(codes::INVALID_ARGUMENT.because("\"planHash\" must be the text that a preview told")),
    }
}

/// The body as JSON; an empty one is an empty object.
pub(super) fn body(bytes: &[u8]) -> Result<Map<String, Value>> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|e| codes::INVALID_ARGUMENT.because(format!("the body is not JSON: {e}")))?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(codes::INVALID_ARGUMENT.because("the body must be a JSON object")),
    }
}

/// All parameters of a call: those of the URL, the body's and the path's, the later ones winning; and the tags
/// that stand beside them, or among them, where ZStack's Java client puts them.
pub(super) fn params(
    path: Vec<(String, String)>,
    url: &[(String, String)],
    key: Option<&str>,
    mut body: Map<String, Value>,
) -> Result<Value> {
    let beside: Vec<_> = BESIDE.iter().filter_map(|name| body.remove_entry(*name)).collect();
    let mut among = members(key, body)?;
    let tags: Vec<_> = BESIDE.iter().filter_map(|name| among.remove_entry(*name)).chain(beside).collect();
    let mut params = Map::new();
    for (name, value) in url {
        add(&mut params, name, value);
    }
    params.extend(among);
    for (name, value) in path {
        params.insert(name, value.into());
    }
    if let Some(name) = BESIDE.iter().find(|name| params.contains_key(**name)) {
        return Err(
            codes::INVALID_ARGUMENT.because(format!("\"{name}\" stands in the body, beside the parameters"))
        );
    }
    params.extend(tags.into_iter().filter(|(_, tags)| tags.as_array().is_none_or(|tags| !tags.is_empty())));
    params.retain(|_, value| !value.is_null());
    Ok(Value::Object(params))
}

fn members(key: Option<&str>, mut body: Map<String, Value>) -> Result<Map<String, Value>> {
    let inner = match key {
        // ZStack's clients write "null" where a call's parameters have no name; people write "params".
        Some("null") => body.remove("null").or_else(|| body.remove("params")),
        _ => key.and_then(|key| body.remove(key)),
    };
    if let Some(name) = body.keys().next() {
        let expected = key.unwrap_or("nothing");
        return Err(codes::INVALID_ARGUMENT
            .because(format!("\"{name}\" does not belong in the body; it takes \"{expected}\"")));
    }
    match inner {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => {
            Err(codes::INVALID_ARGUMENT
                .because(format!("\"{}\" must be a JSON object", key.unwrap_or_default())))
        }
    }
}

/// A name that comes twice is a list.
fn add(params: &mut Map<String, Value>, name: &str, value: &str) {
    match params.get_mut(name) {
        None => {
            params.insert(name.to_owned(), value.into());
        }
        Some(Value::Array(list)) => list.push(value.into()),
        Some(one) => *one = Value::Array(vec![one.take(), value.into()]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_stand_beside_the_parameters_or_among_them() {
        let read = |body: Value| {
            let Value::Object(body) = body else { panic!("{body}") };
            params(vec![("zoneUuid".into(), "z".into())], &[], Some("params"), body)
        };
        let expected = json!({ "name": "n", "zoneUuid": "z", "userTags": ["a"] });
        let among = json!({ "params": { "name": "n", "userTags": ["a"], "systemTags": [] } });
        assert_eq!(read(among).unwrap(), expected);
        let beside = json!({ "params": { "name": "n", "userTags": ["b"] }, "userTags": ["a"] });
        assert_eq!(read(beside).unwrap(), expected);
        let url = [("userTags".to_owned(), "a".to_owned())];
        assert!(params(Vec::new(), &url, None, Map::new()).is_err(), "a URL holds none");
    }
}
