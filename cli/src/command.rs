//! The command line, made from the table of resources, and the way from its arguments to a call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, value_parser};
use serde_json::{Map, Value, json};

use crate::client::{Api, Order, server};
use crate::output::Format;
use crate::resources::{self, Call, Kind, Method, Need, Opt, Resource};
use crate::{resolve, size};

/// Who serves a type of service when no provider is named.
const PROVIDER: &str = "Flat";

// What every command takes.
#[derive(Args, Clone, Debug)]
pub struct Globals {
    /// The controller, such as http://127.0.0.1:8080; by default the one where you are logged in.
    #[arg(long, global = true, env = "CUMULET_SERVER", value_parser = server)]
    pub server: Option<String>,
    /// For people or for programs.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
}

#[derive(Args, Debug)]
pub struct Login {
    #[arg(long, default_value = "admin")]
    pub account: String,
    /// A file with the password; otherwise CUMULET_PASSWORD, otherwise it is asked for.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct List {
    /// A condition such as state=Running, name~=web or cpuNum>=2; may be repeated.
    #[arg(short)]
    pub query: Vec<String>,
    /// A field, with - in front the largest first.
    #[arg(long, allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub limit: usize,
}

#[derive(Args, Debug)]
pub struct Show {
    /// Name or uuid.
    pub thing: String,
}

