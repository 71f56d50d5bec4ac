//! The query API: `q=name=value` and friends over the declared columns of an inventory.
//!
//! A query is compiled to SQL from declared column names and bound values only; a client's text never
//! becomes SQL.

use serde_json::{Map, Value, json};

use crate::db::{Tx, Value as Bound};
use crate::error::{Result, codes};
use crate::id::{Any, Id};
use crate::inventory::{Field, Inventory, Kind, camel, columns, present};
use crate::scope::{self, Scope};

/// What one reply holds at most when the client names no limit.
const DEFAULT_LIMIT: i64 = 1000;

/// A query as it stands in the URL; each part may be absent, `q` may repeat.
#[derive(Debug, Default)]
pub struct Query {
    pub conditions: Vec<String>,
    pub limit: Option<i64>,
    pub start: Option<i64>,
    pub count: bool,
    pub reply_with_count: bool,
    pub sort: Option<String>,
    pub fields: Option<Vec<String>>,
    /// Only what this account sees; everything when there is none.
    pub account: Option<Id<Any>>,
}

/// In the order in which they are tried: a longer one before the one it contains.
const OPERATORS: &[(&str, &str)] = &[
    ("!=", "<>"),
    (">=", ">="),
    ("<=", "<="),
    ("!?=", "NOT IN"),
    ("!~=", "NOT LIKE"),
    ("~=", "LIKE"),
    ("?=", "IN"),
    ("=", "="),
    (">", ">"),
    ("<", "<"),
];

struct Compiled {
    source: String,
    filter: String,
    order: String,
    args: Vec<Bound>,
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
                "count" => query.count = truth(name, value)?,
                "replyWithCount" => query.reply_with_count = truth(name, value)?,
                "sort" => query.sort = Some(value.clone()),
                "fields" => query.fields = Some(value.split(',').map(|f| f.trim().to_owned()).collect()),
                _ => return Err(invalid(format!("\"{name}\" is not a parameter of a query"))),
            }
        }
        Ok(query)
    }

    /// `{"inventories":[…]}`, with `total` when asked; only `{"total":n}` when the query counts.
    pub async fn run<I: Inventory>(&self, tx: &mut Tx) -> Result<Value> {
        let mut compiled = self.compile(I::source(&tx.engine()), I::FIELDS)?;
        self.narrow(I::SCOPE, &mut compiled);
        let mut reply = Map::new();
        if self.count || self.reply_with_count {
            let sql = format!("SELECT count(*) FROM {} {}", compiled.source, compiled.filter);
            let total = tx.composed::<(i64,)>(sql, compiled.args.clone()).await?;
            reply.insert("total".into(), json!(total.first().map_or(0, |row| row.0)));
        }
        if !self.count {
            reply.insert("inventories".into(), Value::Array(self.page::<I>(tx, compiled).await?));
        }
        Ok(Value::Object(reply))
    }

    fn narrow(&self, scope: Scope, compiled: &mut Compiled) {
        let Some(account) = self.account else { return };
        let term = scope::term(scope, "", account, &mut compiled.args);
        let word = if compiled.filter.is_empty() { "WHERE" } else { "AND" };
        compiled.filter = format!("{} {word} {term}", compiled.filter);
    }

    async fn page<I: Inventory>(&self, tx: &mut Tx, compiled: Compiled) -> Result<Vec<Value>> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let sql = format!(
            "SELECT {} FROM {} {} ORDER BY {} LIMIT {} OFFSET {}",
            columns::<I>(),
            compiled.source,
            compiled.filter,
            compiled.order,
            limit,
            self.start.unwrap_or(0)
        );
        let rows: Vec<I> = tx.composed(sql, compiled.args).await?;
        let mut page = present(tx, &rows).await?;
        if let Some(fields) = &self.fields {
            for member in page.iter_mut().filter_map(Value::as_object_mut) {
                member.retain(|name, _| fields.contains(name));
            }
        }
        Ok(page)
    }

    fn compile(&self, from: (String, Vec<Bound>), fields: &'static [Field]) -> Result<Compiled> {
        let (source, mut args) = from;
        let mut terms = Vec::new();
        for condition in &self.conditions {
            terms.push(term(condition, fields, &mut args)?);
        }
        let filter = if terms.is_empty() { String::new() } else { format!("WHERE {}", terms.join(" AND ")) };
        Ok(Compiled { source, filter, order: self.order(fields)?, args })
    }

    fn order(&self, fields: &'static [Field]) -> Result<String> {
        let unique = if fields.iter().any(|f| f.column == "uuid") { "uuid" } else { "1" };
        let Some(sort) = &self.sort else { return Ok(unique.to_owned()) };
        let (direction, name) = match sort.split_at_checked(1) {
            Some(("-", name)) => ("DESC", name),
            Some(("+" | " ", name)) => ("ASC", name),
            _ => ("ASC", sort.as_str()),
        };
        Ok(format!("{} {direction}, {unique}", field(name, fields)?.column))
    }
}

