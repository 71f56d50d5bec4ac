use std::collections::BTreeSet;

use super::*;

/// What the controller says that it serves.
const WIRING: &str = include_str!("../../../controller/wiring.txt");

fn references() -> impl Iterator<Item = &'static str> {
    let options =
        all().flat_map(|r| r.calls).flat_map(|call| call.options).filter_map(|opt| match opt.kind {
            Kind::Reference(name) | Kind::References(name) | Kind::Tags(name) => Some(name),
            _ => None,
        });
    let columns = all().flat_map(|r| r.columns).filter_map(|column| match column.shape {
        Shape::Reference(name) => Some(name),
        _ => None,
    });
    let answers = all().flat_map(|r| r.calls).filter_map(|call| match call.answer {
        Answer::Other(name) => Some(name),
        _ => None,
    });
    options.chain(columns).chain(answers)
}

/// A path whatever its parameters are called.
fn shape(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

fn served(method: &str, path: &str, body: &str) -> bool {
    let mut lines = WIRING.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.any(|words| match words.as_slice() {
        [found, at, "→", name, ..] => {
            *found == method
                && shape(at) == shape(path)
                && (body == "params" || name.eq_ignore_ascii_case(body))
        }
        _ => false,
    })
}

#[test]
fn names_and_verbs_are_unique() {
    let names: BTreeSet<_> = all().map(|resource| resource.name).collect();
    assert_eq!(names.len(), all().count());
    for resource in all() {
        let mut verbs: Vec<_> = resource.calls.iter().map(|call| call.verb).collect();
        verbs.extend(resource.deletable.then_some("delete"));
        assert_eq!(verbs.iter().collect::<BTreeSet<_>>().len(), verbs.len(), "{}", resource.name);
    }
}

#[test]
fn every_reference_leads_to_something_that_can_be_looked_up() {
    for name in references() {
        assert!(find(name).is_some_and(|resource| resource.path.is_some()), "{name}");
    }
}

#[test]
fn every_call_is_one_that_the_controller_serves() {
    for (resource, call) in all().flat_map(|resource| resource.calls.iter().map(move |call| (resource, call)))
    {
        let method = match call.method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        for path in [Some(call.path), call.instead.map(|(_, path)| path)].into_iter().flatten() {
            assert!(served(method, path, call.body), "{} {}: {method} {path}", resource.name, call.verb);
        }
    }
}

#[test]
fn every_resource_is_queried_and_deleted_where_the_controller_has_it() {
    for resource in all().filter(|resource| resource.name != "flow") {
        let Some(path) = resource.path else { continue };
        assert!(served("GET", path, "params"), "{path}");
        let deleted = served("DELETE", &format!("{path}/{{uuid}}"), "params");
        assert_eq!(deleted, resource.deletable, "{}", resource.name);
    }
}

#[test]
fn what_stands_in_a_path_is_a_required_option() {
    for call in all().flat_map(|resource| resource.calls) {
        for field in call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let option = call.options.iter().find(|opt| opt.field == field);
            assert!(option.is_some_and(|opt| opt.need == Need::Required), "{}: {field}", call.path);
        }
    }
}
