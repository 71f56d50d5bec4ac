//! One page of rows: their order, and where the next page begins.
//!
//! Pages are found by the key of the last row (`after=`), not by counting rows: the thousandth page costs
//! what the first does, and rows that come and go meanwhile shift nothing.

use serde::{Deserialize, Serialize};

use super::compile::Compiler;
use super::schema::{Entity, KEY, SORT, Stand};
use super::value::{Args, invalid};
use crate::db::Value;
use crate::error::Result;
use crate::inventory::{Field, Kind, camel};

/// By what rows are sorted, and by their key after that.
pub(super) struct Order {
    by: Vec<(&'static Field, bool)>,
    key: Option<&'static Field>,
}

/// The end of one page, as clients carry it to the next.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    kind: String,
    sort: String,
    at: Option<String>,
    key: String,
}

/// Where a page begins.
pub(super) struct After {
    pub sort: String,
    stand: Stand,
}

impl Order {
    /// By fields as clients name them, each descending or not.
    pub fn of(entity: &Entity, by: &[(String, bool)]) -> Result<Order> {
        let key = entity.key();
        let mut fields = Vec::with_capacity(by.len());
        for (name, descending) in by {
            fields.push((entity.must_have(name.trim())?, *descending));
        }
        Ok(Order { by: fields, key })
    }

    /// `ORDER BY` without the words: nulls come first, and last when descending, on either database.
    pub fn sql(&self, alias: &str) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (field, descending) in &self.by {
            let nulls = match (field.nullable, descending) {
                (false, _) => "",
                (true, false) => " NULLS FIRST",
                (true, true) => " NULLS LAST",
            };
            parts.push(format!("{alias}.{} {}{nulls}", field.column, word(*descending)));
        }
        match self.key {
            Some(key) => parts.push(format!("{alias}.{} {}", key.column, word(self.descends()))),
            None => parts.push("1".to_owned()),
        }
        parts.join(", ")
    }

    /// The key follows the last field, so that one index serves both.
    fn descends(&self) -> bool {
        self.by.last().is_some_and(|(_, descending)| *descending)
    }

    /// What the place of a row is read from.
    pub fn stand(&self, alias: &str) -> String {
        let text = |field: Option<&Field>| {
            field.map_or("CAST(NULL AS TEXT)".to_owned(), |field| match field.kind {
                Kind::Bool => format!("CASE WHEN {alias}.{0} THEN '1' ELSE '0' END", field.column),
                _ => format!("CAST({alias}.{} AS TEXT)", field.column),
            })
        };
        let sort = self.by.first().map(|(field, _)| *field);
        format!("{} AS {SORT}, {} AS {KEY}", text(sort), text(self.key))
    }

    /// Whether pages can be found by the last row's place.
    fn pages(&self) -> bool {
        self.key.is_some() && self.by.len() <= 1
    }

    /// The token for what comes behind a row.
    pub fn next(&self, entity: &Entity, stand: Stand) -> Option<String> {
        let key = stand.key.filter(|_| self.pages())?;
        let sort = self.by.first().map_or_else(String::new, |(field, descending)| {
            format!("{}{}", if *descending { '-' } else { '+' }, camel(field.column))
        });
        let token = Token { kind: entity.kind.to_owned(), sort, at: stand.sort, key };
        let text = serde_json::to_string(&token).ok()?;
        Some(text.bytes().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What is true of the rows behind that place.
    pub fn behind(&self, alias: &str, after: &After, compiler: &mut Compiler<'_>) -> Result<String> {
        let key = self.key.filter(|_| self.pages()).ok_or_else(|| garbage("it is of another list"))?;
        let sign = if self.descends() { "<" } else { ">" };
        let args = &mut compiler.args;
        let key_is_behind = |args: &mut Args| -> Result<String> {
            let value = value(key.kind, after.stand.key.as_deref().unwrap_or_default())?;
            Ok(format!("{alias}.{} {sign} {}", key.column, args.mark(value)))
        };
        let Some((field, descending)) = self.by.first() else { return key_is_behind(args) };
        let column = format!("{alias}.{}", field.column);
        let Some(at) = &after.stand.sort else {
            let behind = key_is_behind(args)?;
            return Ok(match descending {
                true => format!("({column} IS NULL AND {behind})"),
                false => format!("({column} IS NOT NULL OR {behind})"),
            });
        };
        let at = value(field.kind, at)?;
        let (beyond, same) = (args.mark(at.clone()), args.mark(at));
        let behind = key_is_behind(args)?;
        let nulls =
            if field.nullable && *descending { format!(" OR {column} IS NULL") } else { String::new() };
        // Said twice, so that an index on the column is of use.
        let within = match nulls.is_empty() {
            true => format!("{column} {sign}= {} AND ", args.mark(value(field.kind, after.at())?)),
            false => String::new(),
        };
        Ok(format!("({within}({column} {sign} {beyond}{nulls} OR ({column} = {same} AND {behind})))"))
    }
}

fn word(descending: bool) -> &'static str {
    if descending { "DESC" } else { "ASC" }
}

impl After {
    /// Reads what [`Order::next`] wrote for this entity.
    pub fn read(text: &str, entity: &Entity) -> Result<After> {
        let bytes: Option<Vec<u8>> = (text.len().is_multiple_of(2) && text.is_ascii())
            .then(|| {
                (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
            })
            .flatten();
        let token: Token = bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| garbage("it is not what a reply gave as \"next\""))?;
        if token.kind != entity.kind {
            return Err(garbage(&format!("it is of a list of {}", token.kind)));
        }
        let zero = token.key.contains('\0') || token.at.as_deref().is_some_and(|at| at.contains('\0'));
        match zero {
            true => Err(garbage("it is not what a reply gave as \"next\"")),
            false => Ok(After { sort: token.sort, stand: Stand { sort: token.at, key: Some(token.key) } }),
        }
    }

    fn at(&self) -> &str {
        self.stand.sort.as_deref().unwrap_or_default()
    }
}

fn garbage(why: &str) -> crate::ErrorCode {
    invalid(format!("\"after\" cannot be followed: {why}; ask without it for the first page"))
}

fn value(kind: Kind, text: &str) -> Result<Value> {
    let number = || text.parse::<i64>().map_err(|_| garbage("it is not what a reply gave as \"next\""));
    Ok(match kind {
        Kind::Text => Value::from(text),
        Kind::Int | Kind::Moment => Value::Int(number()?),
        Kind::Bool => Value::Bool(number()? != 0),
    })
}
