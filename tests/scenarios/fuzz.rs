//! The API against its own document: schemathesis makes requests of it that are right, nearly right and wrong,
//! about things that are there. No answer may be of a status or shape that the document does not name, none may
//! take long, and no job that was begun by it may end with an error of the controller itself.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use cumulet_tests::lab::program::{command, finish_within, run};
use serde_json::{Value, json};

use super::site::Site;

const VERSION: &str = "4.32.5";
/// The same requests every time.
const SEED: &str = "20261122";
/// Requests of each kind beside those that try the bounds of every parameter.
const EXAMPLES: &str = "4";
const LIMIT: Duration = Duration::from_secs(420);

/// What is not as it is elsewhere: what is not there yet is told by 501, and that a job has failed by 503.
const SETTINGS: &str = r#"
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]

[[operations]]
include-path = "/api-jobs/{uuid}"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"#;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// The program, installed once for all runs, by one at a time.
fn schemathesis() -> Result<PathBuf> {
    let dir = cumulet_tests::target().join(format!("schemathesis-{VERSION}"));
    let alone = File::create(dir.with_extension("lock"))?;
    alone.lock()?;
    let program = dir.join("bin/schemathesis");
    if !program.exists() {
        let how = "it comes from PyPI into a virtual environment below target/, by python3-venv and pip";
        let dir = dir.to_string_lossy().into_owned();
        run("python3", ["-m", "venv", &dir]).context(how)?;
        let wanted = format!("schemathesis=={VERSION}");
        run(&format!("{dir}/bin/pip"), ["install", "--quiet", &wanted]).context(how)?;
    }
    Ok(program)
}

/// Has parameters name what is there, or nothing: a random uuid would never meet anything.
fn name_what_is_there(document: &mut Value, there: &[String]) {
    let mut names = there.to_vec();
    names.push("0".repeat(32));
    let items = document["paths"].as_object_mut().unwrap().values_mut();
    let mut bodies = HashSet::new();
    for call in items.flat_map(|item| item.as_object_mut().unwrap().values_mut()) {
        referred(&call["requestBody"], &mut bodies);
        let Some(parameters) = call["parameters"].as_array_mut() else { continue };
        // A job's name would be the same again and again, and a web hook lead to strangers.
        parameters.retain(|one| {
            !["jobUuid", "webHook"]
                .iter()
                .any(|name| one["$ref"].as_str().is_some_and(|to| to.ends_with(name)))
        });
        let named =
            parameters.iter_mut().filter(|one| ["path", "query"].map(Value::from).contains(&one["in"]));
        named.for_each(|one| restrict(&mut one["schema"], &names));
    }
    let schemas = document["components"]["schemas"].as_object_mut().unwrap().iter_mut();
    for (_, schema) in schemas.filter(|(name, _)| bodies.contains(*name)) {
        let members = schema["properties"].as_object_mut().unwrap().iter_mut();
        let others = members.filter(|(name, _)| *name != "resourceUuid");
        others.for_each(|(_, member)| restrict(member, &names));
    }
}

/// The types that a body is made of.
fn referred(body: &Value, names: &mut HashSet<String>) {
    match body {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
            names.extend(name.map(str::to_owned));
            members.values().for_each(|member| referred(member, names));
        }
        Value::Array(list) => list.iter().for_each(|one| referred(one, names)),
        _ => {}
    }
}

fn restrict(schema: &mut Value, names: &[String]) {
    if schema["pattern"] == "^[0-9a-fA-F]{32}$" {
        *schema = json!({ "enum": names });
    } else if let Some(items) = schema.get_mut("items") {
        restrict(items, names);
    }
}

/// What the controller has by now.
async fn uuids(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for path in [
        "/zones",
        "/clusters",
        "/hosts",
        "/primary-storage",
        "/backup-storage",
        "/images",
        "/l2-networks",
        "/l3-networks",
        "/l3-networks/ip-ranges",
        "/instance-offerings",
        "/vm-instances",
        "/volumes",
        "/vm-instances/nics",
        "/accounts/users",
        "/identities/roles",
        "/accounts/policies",
        "/user-tags",
    ] {
        let rows = site.list(path).await;
        found.extend(rows.iter().map(|row| row["uuid"].as_str().unwrap().to_owned()));
    }
    found
}

async fn furnish(site: &Site) {
    let make = async |path: &str, params: Value| site.api.create(path, params).await.unwrap();
    let vm = json!({
        "name": "web", "imageUuid": site.image, "instanceOfferingUuid": site.offering, "l3NetworkUuids": [site.l3],
    });
    let vm = make("/vm-instances", vm).await;
    make("/user-tags", json!({ "resourceType": "VmInstanceVO", "resourceUuid": vm["uuid"], "tag": "prod" }))
        .await;
    let password = cumulet_tests::api::sha512("pw");
    make("/accounts/users", json!({ "name": "ann", "password": password })).await;
    let deny = json!([{ "effect": "Deny", "actions": ["image:.*"] }]);
    make("/identities/roles", json!({ "name": "r", "statements": deny })).await;
    make("/accounts/policies", json!({ "name": "p", "statements": deny })).await;
}

/// Writes down what it reads and starts it, on the calls that `which` names.
fn attack(site: &Site, program: &Path, document: &Value, which: [&str; 2]) -> Result<String> {
    let dir = site.controller.dir();
    std::fs::write(dir.join("openapi.json"), document.to_string())?;
    std::fs::write(dir.join("schemathesis.toml"), SETTINGS)?;
    let session = format!("Authorization: OAuth {}", site.api.session());
    let mut command = command(
        &program.to_string_lossy(),
        [
            "run",
            "openapi.json",
            "--url",
            site.api.base(),
            "--header",
            &session,
            "--checks",
            CHECKS,
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            EXAMPLES,
            "--seed",
            SEED,
            "--generation-database",
            "none",
            "--workers",
            "2",
            "--request-timeout",
            "20",
            "--continue-on-failure",
            "--warnings",
            "off",
            "--exclude-path",
            "/events",
            "--no-color",
        ],
    );
    // It goes through its whole environment, for proxies, with every request.
    command.args(which).current_dir(dir).env_clear();
    finish_within(command, LIMIT)
}

/// A site after all those requests, no one of which got a wrong answer.
async fn besieged(which: [&str; 2]) -> Site {
    let program = tokio::task::spawn_blocking(schemathesis).await.unwrap();
    let program = program.unwrap_or_else(|error| panic!("schemathesis cannot be installed: {error:#}"));
    let site = Site::start().await;
    furnish(&site).await;
    let mut document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    name_what_is_there(&mut document, &uuids(&site).await);
    let said = tokio::task::block_in_place(|| attack(&site, &program, &document, which));
    let said = said.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{said}");
    assert!(!site.controller.said("panicked"), "{}", site.controller.last_words());
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_gets_an_answer_that_the_document_does_not_know() {
    besieged(["--include-method", "GET"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_gets_an_answer_that_the_document_does_not_know() {
    let site = besieged(["--exclude-method", "GET"]).await;
    let failed = site.list("/audits?q=success=false&q=state=done&limit=10000").await;
    let own = |job: &&Value| ["SYS.1000", "SYS.2002"].map(Value::from).contains(&job["error"]["code"]);
    let own: Vec<_> = failed.iter().filter(own).collect();
    assert!(own.is_empty(), "{own:#?}");
    let done = site.list("/audits?q=success=true&groupBy=apiName").await;
    assert!(done.len() > 15, "only {} kinds of call have done anything", done.len());
}
