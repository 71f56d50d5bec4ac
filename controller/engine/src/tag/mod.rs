//! Tags: short texts on any resource. Users put theirs on to find things again; system tags carry metadata
//! and steer, and each is of a pattern that the code which reads it declares.
//!
//! * A tag that comes with the call that makes a resource is checked before the call is acknowledged, and is
//!   written in the transaction that writes the resource.
//! * A tag goes with its resource: in the record step of a cascade that takes the row away, and where the
//!   flow that made it takes it back. What goes otherwise leaves tags that nobody is shown any more, and a
//!   sweep takes them.
//! * What a system tag says is what its pattern allows; one of no pattern, or not for this kind of resource,
//!   is refused with the patterns that there are.

mod pattern;
mod store;

use serde_json::{Map, Value};

pub use pattern::{Hold, SystemTag, Tokens};
pub(crate) use store::{OWNER, TEXT, born, born_of_flow, ends, forget_if_gone, table, unborn};
pub use store::{
    all_of, delete, drop_inherent, drop_orphans, enter_inherent, fits, of, put_system, put_user, replace,
    replace_all, shown,
};

use crate::db::Tx;
use crate::error::{ErrorCode, Result, codes};
use crate::query::Schema;

/// So long may a tag be, in characters.
const LONGEST: usize = 2048;
/// So many come with one call.
const MOST: usize = 100;

/// The members of a request that hold tags, beside its parameters.
pub(crate) const SYSTEM: &str = "systemTags";
pub(crate) const USER: &str = "userTags";

/// The tags that come with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub system: Vec<String>,
    pub user: Vec<String>,
}

impl Wanted {
    /// Takes them out of what came with a call.
    pub(crate) fn take(params: &mut Value) -> Result<Wanted> {
        let Some(members) = params.as_object_mut() else { return Ok(Wanted::default()) };
        Ok(Wanted { system: texts(members, SYSTEM)?, user: texts(members, USER)? })
    }

    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.user.is_empty()
    }

    /// What the tags of this pattern say.
    pub fn tokens(&self, tag: &SystemTag) -> Vec<Tokens> {
        self.system.iter().filter_map(|text| tag.read(text)).collect()
    }

    /// Refuses what a new resource of `kind` may not carry.
    pub(crate) fn check(&self, known: &[SystemTag], kind: &str) -> Result<()> {
        if self.system.len() + self.user.len() > MOST {
            return Err(invalid(format!("a call takes at most {MOST} tags")));
        }
        self.user.iter().try_for_each(|text| plain(text))?;
        let mut seen: Vec<(&'static str, Vec<String>)> = Vec::new();
        for text in &self.system {
            let (tag, tokens) = pattern::recognised(known, kind, text)?;
            if tag.hold == Hold::Inherent {
                return Err(inherent(text));
            }
            let place = (tag.pattern, tag.place(&tokens));
            if seen.contains(&place) {
                let text = tag.told(text);
                return Err(invalid(format!("system tag \"{text}\": there may be only one {}", tag.pattern)));
            }
            seen.push(place);
        }
        Ok(())
    }
}

fn texts(members: &mut Map<String, Value>, name: &str) -> Result<Vec<String>> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(list) => {
            serde_json::from_value(list).map_err(|_| invalid(format!("\"{name}\" must be a list of texts")))
        }
    }
}

/// Refuses what is no tag at all.
pub(crate) fn plain(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(invalid("a tag must not be empty".to_owned()));
    }
    match text.chars().count() > LONGEST || text.contains('\0') {
        true => Err(invalid(format!("a tag has at most {LONGEST} characters and no zero byte"))),
        false => Ok(()),
    }
}

pub fn inherent(text: &str) -> ErrorCode {
    codes::STATE.because(format!("system tag \"{text}\" is the cloud's own: it is read, not changed"))
}

fn invalid(details: String) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(details)
}

/// The kind of resource that ZStack calls `VmInstanceVO`: one that can be asked for and has a uuid.
pub fn kind_of(schema: &Schema, resource_type: &str) -> Result<&'static str> {
    let entity = schema.entity(resource_type).filter(|entity| entity.field("uuid").is_some());
    entity.map(|entity| entity.kind).ok_or_else(|| {
        let types: Vec<_> = types(schema).into_iter().map(|(kind, _)| format!("{kind}VO")).collect();
        invalid(format!("\"resourceType\" must be one of {}, not \"{resource_type}\"", types.join(", ")))
    })
}

/// A pattern for what nobody lists is a mistake in the code and stops the controller at start.
pub(crate) fn check_declared(schema: &Schema, declared: &[SystemTag]) -> Result<()> {
    for tag in declared {
        if schema.entity(tag.resource).is_none_or(|entity| entity.kind != tag.resource) {
            let details = format!("system tag {} is of {}, which nobody lists", tag.pattern, tag.resource);
            return Err(codes::INTERNAL.because(details));
        }
    }
    Ok(())
}

/// Kinds whose rows can carry tags, and their tables; sorted.
pub(crate) fn types(schema: &Schema) -> Vec<(&'static str, &'static str)> {
    let uuids = schema.entities().iter().filter(|entity| entity.field("uuid").is_some());
    let taggable = uuids.filter(|entity| !["UserTag", "SystemTag", "Flow"].contains(&entity.kind));
    let mut types: Vec<_> = taggable.map(|entity| (entity.kind, entity.table)).collect();
    types.sort_unstable();
    types
}

/// What the tags of one pattern on a resource say.
pub async fn tokens(tx: &mut Tx, tag: &SystemTag, resource: crate::Id<crate::Any>) -> Result<Vec<Tokens>> {
    Ok(of(tx, tag, resource).await?.iter().filter_map(|text| tag.read(text)).collect())
}
