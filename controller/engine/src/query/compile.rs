//! Conditions become SQL: of declared names and bound values only; a client's text never becomes SQL.
//!
//! A condition over a relation asks whether *some* related row is so, as ZStack's does: `vmNics.ip!=x` holds
//! for what has a NIC of another address, whatever addresses it has besides. It becomes `IN (SELECT …)`,
//! which both databases can begin from either side.

use super::condition::{Condition, LONGEST_LIST, Sign, Sub, Test};
use super::relation::Relation;
use super::schema::{Entity, Schema};
use super::scope::Viewer;
use super::value::{Args, invalid, pattern, typed};
use crate::db::Value;
use crate::engine::Engine;
use crate::error::Result;
use crate::inventory::{Field, camel};
use crate::tag;

/// A path leads over so many relations at most.
const LONGEST_PATH: usize = 6;

/// Writes one statement.
pub(super) struct Compiler<'c> {
    pub engine: &'c Engine,
    pub schema: &'c Schema,
    pub viewer: &'c Viewer,
    pub args: Args,
    aliases: usize,
}

/// The rows of an entity that a viewer may see, as the statement names them.
pub(super) struct Rows {
    pub alias: String,
    /// `zone t0`
    pub from: String,
    scope: Option<String>,
}

impl Rows {
    /// `WHERE …`: what is in scope and for which `term` is true.
    pub fn filter(&self, term: Option<String>) -> String {
        let terms: Vec<_> = self.scope.clone().into_iter().chain(term).collect();
        if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
    }
}

impl<'c> Compiler<'c> {
    pub fn new(engine: &'c Engine, schema: &'c Schema, viewer: &'c Viewer) -> Self {
        Compiler { engine, schema, viewer, args: Args::default(), aliases: 0 }
    }

