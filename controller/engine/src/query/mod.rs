//! The query API: `q=name=value` and friends over declared columns and relations of inventories, and ZQL.
//!
//! * A query is compiled to SQL from declared names and bound values only; a client's text never becomes SQL.
//! * Both databases answer alike: texts compare by their bytes, patterns regardless of the case of ASCII, nulls
//!   sort first (last when descending).
//! * Nothing unbounded is loaded: a page has a limit, conditions are counted, and reading has a time limit.
//! * Where rows are read, a [`scope`] says which of them the one who asks may see.

mod compile;
pub mod condition;
mod names;
mod page;
pub mod relation;
pub mod schema;
pub mod scope;
mod select;
#[cfg(test)]
mod tests;
mod value;
pub mod zql;

pub use condition::Condition;
pub use names::{Named, names};
pub use relation::{Link, Relation};
pub use schema::{Entity, Schema};
pub use scope::{Sight, Viewer, everything};
pub use select::{Answer, HIGHEST_LIMIT, Select};
pub use value::Args;

use crate::db::Tx;
use crate::error::{Result, codes};
use crate::inventory::Inventory;
use value::{invalid, truth, whole};

/// A query as it stands in the URL; each part may be absent, `q` may repeat.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub conditions: Vec<String>,
    pub limit: Option<i64>,
    pub start: Option<i64>,
    pub after: Option<String>,
    pub count: bool,
    pub reply_with_count: bool,
    pub group_by: Option<String>,
    pub sort: Option<String>,
    pub fields: Option<Vec<String>>,
}

impl Query {
    /// Reads the parameters of the URL; unknown ones are refused by name.
    pub fn parse(pairs: &[(String, String)]) -> Result<Query> {
        let mut query = Query::default();
        for (name, value) in pairs {
            match name.as_str() {
                "q" => query.conditions.push(value.clone()),
                "limit" => query.limit = Some(whole(name, value)?),
                "start" => query.start = Some(whole(name, value)?),
                "after" => query.after = Some(value.clone()),
                "count" => query.count = truth(name, value)?,
                "replyWithCount" => query.reply_with_count = truth(name, value)?,
                "groupBy" => query.group_by = Some(value.clone()),
                "sort" => query.sort = Some(value.clone()),
                "fields" => query.fields = Some(value.split(',').map(|f| f.trim().to_owned()).collect()),
                "filterName" => {
                    let details = format!("\"filterName\": there is no filter \"{value}\"; none are defined");
                    return Err(codes::UNIMPLEMENTED.because(details));
                }
                _ => return Err(invalid(format!("\"{name}\" is not a parameter of a query"))),
            }
        }
        Ok(query)
    }

    /// What the controller itself asks: as [`Query::answer`], of an inventory that a module lists.
    pub async fn run<I: Inventory>(&self, tx: &mut Tx) -> Result<Answer> {
        let engine = tx.engine();
        let entity = *engine.schema().must_have(I::KIND)?;
        self.answer(tx, &entity, &Viewer::Controller).await
    }

    /// `{"inventories":[…]}`, with `total` when asked and `next` when there are more; only `{"total":n}` when
    /// the query counts.
    pub async fn answer(&self, tx: &mut Tx, entity: &Entity, viewer: &Viewer) -> Result<Answer> {
        self.select()?.run(tx, entity, viewer).await
    }

    fn select(&self) -> Result<Select> {
        let conditions: Result<Vec<_>> = self.conditions.iter().map(|text| Condition::of_url(text)).collect();
        Ok(Select {
            condition: Condition::all(conditions?),
            order: self.sort.as_deref().map(sorted).into_iter().collect(),
            group: self.group_by.iter().cloned().collect(),
            limit: self.limit,
            start: self.start,
            after: self.after.clone(),
            total: self.count || self.reply_with_count,
            rows: !self.count,
            fields: self.fields.clone(),
        })
    }
}

/// `+name`, `-name` or `name`; a plus in a URL is a blank.
fn sorted(text: &str) -> (String, bool) {
    match text.split_at_checked(1) {
        Some(("-", name)) => (name.to_owned(), true),
        Some(("+" | " ", name)) => (name.to_owned(), false),
        _ => (text.to_owned(), false),
    }
}
