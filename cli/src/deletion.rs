//! Deleting: what goes with it is shown, agreed to, and then exactly that is done.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Api, Order};
use crate::command::Delete;
use crate::output::{self, Format};
use crate::resources::Resource;
use crate::{Usage, job, resolve, size};

/// So many things of one kind are named below one other.
const NAMED: usize = 10;

pub async fn run(api: &Api, resource: &Resource, delete: &Delete, format: Format) -> Result<()> {
    let path = resource.path.with_context(|| format!("a {} cannot be looked up", resource.title))?;
    let found = resolve::one(api, resource, &delete.thing).await?;
    let uuid = found["uuid"].as_str().with_context(|| format!("the {} has no uuid", resource.title))?;
    let name = found[resource.known_by].as_str().unwrap_or(uuid);
    let path = format!("{path}/{uuid}?deleteMode={}", if delete.force { "Enforcing" } else { "Permissive" });
    let preview = ask(api, &format!("{path}&preview=true")).await?;
    if delete.preview && format == Format::Json {
        return output::json(&preview);
    }
    if delete.preview || !delete.yes {
        eprint!("{}", Shown(&preview));
    }
    if delete.preview {
        return Ok(());
    }
    refuse_blocked(&preview, delete)?;
    if !delete.yes && !agreed(&format!("delete {} \"{name}\" ({uuid})?", resource.title))? {
        bail!("nothing was deleted");
    }
    let agreed = preview["planHash"].as_str().map(|hash| format!("&planHash={hash}")).unwrap_or_default();
    let order = Order { method: Method::DELETE, path: format!("{path}{agreed}"), body: Value::Null };
    job::run(api, &order).await?;
    match format {
        Format::Json => output::json(&json!({ "uuid": uuid, resource.known_by: name })),
        Format::Table => output::line(&format!("{} \"{name}\" is deleted", resource.title)),
    }
}

async fn ask(api: &Api, path: &str) -> Result<Value> {
    let order = Order { method: Method::DELETE, path: path.to_owned(), body: Value::Null };
    let mut reply = api.send(&order, &[], &[]).await.with_context(|| api.silent())?.judge()?;
    Ok(reply["preview"].take())
}

/// Goes on only past what can be left behind.
fn refuse_blocked(preview: &Value, delete: &Delete) -> Result<()> {
    let blockers = preview["blockers"].as_array().map_or(0, Vec::len);
    if blockers == 0 {
        return Ok(());
    }
    match delete.force {
        true => bail!("{blockers} of these cannot be settled, not even by force"),
        false => bail!("{blockers} of these cannot be settled: settle them first, or give --force"),
    }
}

fn agreed(question: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Usage("there is no terminal to ask on: give --yes".into()).into());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A preview as a tree, what it comes to, and what is in the way.
struct Shown<'a>(&'a Value);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0["tree"].is_object() {
            node(f, &self.0["tree"], 0)?;
        }
        for count in self.0["counts"].as_array().into_iter().flatten() {
            let (verb, kind, number) = (text(count, "action"), text(count, "kind"), &count["count"]);
            let size =
                count["size"].as_i64().filter(|size| *size > 0).map(|size| format!(", {}", size::show(size)));
            writeln!(f, "{verb} {number} {kind}{}", size.unwrap_or_default())?;
        }
        for blocker in self.0["blockers"].as_array().into_iter().flatten() {
            let (kind, name, reason) =
                (text(blocker, "kind"), text(blocker, "name"), text(blocker, "reason"));
            writeln!(f, "in the way: {kind} \"{name}\": {reason}")?;
        }
        Ok(())
    }
}

fn node(f: &mut std::fmt::Formatter<'_>, of: &Value, depth: usize) -> std::fmt::Result {
    let indent = "  ".repeat(depth);
    writeln!(f, "{indent}{} {} \"{}\"", text(of, "action"), text(of, "kind"), text(of, "name"))?;
    let children = of["children"].as_array().map_or(&[][..], Vec::as_slice);
    let mut shown = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for child in children {
        let seen = shown.entry((text(child, "kind"), text(child, "action"))).or_default();
        *seen += 1;
        if *seen <= NAMED {
            node(f, child, depth + 1)?;
        }
    }
    for ((kind, action), seen) in shown.into_iter().filter(|(_, seen)| *seen > NAMED) {
        writeln!(f, "{indent}  {action} {} more {kind}", seen - NAMED)?;
    }
    Ok(())
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_reads_as_a_tree_and_what_it_comes_to() {
        let vm = |n: usize| json!({ "kind": "VmInstance", "name": format!("vm{n}"), "action": "delete" });
        let preview = json!({
            "tree": { "kind": "Zone", "name": "z", "action": "delete", "children": (0..12).map(vm).collect::<Vec<_>>() },
            "counts": [{ "kind": "VmInstance", "action": "delete", "count": 12, "size": 12_i64 << 30 }],
            "blockers": [{ "kind": "VmInstance", "name": "vm3", "reason": "its host is away" }],
        });
        let shown = Shown(&preview).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "delete Zone \"z\"");
        assert_eq!(lines[1], "  delete VmInstance \"vm0\"");
        assert_eq!(lines[11], "  delete 2 more VmInstance");
        assert_eq!(lines[12], "delete 12 VmInstance, 12 GiB");
        assert_eq!(lines[13], "in the way: VmInstance \"vm3\": its host is away");
    }
}
