//! One question about one inventory, run.

use serde::Serialize;

use super::compile::Compiler;
use super::condition::Condition;
use super::page::{After, Order};
use super::schema::{Entity, Shown};
use super::scope::Viewer;
use super::sorted;
use super::value::invalid;
use crate::db;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::Result;
use crate::inventory::{Members, whole};

/// What one reply holds at most when the client names no limit, and when it does.
const DEFAULT_LIMIT: i64 = 1000;
pub const HIGHEST_LIMIT: i64 = 10_000;

/// What is wanted of the rows of one inventory.
#[derive(Clone, Debug)]
pub struct Select {
    pub condition: Condition,
    /// Fields, each descending or not.
    pub order: Vec<(String, bool)>,
    /// One row for each value of these, the one of the lowest key.
    pub group: Vec<String>,
    pub limit: Option<i64>,
    pub start: Option<i64>,
    /// What a reply gave as `next`.
    pub after: Option<String>,
    /// Whether the number of all such rows is wanted.
    pub total: bool,
    /// Whether rows are.
    pub rows: bool,
    /// Only these members.
    pub fields: Option<Vec<String>>,
}

/// What a query is answered: rows, or only how many there are.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    inventories: Option<Vec<Members>>,
    /// What to ask for `after` this page, when there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Answer {
    pub fn first(&self) -> Option<&Members> {
        self.inventories.as_ref()?.first()
    }

    /// Whether rows were asked for, and there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.inventories.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Select {
    /// All rows for which the condition holds.
    pub fn of(condition: Condition) -> Select {
        Select {
            condition,
            order: Vec::new(),
            group: Vec::new(),
            limit: None,
            start: None,
            after: None,
            total: false,
            rows: true,
            fields: None,
        }
    }

    pub async fn run(self, tx: &mut Tx, entity: &Entity, viewer: &Viewer) -> Result<Answer> {
        let engine = tx.engine();
        let mut answer = Answer { total: None, inventories: None, next: None };
        // Before anything is read: what is wrong is refused whatever else is asked.
        let (limit, start) = bounds(self.limit, self.start)?;
        self.condition.check()?;
        let after = self.after(entity)?;
        let order = match &after {
            Some(after) => Order::of(entity, &resumed(after, &self.order)?)?,
            None => Order::of(entity, &self.order)?,
        };
        let page = Page { order, after, limit, start };
        if self.total {
            let (sql, args) = self.counting(&engine, entity, viewer)?;
            let total = tx.composed::<(i64,)>(sql, args).await?;
            answer.total = Some(total.first().map_or(0, |row| row.0));
        }
        if self.rows {
            let (sql, args) = self.reading(&engine, entity, viewer, &page)?;
            let mut rows = (entity.fetch)(tx, sql, args).await?;
            answer.next = self.cut(&mut rows, entity, &page);
            let mut shown: Vec<Members> = rows.into_iter().map(|row| row.members).collect();
            if let Some(fields) = &self.fields {
                shown.iter_mut().for_each(|members| members.keep(fields));
            }
            answer.inventories = Some(shown);
        }
        Ok(answer)
    }

    fn after(&self, entity: &Entity) -> Result<Option<After>> {
        let Some(text) = &self.after else { return Ok(None) };
        if self.start.is_some() {
            return Err(invalid("\"after\" and \"start\" both say where to begin: give one".to_owned()));
        }
        match self.group.is_empty() {
            true => After::read(text, entity).map(Some),
            false => Err(invalid("groups have no \"after\": give \"start\"".to_owned())),
        }
    }

    /// What is behind the limit goes; tells where it begins.
    fn cut(&self, rows: &mut Vec<Shown>, entity: &Entity, page: &Page) -> Option<String> {
        let limit = usize::try_from(page.limit).unwrap_or(0);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        let last = rows.last()?.stand.clone();
        self.group.is_empty().then(|| page.order.next(entity, last)).flatten()
    }

    fn reading(
        &self,
        engine: &Engine,
        entity: &Entity,
        viewer: &Viewer,
        page: &Page,
    ) -> Result<(String, Vec<db::Value>)> {
        let mut compiler = Compiler::new(engine, engine.schema(), viewer);
        let rows = compiler.rows(entity);
        let alias = &rows.alias;
        let mut terms = Vec::new();
        match self.group.is_empty() {
            true => terms.extend(compiler.condition(entity, alias, &self.condition)?),
            false => terms.push(self.heads(&mut compiler, entity, alias)?),
        }
        if let Some(after) = &page.after {
            terms.push(page.order.behind(alias, after, &mut compiler)?);
        }
        let term = (!terms.is_empty()).then(|| terms.join(" AND "));
        let sql = format!(
            "SELECT {}, {} FROM {}{} ORDER BY {} LIMIT {} OFFSET {}",
            entity.columns(alias),
            page.order.stand(alias),
            rows.from,
            rows.filter(term),
            page.order.sql(alias),
            page.limit + 1,
            page.start
        );
        Ok((sql, compiler.args.values()))
    }

    /// What is true of the rows that stand for their groups.
    fn heads(&self, compiler: &mut Compiler<'_>, entity: &Entity, alias: &str) -> Result<String> {
        let key = entity.key().ok_or_else(|| invalid(format!("a {} cannot be grouped", entity.kind)))?.column;
        let rows = compiler.rows(entity);
        let inner = &rows.alias;
        let term = compiler.condition(entity, inner, &self.condition)?;
        let groups = self.groups(entity, inner)?;
        let filter = rows.filter(term);
        Ok(format!(
            "{alias}.{key} IN (SELECT min({inner}.{key}) FROM {}{filter} GROUP BY {groups})",
            rows.from
        ))
    }

    fn groups(&self, entity: &Entity, alias: &str) -> Result<String> {
        let columns: Result<Vec<_>> = self
            .group
            .iter()
            .map(|name| Ok(format!("{alias}.{}", entity.must_have(name.trim())?.column)))
            .collect();
        Ok(columns?.join(", "))
    }

    /// Counts rows, or groups.
    fn counting(
        &self,
        engine: &Engine,
        entity: &Entity,
        viewer: &Viewer,
    ) -> Result<(String, Vec<db::Value>)> {
        let mut compiler = Compiler::new(engine, engine.schema(), viewer);
        let rows = compiler.rows(entity);
        let term = compiler.condition(entity, &rows.alias, &self.condition)?;
        let filter = rows.filter(term);
        let sql = match self.group.is_empty() {
            true => format!("SELECT count(*) FROM {}{filter}", rows.from),
            false => format!(
                "SELECT count(*) FROM (SELECT 1 AS one FROM {}{filter} GROUP BY {}) heads",
                rows.from,
                self.groups(entity, &rows.alias)?
            ),
        };
        Ok((sql, compiler.args.values()))
    }
}