fn term(condition: &str, fields: &'static [Field], args: &mut Vec<Bound>) -> Result<String> {
    for (ending, sql) in [(" is null", "IS NULL"), (" not null", "IS NOT NULL")] {
        if let Some(name) = condition.strip_suffix(ending) {
            return Ok(format!("{} {sql}", field(name, fields)?.column));
        }
    }
    let name_end = condition.find(['!', '>', '<', '~', '?', '=']);
    let (name, rest) = condition.split_at(name_end.unwrap_or(condition.len()));
    let found = OPERATORS.iter().find_map(|(op, sql)| Some((*sql, rest.strip_prefix(op)?)));
    let Some((operator, value)) = found else {
        return Err(invalid(format!(
            "\"{condition}\" is no condition: write name=value, name~=text, name?=a,b …"
        )));
    };
    let field = field(name, fields)?;
    if operator.ends_with("IN") {
        let marks: Result<Vec<_>> = value.split(',').map(|one| mark(field, one, args)).collect();
        return Ok(format!("{} {operator} ({})", field.column, marks?.join(", ")));
    }
    if operator.ends_with("LIKE") {
        args.push(Bound::Text(like(value)));
        return Ok(format!("{} {operator} ${} ESCAPE '\\'", field.column, args.len()));
    }
    Ok(format!("{} {operator} {}", field.column, mark(field, value, args)?))
}

/// `%` and `_` are wild as ZStack's clients expect; without them the text is looked for anywhere.
fn like(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\");
    if escaped.contains(['%', '_']) { escaped } else { format!("%{escaped}%") }
}

fn mark(field: &Field, text: &str, args: &mut Vec<Bound>) -> Result<String> {
    let name = camel(field.column);
    args.push(match field.kind {
        Kind::Text => Bound::from(text),
        Kind::Int => Bound::Int(whole(&name, text)?),
        Kind::Bool => Bound::Bool(truth(&name, text)?),
        Kind::Moment => Bound::Int(moment(&name, text)?),
    });
    Ok(format!("${}", args.len()))
}

fn field<'f>(name: &str, fields: &'f [Field]) -> Result<&'f Field> {
    fields.iter().find(|field| camel(field.column) == name.trim()).ok_or_else(|| {
        let known: Vec<_> = fields.iter().map(|field| camel(field.column)).collect();
        invalid(format!("there is no field \"{name}\" to ask for; there are {}", known.join(", ")))
    })
}

fn whole(name: &str, text: &str) -> Result<i64> {
    text.parse().map_err(|_| invalid(format!("\"{name}\" must be a whole number, not \"{text}\"")))
}

fn truth(name: &str, text: &str) -> Result<bool> {
    text.parse().map_err(|_| invalid(format!("\"{name}\" must be true or false, not \"{text}\"")))
}

/// `2026-11-21 11:28:44` or RFC 3339, UTC when no zone is named.
fn moment(name: &str, text: &str) -> Result<i64> {
    let zoned: Option<jiff::Timestamp> = text.parse().ok();
    let plain = || text.parse::<jiff::civil::DateTime>().ok()?.in_tz("UTC").ok().map(|z| z.timestamp());
    zoned.or_else(plain).map(jiff::Timestamp::as_microsecond).ok_or_else(|| {
        invalid(format!("\"{name}\" must be a moment such as 2026-11-21T11:28:44Z, not \"{text}\""))
    })
}

fn invalid(details: String) -> crate::ErrorCode {
    codes::INVALID_ARGUMENT.because(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field { column: "uuid", kind: Kind::Text },
        Field { column: "cpu_num", kind: Kind::Int },
        Field { column: "name", kind: Kind::Text },
    ];

    fn compiled(condition: &str) -> Result<(String, Vec<Bound>)> {
        let mut args = Vec::new();
        term(condition, FIELDS, &mut args).map(|sql| (sql, args))
    }

    #[test]
    fn every_operator_finds_its_own_statement() {
        for (condition, sql) in [
            ("name=a", "name = $1"),
            ("name!=a", "name <> $1"),
            ("cpuNum>=1", "cpu_num >= $1"),
            ("cpuNum<=1", "cpu_num <= $1"),
            ("cpuNum>1", "cpu_num > $1"),
            ("cpuNum<1", "cpu_num < $1"),
            ("name?=a,b", "name IN ($1, $2)"),
            ("name!?=a,b", "name NOT IN ($1, $2)"),
            ("name~=a", "name LIKE $1 ESCAPE '\\'"),
            ("name!~=a", "name NOT LIKE $1 ESCAPE '\\'"),
            ("name is null", "name IS NULL"),
            ("name not null", "name IS NOT NULL"),
        ] {
            assert_eq!(compiled(condition).unwrap().0, sql, "{condition}");
        }
    }

    #[test]
    fn a_value_is_bound_and_never_becomes_sql() {
        let (sql, args) = compiled("name=x' OR '1'='1").unwrap();
        assert_eq!(sql, "name = $1");
        assert_eq!(args, [Bound::from("x' OR '1'='1")]);
    }

    #[test]
    fn what_is_not_declared_is_refused_by_name() {
        for wrong in ["password=x", "cpuNum=many", "name", "uuid;DROP TABLE zone=1"] {
            assert!(compiled(wrong).is_err(), "{wrong}");
        }
        let error = compiled("pasword=x").unwrap_err();
        assert!(error.details().contains("cpuNum"), "{error}");
    }
}
