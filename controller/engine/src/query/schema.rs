//! What can be asked: every inventory with its fields and relations, checked when the controller starts.

use std::collections::HashMap;

use super::relation::Relation;
use super::scope::Sight;
use super::value::{Args, invalid};
use crate::db::{self, Cells, Row, Tx, Unreadable};
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::inventory::{Field, Inventory, Members, camel, present};
use crate::scope::{Place, Scope};
use futures::future::BoxFuture;

/// One inventory, whatever its type.
#[derive(Clone, Copy)]
pub struct Entity {
    /// `VmInstance`
    pub kind: &'static str,
    pub table: &'static str,
    pub fields: &'static [Field],
    /// Who sees which rows.
    pub scope: Scope,
    relations: &'static [Relation],
    source: fn(&Engine, &mut Args) -> String,
    pub(super) fetch: Fetch,
}

type Fetch = for<'t> fn(&'t mut Tx, String, Vec<db::Value>) -> BoxFuture<'t, Result<Vec<Shown>>>;

/// A row as a reply shows it, and where it stands in the order of the query.
pub(super) struct Shown {
    pub members: Members,
    pub stand: Stand,
}

/// Where a row stands: what it is sorted by, as text, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub sort: Option<String>,
    pub key: Option<String>,
}

/// What [`Stand`] is read from.
pub(super) const SORT: &str = "page_sort";
pub(super) const KEY: &str = "page_key";

/// All inventories and how they belong together.
pub struct Schema {
    entities: Vec<Entity>,
    by_kind: HashMap<String, usize>,
    hops: HashMap<(&'static str, &'static str), Relation>,
    pub(super) sight: Sight,
}

struct Placed<I> {
    row: I,
    stand: Stand,
}

impl<I: Row> Row for Placed<I> {
    fn read(cells: &Cells<'_>) -> Result<Self, Unreadable> {
        let stand = Stand { sort: cells.get(usize::MAX, SORT)?, key: cells.get(usize::MAX, KEY)? };
        Ok(Placed { row: I::read(cells)?, stand })
    }
}

fn fetch<I: Inventory>(tx: &mut Tx, sql: String, args: Vec<db::Value>) -> BoxFuture<'_, Result<Vec<Shown>>> {
    Box::pin(async move {
        let placed: Vec<Placed<I>> = tx.composed(sql, args).await?;
        let (rows, stands): (Vec<I>, Vec<Stand>) = placed.into_iter().map(|one| (one.row, one.stand)).unzip();
        let shown = present(tx, &rows).await?;
        Ok(shown.into_iter().zip(stands).map(|(members, stand)| Shown { members, stand }).collect())
    })
}

impl Entity {
    pub fn of<I: Inventory>() -> Entity {
        Entity {
            kind: I::KIND,
            table: I::TABLE,
            fields: I::FIELDS,
            scope: I::SCOPE,
            relations: I::RELATIONS,
            source: I::source,
            fetch: fetch::<I>,
        }
    }

    /// What stands behind FROM, without its alias.
    pub(super) fn source(&self, engine: &Engine, args: &mut Args) -> String {
        (self.source)(engine, args)
    }

    /// Where its rows are found by their uuid.
    pub(crate) fn place(&self) -> Place {
        Place { named: self.column("uuid").is_some(), table: self.table, scope: self.scope }
    }

    /// The field that a client calls `name`.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| camel(field.column).eq_ignore_ascii_case(name))
    }

    /// Its relations, for people.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.relations.iter().map(|relation| relation.describe(self.kind)).collect()
    }

    pub(super) fn column(&self, column: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.column == column)
    }

    /// The field that tells every row from all others, if there is one.
    pub(super) fn key(&self) -> Option<&'static Field> {
        self.column("uuid").or_else(|| self.column("id"))
    }

    /// Its column names, as a SELECT names those of `alias`.
    pub(super) fn columns(&self, alias: &str) -> String {
        self.fields.iter().map(|f| format!("{alias}.{}", f.column)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn must_have(&self, name: &str) -> Result<&'static Field> {
        self.field(name).ok_or_else(|| {
            let known: Vec<_> = self.fields.iter().map(|field| camel(field.column)).collect();
            invalid(format!("a {} has no field \"{name}\"; there are {}", self.kind, known.join(", ")))
        })
    }
}