/// The limit and the start, when they can be.
pub(super) fn bounds(limit: Option<i64>, start: Option<i64>) -> Result<(i64, i64)> {
    let (limit, start) = (limit.unwrap_or(DEFAULT_LIMIT), start.unwrap_or(0));
    if !(0..=HIGHEST_LIMIT).contains(&limit) {
        let details = format!(
            "\"limit\" must be between 0 and {HIGHEST_LIMIT}, not {limit}: ask for the next page with \"after\""
        );
        return Err(invalid(details));
    }
    match start < 0 {
        true => Err(invalid(format!("\"start\" must not be negative, as {start} is"))),
        false => Ok((limit, start)),
    }
}

/// Which part of the rows is wanted.
struct Page {
    order: Order,
    after: Option<After>,
    limit: i64,
    start: i64,
}

/// The order of the page before; another cannot be gone on with.
fn resumed(after: &After, order: &[(String, bool)]) -> Result<Vec<(String, bool)>> {
    let before: Vec<_> =
        Some(after.sort.as_str()).filter(|sort| !sort.is_empty()).map(sorted).into_iter().collect();
    let same = |a: &(String, bool), b: &(String, bool)| a.0.eq_ignore_ascii_case(b.0.trim()) && a.1 == b.1;
    let agrees = before.len() == order.len() && before.iter().zip(order).all(|(a, b)| same(a, b));
    match order.is_empty() || agrees {
        true => Ok(before),
        false => {
            Err(invalid("\"after\" goes on in the order of the page before: leave \"sort\" as it was".into()))
        }
    }
}
