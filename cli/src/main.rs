//! `cumulet`: the command line of a cloud, a client of its REST API.
//!
//! Answers go to stdout, everything else to stderr. Exits with 1 when something was refused or failed, with
//! 2 when the command line makes no sense.

mod client;
mod command;
mod deletion;
mod job;
mod login;
mod output;
mod resolve;
mod resources;
mod session;
mod size;
mod upload;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, FromArgMatches};
use serde_json::Value;

use client::Api;
use command::{Completion, Delete, Globals, List, Login, Show};
use output::Format;
use resources::{Answer, Call, Resource};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let matches = command::build().get_matches();
    match run(&matches).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cumulet: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The command line asks for what cannot be.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

async fn run(matches: &ArgMatches) -> Result<()> {
    let globals = Globals::from_arg_matches(matches)?;
    match matches.subcommand().context("there is no command")? {
        ("login", args) => login::login(&globals, &Login::from_arg_matches(args)?).await,
        ("logout", _) => login::logout(&globals).await,
        ("completion", args) => complete(&Completion::from_arg_matches(args)?),
        (name, args) => {
            let resource = resources::find(name).with_context(|| format!("there is no resource {name}"))?;
            let (verb, args) = args.subcommand().context("there is no verb")?;
            let session = session::load(&session::path()?, globals.server.as_deref())?;
            let api = Api::new(&session.server, Some(session.session))?;
            work(&api, resource, verb, args, globals.output).await
        }
    }
}

fn complete(completion: &Completion) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut command::build(), "cumulet", &mut script);
    output::line(String::from_utf8(script)?.trim_end())
}

async fn work(
    api: &Api,
    resource: &'static Resource,
    verb: &str,
    args: &ArgMatches,
    format: Format,
) -> Result<()> {
    if let Some(call) = resource.call(verb) {
        let order = command::order(api, call, args).await?;
        let answer = job::run(api, &order).await?;
        return tell(api, resource, call, &answer, format).await;
    }
    match verb {
        "list" => list(api, resource, &List::from_arg_matches(args)?, format).await,
        "show" => {
            let found = resolve::one(api, resource, &Show::from_arg_matches(args)?.thing).await?;
            output::whole(&found, format)
        }
        "delete" => deletion::run(api, resource, &Delete::from_arg_matches(args)?, format).await,
        "upload" => {
            let answer = Box::pin(upload::run(api, resource, args)).await?;
            row(api, resource, &answer["inventory"], format).await
        }
        other => bail!("there is no verb {other}"),
    }
}

async fn list(api: &Api, resource: &Resource, list: &List, format: Format) -> Result<()> {
    let path = resource.path.with_context(|| format!("a {} cannot be listed", resource.title))?;
    let found = api.list(path, &list.query, list.sort.as_deref(), list.limit).await?;
    output::rows(api, resource, &found, format).await
}

async fn tell(api: &Api, resource: &Resource, call: &Call, answer: &Value, format: Format) -> Result<()> {
    let inventory = &answer["inventory"];
    match call.answer {
        Answer::Member(name) if format == Format::Table => {
            let text = inventory[name].as_str();
            output::line(text.with_context(|| format!("the answer has no {name}"))?)
        }
        Answer::Table(..) if format == Format::Json => output::json(answer),
        Answer::Table(name, columns) => {
            let rows = answer[name].as_array().map_or(&[][..], Vec::as_slice);
            output::table(api, columns, rows).await
        }
        Answer::All => all(api, resource, answer, format).await,
        Answer::Other(other) => row(api, resources::find(other).unwrap_or(resource), inventory, format).await,
        _ => row(api, resource, inventory, format).await,
    }
}

/// Several things, and what could not be looked at.
async fn all(api: &Api, resource: &Resource, answer: &Value, format: Format) -> Result<()> {
    for skipped in answer["skipped"].as_array().into_iter().flatten() {
        let text = |name: &str| skipped[name].as_str().unwrap_or_default();
        eprintln!("cumulet: {} was left out: {}", text("place"), text("reason"));
    }
    let rows = answer["inventories"].as_array().map_or(&[][..], Vec::as_slice);
    output::rows(api, resource, rows, format).await
}

/// What was made or changed; calls that take away may answer nothing.
async fn row(api: &Api, resource: &Resource, inventory: &Value, format: Format) -> Result<()> {
    match (inventory.is_null(), format) {
        (_, Format::Json) => output::json(inventory),
        (true, Format::Table) => output::line("done"),
        (false, Format::Table) => output::rows(api, resource, std::slice::from_ref(inventory), format).await,
    }
}
