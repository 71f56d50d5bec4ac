//! Answers as tables for people or JSON for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::client::Api;
use crate::resources::{self, Column, Resource, Shape};
use crate::size;

/// How many uuids are asked for in one URL.
const TOGETHER: usize = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// Names of what is referred to, by uuid.
type Names = BTreeMap<String, String>;

pub async fn rows(api: &Api, resource: &Resource, rows: &[Value], format: Format) -> Result<()> {
    match format {
        Format::Json => json(&Value::from(rows)),
        Format::Table => table(api, resource.columns, rows).await,
    }
}

pub async fn table(api: &Api, columns: &[Column], rows: &[Value]) -> Result<()> {
    let names = names(api, columns, rows).await?;
    let mut table = empty();
    table.set_header(columns.iter().map(|column| column.title));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(column, row, &names)));
    }
    line(&table.to_string())
}

/// One thing with all of its members.
pub fn whole(thing: &Value, format: Format) -> Result<()> {
    if format == Format::Json {
        return json(thing);
    }
    let mut table = empty();
    for (name, value) in thing.as_object().into_iter().flatten() {
        table.add_row([name.clone(), plain(value)]);
    }
    line(&table.to_string())
}

pub fn json(value: &Value) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// A reader that has had enough is no error.
pub fn line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn empty() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

async fn names(api: &Api, columns: &[Column], rows: &[Value]) -> Result<Names> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for column in columns {
        if let Shape::Reference(resource) = column.shape {
            let uuids = rows.iter().flat_map(|row| at(row, column.path)).filter_map(Value::as_str);
            wanted.entry(resource).or_default().extend(uuids.map(str::to_owned));
        }
    }
    let mut names = Names::new();
    for (name, uuids) in wanted {
        let Some(resource) = resources::find(name) else { continue };
        let Some(path) = resource.path else { continue };
        for some in Vec::from_iter(uuids).chunks(TOGETHER) {
            let found = api.list(path, &[format!("uuid?={}", some.join(","))], None, TOGETHER).await?;
            names.extend(found.iter().filter_map(|one| {
                Some((one["uuid"].as_str()?.to_owned(), one[resource.known_by].as_str()?.to_owned()))
            }));
        }
    }
    Ok(names)
}

fn cell(column: &Column, row: &Value, names: &Names) -> String {
    let shown = at(row, column.path).into_iter().map(|value| match (column.shape, value) {
        (Shape::Size, value) => value.as_i64().map_or_else(|| plain(value), size::show),
        (Shape::Reference(_), Value::String(uuid)) => clean(names.get(uuid).unwrap_or(uuid)),
        (_, value) => plain(value),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// What a column's path leads to.
fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('/').fold(vec![value], |found, part| {
        let next = found.into_iter().flat_map(|value| match part {
            "*" => value.as_array().into_iter().flatten().collect::<Vec<_>>(),
            name => value.get(name).into_iter().collect(),
        });
        next.filter(|value| !value.is_null()).collect()
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    }
}

/// Nothing that a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_reach_into_lists_and_name_what_they_refer_to() {
        let row = json!({ "zoneUuid": "a", "clusters": ["a", "b"], "nics": [{ "ip": "10.0.0.2" }, { "ip": null }], "memory": 1024 });
        let names = Names::from([("a".to_owned(), "z1".to_owned())]);
        let show = |path, shape| cell(&Column { title: "", path, shape }, &row, &names);
        assert_eq!(show("zoneUuid", Shape::Reference("zone")), "z1");
        assert_eq!(show("clusters/*", Shape::Reference("zone")), "z1,b");
        assert_eq!(show("nics/*/ip", Shape::Plain), "10.0.0.2");
        assert_eq!(show("memory", Shape::Size), "1 KiB");
        assert_eq!(show("absent/*", Shape::Plain), "");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(plain(&json!("a\u{1b}[2Jb\nc")), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