    /// Begins to read an entity: the only place where one is, so that no row is read that is out of scope.
    pub fn rows(&mut self, entity: &Entity) -> Rows {
        let alias = self.alias();
        let from = format!("{} {alias}", entity.source(self.engine, &mut self.args));
        let scope = (self.schema.sight)(self.viewer, entity, &alias, &mut self.args);
        Rows { alias, from, scope: scope.map(|scope| format!("({scope})")) }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases - 1)
    }

    /// None when it is always true.
    pub fn condition(
        &mut self,
        entity: &Entity,
        alias: &str,
        condition: &Condition,
    ) -> Result<Option<String>> {
        match condition {
            Condition::All(parts) if parts.is_empty() => Ok(None),
            _ => self.term(entity, alias, condition).map(Some),
        }
    }

    fn term(&mut self, entity: &Entity, alias: &str, condition: &Condition) -> Result<String> {
        match condition {
            Condition::All(parts) => self.joined(entity, alias, parts, " AND ", "TRUE"),
            Condition::Any(parts) => self.joined(entity, alias, parts, " OR ", "FALSE"),
            // Of tags it is asked where the path ends: of one row that has them all.
            Condition::Field { path, test: Test::Has(values) } if !tag::ends(path) => {
                self.has(entity, alias, path, values)
            }
            Condition::Field { path, test: Test::NotHas(values) } if !tag::ends(path) => {
                Ok(format!("NOT {}", self.has(entity, alias, path, values)?))
            }
            Condition::Field { path, test } => self.path(entity, alias, path, test),
        }
    }

    fn joined(
        &mut self,
        entity: &Entity,
        alias: &str,
        parts: &[Condition],
        word: &str,
        empty: &str,
    ) -> Result<String> {
        if parts.is_empty() {
            return Ok(empty.to_owned());
        }
        let terms: Result<Vec<_>> = parts.iter().map(|part| self.term(entity, alias, part)).collect();
        Ok(format!("({})", terms?.join(word)))
    }

    fn has(&mut self, entity: &Entity, alias: &str, path: &str, values: &[String]) -> Result<String> {
        let is = |value: &String| Condition::Field {
            path: path.to_owned(),
            test: Test::Is(Sign::Equal, value.clone()),
        };
        let each: Vec<_> = values.iter().map(is).collect();
        self.joined(entity, alias, &each, " AND ", "TRUE")
    }

    fn path(&mut self, entity: &Entity, alias: &str, path: &str, test: &Test) -> Result<String> {
        if path.split('.').count() > LONGEST_PATH + 1 {
            let details =
                format!("\"{path}\" leads over more than {LONGEST_PATH} relations: ask from nearer");
            return Err(invalid(details));
        }
        let Some((first, rest)) = path.split_once('.') else {
            return self.own(entity, alias, path, test);
        };
        let (relation, other) =
            self.schema.hop(entity, first).ok_or_else(|| self.unknown(entity, first, "relation"))?;
        let (relation, other) = (*relation, *other);
        self.related(alias, &relation, &other, |compiler, inner| compiler.path(&other, inner, rest, test))
    }

    fn related(
        &mut self,
        alias: &str,
        relation: &Relation,
        other: &Entity,
        term: impl FnOnce(&mut Self, &str) -> Result<String>,
    ) -> Result<String> {
        let rows = self.rows(other);
        let Rows { alias: inner, from, .. } = &rows;
        let (here, there) = (relation.here, relation.there);
        let select = match relation.link {
            None => format!("SELECT {inner}.{there} FROM {from}"),
            Some(link) => {
                let via = self.alias();
                format!(
                    "SELECT {via}.{} FROM {} {via} JOIN {from} ON {inner}.{there} = {via}.{}",
                    link.here, link.table, link.there
                )
            }
        };
        let term = term(self, inner)?;
        Ok(format!("{alias}.{here} IN ({select}{})", rows.filter(Some(term))))
    }

    /// A name without relations: a tag, a field, or a member that lists related rows.
    fn own(&mut self, entity: &Entity, alias: &str, name: &str, test: &Test) -> Result<String> {
        if let Some(table) = tag::table(name) {
            return self.tagged(entity, alias, (name, table), test);
        }
        if let Some(field) = entity.field(name) {
            return self.test(&format!("{alias}.{}", field.column), field, test);
        }
        match self.schema.member(entity, name) {
            Some(path) => self.path(entity, alias, &path, test),
            None => Err(self.unknown(entity, name, "field")),
        }
    }

    /// Unlike other relations, a negation asks for what has *no* such tag, as ZStack's does.
    fn tagged(
        &mut self,
        entity: &Entity,
        alias: &str,
        (name, table): (&str, &str),
        test: &Test,
    ) -> Result<String> {
        let Some(key) = entity.column("uuid") else {
            return Err(invalid(format!("a {} carries no tags", entity.kind)));
        };
        let (word, positive) = match test {
            Test::Has(values) => return self.has(entity, alias, name, values),
            Test::NotHas(values) => return Ok(format!("NOT {}", self.has(entity, alias, name, values)?)),
            Test::Null => ("NOT IN", None),
            Test::NotNull => ("IN", None),
            Test::Is(Sign::NotEqual, text) => ("NOT IN", Some(Test::Is(Sign::Equal, text.clone()))),
            Test::NotLike(text) => ("NOT IN", Some(Test::Like(text.clone()))),
            Test::NotIn(list) => ("NOT IN", Some(Test::In(list.clone()))),
            Test::NotAmong(sub) => ("NOT IN", Some(Test::Among(sub.clone()))),
            other => ("IN", Some(other.clone())),
        };
        let inner = self.alias();
        let field = Field { column: tag::TEXT, kind: crate::inventory::Kind::Text, nullable: false };
        let filter = match positive {
            None => String::new(),
            Some(test) => format!(" WHERE {}", self.test(&format!("{inner}.{}", tag::TEXT), &field, &test)?),
        };
        let owner = tag::OWNER;
        Ok(format!("{alias}.{} {word} (SELECT {inner}.{owner} FROM {table} {inner}{filter})", key.column))
    }

    fn test(&mut self, column: &str, field: &Field, test: &Test) -> Result<String> {
        let name = camel(field.column);
        Ok(match test {
            Test::Null => format!("{column} IS NULL"),
            Test::NotNull => format!("{column} IS NOT NULL"),
            Test::Is(sign, text) => {
                let mark = self.args.mark(typed(&name, field.kind, text)?);
                format!("{column} {} {mark}", sign.sql())
            }
            Test::Like(text) => self.like(column, "", pattern(&name, field.kind, text)?),
            Test::NotLike(text) => self.like(column, "NOT ", pattern(&name, field.kind, text)?),
            Test::In(list) => format!("{column} IN ({})", self.list(&name, field, list)?),
            Test::NotIn(list) => format!("{column} NOT IN ({})", self.list(&name, field, list)?),
            Test::Among(sub) => format!("{column} IN ({})", self.sub(&name, field, sub)?),
            Test::NotAmong(sub) => format!("{column} NOT IN ({})", self.sub(&name, field, sub)?),
            Test::Has(_) | Test::NotHas(_) => unreachable!("taken apart where the path begins"),
        })
    }

    /// Case counts for nothing in ASCII, on either database, as ZStack's users know it of MySQL.
    fn like(&mut self, column: &str, not: &str, pattern: Value) -> String {
        let word = if self.engine.db().is_shared() { "ILIKE" } else { "LIKE" };
        let mark = self.args.mark(pattern);
        format!("{column} {not}{word} {mark} ESCAPE '\\'")
    }

    fn list(&mut self, name: &str, field: &Field, list: &[String]) -> Result<String> {
        if list.len() > LONGEST_LIST {
            let details =
                format!("the list for \"{name}\" has {} values: ask {LONGEST_LIST} at a time", list.len());
            return Err(invalid(details));
        }
        let marks: Result<Vec<_>> =
            list.iter().map(|text| Ok(self.args.mark(typed(name, field.kind, text)?))).collect();
        Ok(marks?.join(", "))
    }

    fn sub(&mut self, name: &str, field: &Field, sub: &Sub) -> Result<String> {
        let entity = *self.schema.must_have(&sub.entity)?;
        let other = entity.must_have(&sub.field)?;
        if other.kind != field.kind {
            let details = format!("\"{}\" of {} is of another kind than \"{name}\"", sub.field, entity.kind);
            return Err(invalid(details));
        }
        let rows = self.rows(&entity);
        let (inner, column) = (&rows.alias, other.column);
        let term = self.condition(&entity, inner, &sub.condition)?;
        // One NULL in the list would make every NOT IN unknown.
        let known = format!("{inner}.{column} IS NOT NULL");
        let term = term.map_or_else(|| known.clone(), |term| format!("{term} AND {known}"));
        Ok(format!("SELECT {inner}.{column} FROM {}{}", rows.from, rows.filter(Some(term))))
    }

    fn unknown(&self, entity: &Entity, name: &str, what: &str) -> crate::ErrorCode {
        let fields: Vec<_> = entity.fields.iter().map(|field| camel(field.column)).collect();
        let relations: Vec<_> = self.schema.relations(entity).iter().map(|one| one.name).collect();
        let paths = match relations.is_empty() {
            true => String::new(),
            false => format!("; and paths over {}", relations.join(", ")),
        };
        invalid(format!(
            "there is no {what} \"{name}\" to ask a {} for; there are {}{paths}",
            entity.kind,
            fields.join(", ")
        ))
    }
}