#[derive(Args, Debug)]
pub struct Delete {
    /// Name or uuid.
    pub thing: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Only show what would be deleted and stopped.
    #[arg(long)]
    pub preview: bool,
    /// Go on past hosts that do not answer.
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct Completion {
    pub shell: clap_complete::Shell,
}

pub fn build() -> Command {
    let root = Command::new("cumulet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The command line of a Cumulet cloud")
        .subcommand_required(true)
        .arg_required_else_help(true);
    let root = Globals::augment_args(root)
        .subcommand(Login::augment_args(Command::new("login").about("Open a session")))
        .subcommand(Command::new("logout").about("End the session"))
        .subcommand(Completion::augment_args(
            Command::new("completion").about("Print completions of a shell"),
        ));
    root.subcommands(resources::all().map(resource))
}

fn resource(resource: &'static Resource) -> Command {
    let about = format!("{} commands", resource.title);
    let mut command = Command::new(resource.name).about(about).subcommand_required(true);
    command = command.arg_required_else_help(true).subcommands(resource.calls.iter().map(call));
    if resource.path.is_some() {
        command = command
            .subcommand(List::augment_args(Command::new("list").about("List them")))
            .subcommand(Show::augment_args(Command::new("show").about("Show one with all of its members")));
    }
    if resource.deletable {
        command = command
            .subcommand(Delete::augment_args(Command::new("delete").about("Delete it and what is in it")));
    }
    if resource.name == "image" {
        command = command.subcommand(upload(resource));
    }
    command
}

fn call(call: &'static Call) -> Command {
    Command::new(call.verb).about(call.about).args(call.options.iter().map(option))
}

/// As creation is, but from a file, with its name as an option.
fn upload(image: &'static Resource) -> Command {
    let file = Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help("the image's bits");
    let name = Arg::new("name").long("name").required(true).help("what it is called");
    let options = upload_options(image).map(option);
    Command::new("upload").about("Bring an image from this machine").args([file, name]).args(options)
}

/// What creation and upload have in common.
pub fn upload_options(image: &'static Resource) -> impl Iterator<Item = &'static Opt> {
    let options = image.call("create").map_or(&[][..], |create| create.options);
    options.iter().filter(|opt| !opt.positional && opt.field != "url")
}

fn option(opt: &'static Opt) -> Arg {
    let mut arg = Arg::new(opt.flag).help(opt.help);
    if !opt.positional {
        arg = arg.long(opt.flag);
    }
    arg = match opt.need {
        Need::Optional => arg,
        Need::Required => arg.required(true),
        Need::Unless(other) => arg.required_unless_present(other).conflicts_with(other),
    };
    match opt.kind {
        Kind::Text | Kind::TextTag | Kind::Reference(_) => arg,
        Kind::File | Kind::Bytes | Kind::FileTag => {
            arg.value_parser(value_parser!(PathBuf)).value_name("FILE")
        }
        Kind::Number => arg.value_parser(value_parser!(i64)),
        Kind::Size => arg.value_parser(size::parse),
        Kind::Switch => arg.action(ArgAction::SetTrue),
        Kind::OneOf(values) => arg.value_parser(PossibleValuesParser::new(values)),
        Kind::References(_) | Kind::Tags(_) => arg.action(ArgAction::Append),
        Kind::Several(values) => {
            arg.action(ArgAction::Append).value_parser(PossibleValuesParser::new(values))
        }
        Kind::Services => arg.num_args(1..),
    }
}

/// The call that the arguments mean.
pub async fn order(api: &Api, call: &Call, matches: &ArgMatches) -> Result<Order> {
    let mut params = params(api, call.options.iter(), matches).await?;
    let tags = tags(api, call.options, matches, &params).await?;
    params.extend(call.fixed.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    let instead = call.instead.filter(|(flag, _)| matches.contains_id(flag));
    let path = fill(instead.map_or(call.path, |(_, path)| path), &mut params)?;
    let method = match call.method {
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    };
    let empty = params.is_empty() && call.method == Method::Delete;
    let mut body = if empty { Value::Null } else { json!({ call.body: params }) };
    if !tags.is_empty() {
        body["systemTags"] = json!(tags);
    }
    Ok(Order { method, path, body })
}

/// What stands beside the parameters.
async fn tags(
    api: &Api,
    options: &[Opt],
    matches: &ArgMatches,
    params: &Map<String, Value>,
) -> Result<Vec<String>> {
    let mut tags = Vec::new();
    for opt in options {
        match opt.kind {
            Kind::Tags(resource) => {
                for name in matches.get_many::<String>(opt.flag).into_iter().flatten() {
                    tags.push(format!("{}{}", opt.field, resolve::uuid(api, resource, name).await?));
                }
            }
            Kind::TextTag => {
                if let Some(text) = matches.get_one::<String>(opt.flag) {
                    let told = |field: String, (name, value): (&String, &Value)| {
                        field.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
                    };
                    tags.push(params.iter().fold(opt.field.to_owned(), told) + text);
                }
            }
            Kind::FileTag => {
                if let Some(path) = matches.get_one::<PathBuf>(opt.flag) {
                    tags.push(format!("{}{}", opt.field, STANDARD.encode(read(path)?)));
                }
            }
            _ => {}
        }
    }
    Ok(tags)
}

pub async fn params(
    api: &Api,
    options: impl Iterator<Item = &Opt>,
    matches: &ArgMatches,
) -> Result<Map<String, Value>> {
    let mut params = Map::new();
    for opt in options {
        if let Some(value) = value(api, opt, matches).await? {
            params.insert(opt.field.to_owned(), value);
        }
    }
    Ok(params)
}

async fn value(api: &Api, opt: &Opt, matches: &ArgMatches) -> Result<Option<Value>> {
    let text = || matches.get_one::<String>(opt.flag);
    let file = || matches.get_one::<PathBuf>(opt.flag).map(|path| read(path)).transpose();
    let texts = || matches.get_many::<String>(opt.flag).map(Iterator::cloned).map(Vec::from_iter);
    Ok(match opt.kind {
        Kind::Text | Kind::OneOf(_) => text().map(|text| json!(text)),
        Kind::Number | Kind::Size => matches.get_one::<i64>(opt.flag).map(|number| json!(number)),
        Kind::File => file()?.map(|bytes| json!(String::from_utf8_lossy(&bytes).trim())),
        Kind::Bytes => file()?.map(|bytes| json!(STANDARD.encode(bytes))),
        Kind::Switch => matches.get_flag(opt.flag).then_some(json!(true)),
        Kind::Several(_) => texts().map(|texts| json!(texts)),
        Kind::Services => texts().map(|texts| services(&texts)),
        Kind::Tags(_) | Kind::FileTag | Kind::TextTag => None,
        Kind::Reference(resource) => match text() {
            Some(text) => Some(json!(resolve::uuid(api, resource, text).await?)),
            None => None,
        },
        Kind::References(resource) => match texts() {
            Some(texts) => {
                let mut uuids = Vec::new();
                for text in texts {
                    uuids.push(resolve::uuid(api, resource, &text).await?);
                }
                Some(json!(uuids))
            }
            None => None,
        },
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `{"Flat": ["DHCP", "DNS"]}` of `DHCP` and `Flat:DNS`.
fn services(texts: &[String]) -> Value {
    let mut services: Map<String, Value> = Map::new();
    for text in texts {
        let (provider, service) = text.split_once(':').unwrap_or((PROVIDER, text));
        if let Value::Array(of) = services.entry(provider).or_insert_with(|| json!([])) {
            of.push(json!(service));
        }
    }
    Value::Object(services)
}

/// Moves parameters into the path, encoded.
fn fill(template: &str, params: &mut Map<String, Value>) -> Result<String> {
    let mut path = String::new();
    for segment in template.split('/').skip(1) {
        path.push('/');
        match segment.strip_prefix('{').and_then(|field| field.strip_suffix('}')) {
            Some(field) => {
                let value = params.remove(field).with_context(|| format!("\"{field}\" is missing"))?;
                let text = value.as_str().with_context(|| format!("\"{field}\" is no text"))?;
                path.extend(url::form_urlencoded::byte_serialize(text.as_bytes()));
            }
            None => path.push_str(segment),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        build().debug_assert();
    }

    #[test]
    fn parameters_of_the_path_leave_the_body() {
        let mut params = Map::from_iter([("uuid".to_owned(), json!("a/b")), ("name".to_owned(), json!("n"))]);
        assert_eq!(fill("/zones/{uuid}/actions", &mut params).unwrap(), "/zones/a%2Fb/actions");
        assert_eq!(Value::Object(params.clone()), json!({ "name": "n" }));
        assert!(fill("/zones/{uuid}", &mut params).is_err());
    }

    #[test]
    fn services_are_grouped_by_their_provider() {
        let texts = ["DHCP", "Other:DNS", "Flat:DNS"].map(str::to_owned);
        assert_eq!(services(&texts), json!({ "Flat": ["DHCP", "DNS"], "Other": ["DNS"] }));
    }

    #[test]
    fn a_range_is_given_by_cidr_or_by_its_ends() {
        let parse = |options: &str| {
            build().try_get_matches_from(
                format!("cumulet ip-range create r --l3 n {options}").split_whitespace(),
            )
        };
        assert!(parse("--cidr 10.0.0.0/24").is_ok());
        assert!(parse("--start 10.0.0.1 --end 10.0.0.2 --netmask 255.0.0.0").is_ok());
        assert!(parse("--start 10.0.0.1 --end 10.0.0.2").is_err());
        assert!(parse("--cidr 10.0.0.0/24 --start 10.0.0.1").is_err());
    }
}
