//! A statement becomes the same question as a URL's, and is asked.

use serde_json::{Map, Value, json, to_value};

use super::grammar::{Restriction, Statement, Verb};
use crate::db::{self, Tx};
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::inventory::{Field, Kind, camel};
use crate::query::Viewer;
use crate::query::compile::Compiler;
use crate::query::condition::Condition;
use crate::query::schema::{Entity, Schema};
use crate::query::select::{Select, bounds};
use crate::query::value::invalid;

/// So many fields are summed at a time, which is what a row of sums holds.
const SUMS: usize = 5;

pub(super) async fn run(tx: &mut Tx, statement: Statement, viewer: &Viewer) -> Result<Value> {
    let engine = tx.engine();
    let entity = *engine.schema().must_have(&statement.entity)?;
    refuse_missing(&statement)?;
    let condition = condition(engine.schema(), &entity, &statement)?;
    let mut reply = match &statement.verb {
        Verb::SumBy(by) => sum(tx, &engine, &entity, viewer, (&statement, by, condition)).await?,
        _ => to_value(select(&entity, &statement, condition)?.run(tx, &entity, viewer).await?)?,
    };
    if let (Some(members), Some(name)) = (reply.as_object_mut(), statement.name) {
        members.insert("name".into(), name.into());
    }
    Ok(reply)
}

/// What ZStack's grammar has and we have not.
fn refuse_missing(statement: &Statement) -> Result<()> {
    if let Some(filter) = statement.filters.first() {
        return Err(codes::UNIMPLEMENTED.because(format!("\"filter by {filter}\": there are no filters")));
    }
    match statement.returns.iter().find(|what| *what != "total") {
        Some(what) => {
            Err(codes::UNIMPLEMENTED.because(format!("\"return with ({what})\": there is only total")))
        }
        None => Ok(()),
    }
}

fn select(entity: &Entity, statement: &Statement, condition: Condition) -> Result<Select> {
    for field in &statement.fields {
        entity.must_have(field)?;
    }
    let count = statement.verb == Verb::Count;
    let group = if statement.distinct { statement.fields.clone() } else { statement.group.clone() };
    if statement.distinct && group.is_empty() {
        return Err(invalid("\"distinct\" needs a field: distinct(entity.field)".to_owned()));
    }
    Ok(Select {
        order: statement.order.clone(),
        group,
        limit: statement.limit,
        start: statement.offset,
        total: count || statement.returns.iter().any(|what| what == "total"),
        rows: !count,
        fields: (!statement.fields.is_empty()).then(|| statement.fields.clone()),
        ..Select::of(condition)
    })
}

fn condition(schema: &Schema, entity: &Entity, statement: &Statement) -> Result<Condition> {
    let mut all: Vec<Condition> = statement.condition.iter().cloned().collect();
    for restriction in &statement.restrict {
        all.push(restricted(schema, entity, restriction)?);
    }
    let whole = Condition::all(all);
    whole.check()?;
    Ok(whole)
}

/// `zone.uuid='…'` restricts to what belongs to that zone by a relation of its own.
fn restricted(schema: &Schema, entity: &Entity, restriction: &Restriction) -> Result<Condition> {
    let test = restriction.test.clone();
    let Some(other) = &restriction.entity else {
        return Ok(Condition::Field { path: restriction.field.clone(), test });
    };
    let kind = schema.must_have(other)?.kind;
    if kind == entity.kind {
        return Ok(Condition::Field { path: restriction.field.clone(), test });
    }
    let way = schema.relations(entity).into_iter().find(|relation| relation.to == kind);
    let way =
        way.ok_or_else(|| invalid(format!("\"restrict by\": a {} belongs to no {kind}", entity.kind)))?;
    Ok(Condition::Field { path: format!("{}.{}", way.name, restriction.field), test })
}

type Sums = (Option<String>, i64, i64, i64, i64, i64);

/// `{"inventories":[[value, sum, …], …]}`, as ZStack shows sums.
async fn sum(
    tx: &mut Tx,
    engine: &Engine,
    entity: &Entity,
    viewer: &Viewer,
    (statement, by, condition): (&Statement, &str, Condition),
) -> Result<Value> {
    let by = entity.must_have(by)?;
    let mut summed = Vec::new();
    for name in &statement.fields {
        let field = entity.must_have(name)?;
        match field.kind {
            Kind::Int => summed.push(field),
            _ => return Err(invalid(format!("\"{name}\" is no number: it cannot be summed"))),
        }
    }
    if summed.is_empty() || summed.len() > SUMS {
        return Err(invalid(format!(
            "\"sum\" takes one to {SUMS} fields: sum {}.field by other",
            statement.entity
        )));
    }
    let (sql, args) = summing(engine, entity, viewer, (statement, by, &summed, condition))?;
    let rows: Vec<Sums> = tx.composed(sql, args).await?;
    let lines = rows.into_iter().map(|(value, a, b, c, d, e)| {
        let mut line = vec![shown(by, value)];
        line.extend([a, b, c, d, e].into_iter().take(summed.len()).map(Value::from));
        Value::Array(line)
    });
    let mut reply = Map::new();
    reply.insert("inventories".into(), lines.collect());
    Ok(Value::Object(reply))
}

fn shown(field: &Field, value: Option<String>) -> Value {
    match (field.kind, value) {
        (_, None) => Value::Null,
        (Kind::Int, Some(text)) => text.parse::<i64>().map_or(Value::Null, Value::from),
        (Kind::Bool, Some(text)) => json!(text == "1" || text == "true"),
        (Kind::Moment, Some(text)) => json!(crate::Stamp(text.parse().unwrap_or(0))),
        (Kind::Text, Some(text)) => text.into(),
    }
}

fn summing(
    engine: &Engine,
    entity: &Entity,
    viewer: &Viewer,
    (statement, by, summed, condition): (&Statement, &Field, &[&Field], Condition),
) -> Result<(String, Vec<db::Value>)> {
    let mut compiler = Compiler::new(engine, engine.schema(), viewer);
    let rows = compiler.rows(entity);
    let (alias, by) = (&rows.alias, by.column);
    let term = compiler.condition(entity, alias, &condition)?;
    let mut columns = vec![format!("CAST({alias}.{by} AS TEXT)")];
    columns.extend(
        summed.iter().map(|field| format!("CAST(coalesce(sum({alias}.{}), 0) AS BIGINT)", field.column)),
    );
    columns.resize(SUMS + 1, "CAST(0 AS BIGINT)".to_owned());
    let mut order = Vec::new();
    for (name, descending) in &statement.order {
        let at =
            summed.iter().position(|field| camel(field.column).eq_ignore_ascii_case(name)).map(|at| at + 2);
        let at = at.or_else(|| camel(by).eq_ignore_ascii_case(name).then_some(1));
        let at = at.ok_or_else(|| {
            invalid(format!("sums are ordered by what is summed or grouped, not \"{name}\""))
        })?;
        order.push(format!("{at} {}", if *descending { "DESC" } else { "ASC" }));
    }
    order.push("1".to_owned());
    let (limit, start) = bounds(statement.limit, statement.offset)?;
    let sql = format!(
        "SELECT {} FROM {}{} GROUP BY {alias}.{by} ORDER BY {} LIMIT {limit} OFFSET {start}",
        columns.join(", "),
        rows.from,
        rows.filter(term),
        order.join(", ")
    );
    Ok((sql, compiler.args.values()))
}