impl Schema {
    /// Resolves the relations of these inventories; what leads nowhere is a mistake in the code and stops the
    /// controller at start.
    pub fn new(entities: Vec<Entity>, sight: Sight) -> Result<Schema> {
        let mut schema =
            Schema { entities: Vec::new(), by_kind: HashMap::new(), hops: HashMap::new(), sight };
        for entity in entities {
            schema.add(entity)?;
        }
        for entity in schema.entities.clone() {
            for relation in entity.relations {
                schema.relate(&entity, *relation)?;
            }
        }
        Ok(schema)
    }

    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// The entity of this kind, whatever its case: `VmInstance`, `vminstance`; ZStack's names of its stored
    /// entities and replies (`VmInstanceVO`, `VmInstanceInventory`) too.
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        let name = name.to_ascii_lowercase();
        let short = name.strip_suffix("inventory").or_else(|| name.strip_suffix("vo")).unwrap_or(&name);
        let at = self.by_kind.get(&name).or_else(|| self.by_kind.get(short))?;
        self.entities.get(*at)
    }

    pub(super) fn must_have(&self, name: &str) -> Result<&Entity> {
        self.entity(name).ok_or_else(|| {
            let mut known: Vec<_> = self.entities.iter().map(|entity| entity.kind).collect();
            known.sort_unstable();
            invalid(format!("there is no entity \"{name}\" to ask for; there are {}", known.join(", ")))
        })
    }

    /// Where `name` leads from an entity.
    pub(super) fn hop(&self, from: &Entity, name: &str) -> Option<(&Relation, &Entity)> {
        let relation = self.hops.iter().find(|((kind, hop), _)| *kind == from.kind && *hop == name)?.1;
        Some((relation, self.entity(relation.to)?))
    }

    /// The path that a member of replies stands for: `attachedClusterUuids` is `cluster.uuid`.
    pub(super) fn member(&self, entity: &Entity, name: &str) -> Option<String> {
        entity.relations.iter().find_map(|relation| {
            let (member, column) = relation.member?;
            (member == name).then(|| format!("{}.{}", relation.name, camel(column)))
        })
    }

    /// The relations of an entity, sorted by name.
    pub fn relations(&self, entity: &Entity) -> Vec<&Relation> {
        let own = self.hops.iter().filter(|((kind, _), _)| *kind == entity.kind);
        let mut own: Vec<_> = own.map(|(_, relation)| relation).collect();
        own.sort_by_key(|relation| relation.name);
        own
    }

    /// The same entity may be listed at several places.
    fn add(&mut self, entity: Entity) -> Result<()> {
        let known = self.by_kind.get(&entity.kind.to_ascii_lowercase()).and_then(|at| self.entities.get(*at));
        match known {
            Some(known) if known.table == entity.table => Ok(()),
            Some(_) => Err(wrong(format!("two inventories are of kind {}", entity.kind))),
            None => {
                self.by_kind.insert(entity.kind.to_ascii_lowercase(), self.entities.len());
                self.entities.push(entity);
                Ok(())
            }
        }
    }

    fn relate(&mut self, entity: &Entity, relation: Relation) -> Result<()> {
        let place = format!("the relation \"{}\" of {}", relation.name, entity.kind);
        let Some(other) = self.entity(relation.to).copied() else {
            return Err(wrong(format!("{place} leads to {}, which nobody lists", relation.to)));
        };
        let missing = [(entity, relation.here), (&other, relation.there)]
            .into_iter()
            .chain(relation.member.map(|(_, column)| (&other, column)))
            .find(|(entity, column)| entity.column(column).is_none());
        if let Some((entity, column)) = missing {
            return Err(wrong(format!("{place} names the column {column}, which {} has not", entity.kind)));
        }
        self.enter(entity, relation)?;
        match relation.reversed(entity.kind) {
            Some(back) => self.enter(&other, back),
            None => Ok(()),
        }
    }

    fn enter(&mut self, entity: &Entity, relation: Relation) -> Result<()> {
        let name = relation.name;
        let taken = entity.field(name).is_some() || self.hops.contains_key(&(entity.kind, name));
        if taken || name.contains('.') {
            return Err(wrong(format!("{} has two things called \"{name}\"", entity.kind)));
        }
        self.hops.insert((entity.kind, name), relation);
        Ok(())
    }
}

fn wrong(details: String) -> crate::ErrorCode {
    codes::INTERNAL.because(details)
}
