//! What the cloud is made of, as data: where each resource lives in the API, what of it people see, and
//! which calls there are. Commands, completion, name resolution and tables all follow from this.

mod affinity;
mod machine;
mod network;
mod place;
mod snapshot;
mod store;
mod sweep;
mod vm;

/// A kind of thing in the cloud.
pub struct Resource {
    /// The word on the command line.
    pub name: &'static str,
    /// The word in messages.
    pub title: &'static str,
    /// Where it is queried, when it is.
    pub path: Option<&'static str>,
    /// The field by which people know one.
    pub known_by: &'static str,
    pub columns: &'static [Column],
    pub calls: &'static [Call],
    pub deletable: bool,
}

/// One column of a table for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub title: &'static str,
    /// Members, separated by slashes; `*` stands for every element of a list.
    pub path: &'static str,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// Bytes.
    Size,
    /// The uuid of a resource, whose name is shown.
    Reference(&'static str),
}

/// One call of the API, a verb of its resource.
pub struct Call {
    pub verb: &'static str,
    pub about: &'static str,
    pub method: Method,
    /// `{field}` stands for the option of this field.
    pub path: &'static str,
    /// Taken instead of `path` when this option is given.
    pub instead: Option<(&'static str, &'static str)>,
    /// The member of the body that holds the parameters.
    pub body: &'static str,
    pub fixed: &'static [(&'static str, &'static str)],
    pub options: &'static [Opt],
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Post,
    Put,
    Delete,
}

/// What of a call's answer people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The inventory, as a row of the call's own resource.
    Own,
    /// The inventory, as a row of this resource.
    Other(&'static str),
    /// All inventories, as rows of the call's own resource.
    All,
    /// One member of the inventory.
    Member(&'static str),
    /// A list that is a member of the answer, as rows of these columns.
    Table(&'static str, &'static [Column]),
}

/// A parameter of a call.
pub struct Opt {
    /// `--flag`, or the name of a positional argument.
    pub flag: &'static str,
    pub field: &'static str,
    pub kind: Kind,
    pub need: Need,
    pub positional: bool,
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// Bytes, such as 128M.
    Size,
    /// True when given.
    Switch,
    OneOf(&'static [&'static str]),
    /// A list of them.
    Several(&'static [&'static str]),
    /// A resource by name or uuid.
    Reference(&'static str),
    /// Several of them.
    References(&'static str),
    /// The text in a file.
    File,
    /// What is in a file, in base64.
    Bytes,
    /// The same in a system tag; the field is what stands before it: `userdata::`.
    FileTag,
    /// A text in a system tag; the field, in which parameters may stand, is what stands before it.
    TextTag,
    /// System tags that each name a resource; the field is what stands before its uuid: `hostname::`.
    Tags(&'static str),
    /// Network services, each `SERVICE` or `PROVIDER:SERVICE`.
    Services,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Optional,
    Required,
    /// Required when that other option is absent, and refused beside it.
    Unless(&'static str),
}

/// All of them, in the order in which a cloud is built.
pub fn all() -> impl Iterator<Item = &'static Resource> {
    let places = machine::RESOURCES.iter().chain(place::RESOURCES);
    let things = places.chain(store::RESOURCES).chain(network::RESOURCES).chain(vm::RESOURCES);
    things.chain(affinity::RESOURCES).chain(snapshot::RESOURCES).chain(sweep::RESOURCES)
}

pub fn find(name: &str) -> Option<&'static Resource> {
    all().find(|resource| resource.name == name)
}

impl Resource {
    pub fn call(&self, verb: &str) -> Option<&'static Call> {
        self.calls.iter().find(|call| call.verb == verb)
    }
}

const fn column(title: &'static str, path: &'static str) -> Column {
    Column { title, path, shape: Shape::Plain }
}

const fn bytes(title: &'static str, path: &'static str) -> Column {
    Column { title, path, shape: Shape::Size }
}

const fn reference(title: &'static str, path: &'static str, resource: &'static str) -> Column {
    Column { title, path, shape: Shape::Reference(resource) }
}

/// An option `--flag`.
const fn opt(flag: &'static str, field: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt { flag, field, kind, need: Need::Optional, positional: false, help }
}

/// A positional argument.
const fn arg(flag: &'static str, field: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt { positional: true, ..opt(flag, field, kind, help).required() }
}

const fn post(verb: &'static str, path: &'static str, about: &'static str, options: &'static [Opt]) -> Call {
    let (fixed, answer) = (&[], Answer::Own);
    Call { verb, about, method: Method::Post, path, instead: None, body: "params", fixed, options, answer }
}

/// `PUT path/actions` with the member `body`.
const fn act(
    verb: &'static str,
    path: &'static str,
    body: &'static str,
    about: &'static str,
    options: &'static [Opt],
) -> Call {
    Call { method: Method::Put, body, ..post(verb, path, about, options) }
}

const fn delete(
    verb: &'static str,
    path: &'static str,
    about: &'static str,
    options: &'static [Opt],
) -> Call {
    Call { method: Method::Delete, ..post(verb, path, about, options) }
}

impl Opt {
    const fn required(self) -> Opt {
        Opt { need: Need::Required, ..self }
    }

    const fn unless(self, other: &'static str) -> Opt {
        Opt { need: Need::Unless(other), ..self }
    }
}

impl Call {
    const fn with(self, fixed: &'static [(&'static str, &'static str)]) -> Call {
        Call { fixed, ..self }
    }

    const fn answers(self, answer: Answer) -> Call {
        Call { answer, ..self }
    }

    const fn instead(self, flag: &'static str, path: &'static str) -> Call {
        Call { instead: Some((flag, path)), ..self }
    }
}

const NAME: Opt = arg("NAME", "name", Kind::Text, "what it is called");
const DESCRIPTION: Opt = opt("description", "description", Kind::Text, "what it is for");
const ARCHITECTURES: &[&str] = &["x86_64", "aarch64", "mips64el", "loongarch64"];
const PLATFORMS: &[&str] = &["Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"];
const ENABLE: &[(&str, &str)] = &[("stateEvent", "enable")];
const DISABLE: &[(&str, &str)] = &[("stateEvent", "disable")];

#[cfg(test)]
mod tests;
