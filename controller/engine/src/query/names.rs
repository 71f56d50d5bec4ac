//! What things are called, whatever they are.

use crate::args;
use crate::db::{Row, Tx};
use crate::error::Result;
use crate::id::{Any, Id};

/// A resource and its name.
#[derive(Clone, Debug, PartialEq, Eq, Row)]
pub struct Named {
    /// `VmInstance`
    pub kind: String,
    pub uuid: Id<Any>,
    pub name: String,
}

/// The names of those of `ids` that some inventory lists by a name; nobody is asked whether he sees them.
pub async fn names(tx: &mut Tx, ids: &[Id<Any>]) -> Result<Vec<Named>> {
    let engine = tx.engine();
    let named = engine.schema().entities().iter().filter(|entity| {
        ["uuid", "name"].iter().all(|column| entity.column(column).is_some_and(|field| !field.nullable))
    });
    let look = |(kind, table): (&str, &str)| {
        format!("SELECT '{kind}' AS kind, uuid, name FROM {table} WHERE uuid = $1")
    };
    let all: Vec<_> = named.map(|entity| look((entity.kind, entity.table))).collect();
    let sql = all.join(" UNION ALL ");
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(tx.composed::<Named>(sql.clone(), args![*id]).await?.into_iter().next());
    }
    Ok(found)
}
