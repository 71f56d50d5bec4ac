//! Settings for some resources only (ZStack's resource configs): of a host, of all hosts of a cluster. What is
//! nearest to a resource wins: its own value, that of what it lies in, and so on up to the whole cloud's.
//!
//! The database is asked whenever a value is wanted, so all controllers agree. What needs a value in its own
//! statements keeps it in its own rows ([`AnySetting::followed`]), and the rows go with the resource.

use futures::future::BoxFuture;

use super::{AnySetting, Setting};
use crate::args;
use crate::db::{Row, Tx, Value};
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::id::{Any, Id, Stamp};

const PUT: &str = "INSERT INTO resource_config (uuid, resource_uuid, resource_type, category, name, value, \
     create_date, last_op_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) \
     ON CONFLICT (resource_uuid, category, name) DO UPDATE SET value = excluded.value, \
     last_op_date = excluded.last_op_date";
const DROP: &str = "DELETE FROM resource_config WHERE resource_uuid = $1 AND category = $2 AND name = $3";
const OF: &str = "SELECT uuid, resource_uuid, category, name, value FROM resource_config \
     WHERE resource_uuid IN ($*)";

/// A kind of resources that a setting can have a value for.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// `Host`
    pub kind: &'static str,
    /// Yields the uuid of the resource `$1` and of all that it lies in, the nearest first; nothing when there
    /// is no such resource.
    pub ladder: &'static str,
}

/// Takes the values over for the resource and what lies in it.
pub type Follow = for<'t> fn(&'t mut Tx, Id<Any>) -> BoxFuture<'t, Result<()>>;

/// A value for a resource.
#[derive(Clone, Debug, Row)]
pub struct Bound {
    pub uuid: Id<Any>,
    pub resource_uuid: Id<Any>,
    category: String,
    name: String,
    pub value: String,
}

impl AnySetting {
    /// Refuses what it cannot be.
    pub fn must_take(&self, value: &str) -> Result<()> {
        (self.check)(value).map_err(|error| {
            let (category, name) = (self.category, self.name);
            codes::INVALID_ARGUMENT.because(format!(
                "setting \"{name}\" of \"{category}\" cannot be \"{value}\": {}; it is {}",
                error.details(),
                self.help
            ))
        })
    }

    /// What the resource is, and what it lies in, the nearest first.
    async fn ladder(&self, tx: &mut Tx, resource: Id<Any>) -> Result<(Level, Vec<Id<Any>>)> {
        for level in self.levels {
            let steps: Vec<(Id<Any>,)> = tx.all(level.ladder, args![resource]).await?;
            if !steps.is_empty() {
                return Ok((*level, steps.into_iter().map(|(step,)| step).collect()));
            }
        }
        let kinds: Vec<_> = self.levels.iter().map(|level| format!("{}VO", level.kind)).collect();
        let (category, name) = (self.category, self.name);
        Err(match kinds.is_empty() {
            true => codes::INVALID_ARGUMENT
                .because(format!("setting \"{name}\" of \"{category}\" is of the whole cloud: update it there")),
            false => codes::NOT_FOUND.because(format!(
                "there is nothing of uuid {resource} that setting \"{name}\" of \"{category}\" is for; it is for {}",
                kinds.join(", ")
            )),
        })
    }

    /// Its values for the resource and for what that lies in, the nearest first: the first holds, and when
    /// there is none the whole cloud's.
    pub async fn bound(&self, tx: &mut Tx, resource: Id<Any>) -> Result<Vec<Bound>> {
        let (_, ladder) = self.ladder(tx, resource).await?;
        let all: Vec<Bound> = tx.all_of(OF, ladder.iter().map(|step| Value::from(*step)).collect()).await?;
        let far = |bound: &Bound| ladder.iter().position(|step| *step == bound.resource_uuid);
        let mut own: Vec<_> =
            all.into_iter().filter(|one| one.category == self.category && one.name == self.name).collect();
        own.sort_by_key(far);
        Ok(own)
    }

    /// Sets it for a resource; returns what it was there, and the uuid of the row.
    pub async fn bind(
        &self,
        tx: &mut Tx,
        resource: Id<Any>,
        value: &str,
    ) -> Result<(Option<String>, Id<Any>)> {
        self.must_take(value)?;
        let (level, _) = self.ladder(tx, resource).await?;
        let before = self.bound_here(tx, resource).await?;
        let uuid = before.as_ref().map_or_else(Id::random, |bound| bound.uuid);
        let mut row = args![uuid, resource, format!("{}VO", level.kind), self.category, self.name];
        row.extend(args![value, Stamp::now()]);
        tx.exec(PUT, row).await?;
        self.follow(tx, resource).await?;
        Ok((before.map(|bound| bound.value), uuid))
    }

    /// Takes its value for a resource away; returns what it was, if it had one.
    pub async fn unbind(&self, tx: &mut Tx, resource: Id<Any>) -> Result<Option<String>> {
        let before = self.bound_here(tx, resource).await?;
        tx.exec(DROP, args![resource, self.category, self.name]).await?;
        self.follow(tx, resource).await?;
        Ok(before.map(|bound| bound.value))
    }

    async fn bound_here(&self, tx: &mut Tx, resource: Id<Any>) -> Result<Option<Bound>> {
        let bound = self.bound(tx, resource).await?;
        Ok(bound.into_iter().find(|bound| bound.resource_uuid == resource))
    }

    async fn follow(&self, tx: &mut Tx, resource: Id<Any>) -> Result<()> {
        match self.follow {
            Some(follow) => follow(tx, resource).await,
            None => Ok(()),
        }
    }
}

impl Engine {
    /// What a setting is for a resource.
    pub async fn setting_for<T>(
        &self,
        tx: &mut Tx,
        setting: &Setting<T>,
        resource: Id<impl ?Sized>,
    ) -> Result<T> {
        let known = self.known_setting(setting.category, setting.name)?;
        let bound = known.bound(tx, resource.cast()).await?;
        let own = bound.first().and_then(|bound| (setting.read)(&bound.value).ok());
        Ok(own.unwrap_or_else(|| self.setting(setting)))
    }
}
