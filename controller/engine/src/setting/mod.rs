//! Run-time configuration (ZStack's global config): typed, with its default and help beside the code that
//! reads it; changed by the API, effective at once. What holds for some resources only stands in [`bound`].

pub mod bound;

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::RwLock;
use std::time::Duration;

use crate::args;
use crate::db::Tx;
use crate::engine::Engine;
use crate::error::{Result, codes};
use crate::notice::Notice;

pub use bound::{Follow, Level};

const ALL: &str = "SELECT category, name, value FROM setting";
const SET: &str = "INSERT INTO setting (category, name, value) VALUES ($1, $2, $3) \
     ON CONFLICT (category, name) DO UPDATE SET value = excluded.value";

/// One setting. The text of its default must read as a `T`.
pub struct Setting<T> {
    pub category: &'static str,
    pub name: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    pub read: fn(&str) -> Result<T>,
}

/// A setting as lists show it, whatever its type.
#[derive(Clone, Copy)]
pub struct AnySetting {
    pub category: &'static str,
    pub name: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    pub check: fn(&str) -> Result<()>,
    /// What it may be, for people and their forms; `check` decides.
    pub options: Options,
    /// The kinds of resources that it can be set for.
    pub levels: &'static [Level],
    /// What is kept elsewhere of its values for resources.
    pub follow: Option<Follow>,
}

/// What a setting may be, as far as that can be told in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    Any,
    OneOf(&'static [&'static str]),
    /// A whole number, from the first to the last.
    Within(i64, i64),
}

/// The values that differ from the defaults.
#[derive(Default)]
pub(crate) struct Values(RwLock<HashMap<(String, String), String>>);

/// Reads a whole number within bounds.
pub fn number<const LOW: i64, const HIGH: i64>(text: &str) -> Result<i64> {
    let number: i64 = plain(text)?;
    match (LOW..=HIGH).contains(&number) {
        true => Ok(number),
        false => Err(codes::INVALID_ARGUMENT.because(format!("{number} is not between {LOW} and {HIGH}"))),
    }
}

/// In seconds.
const YEAR: i64 = 365 * 86_400;

/// Reads whole seconds, at least one.
pub fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(number::<1, YEAR>(text)?.unsigned_abs()))
}

/// Reads anything that parses.
pub fn plain<T: FromStr<Err: Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|e| codes::INVALID_ARGUMENT.because(format!("\"{text}\": {e}")))
}

impl<T> Setting<T> {
    /// The entry for the wiring's list: `PING.entry(|text| PING.accepts(text))`.
    pub const fn entry(&self, check: fn(&str) -> Result<()>) -> AnySetting {
        AnySetting {
            category: self.category,
            name: self.name,
            default: self.default,
            help: self.help,
            check,
            options: Options::Any,
            levels: &[],
            follow: None,
        }
    }

    pub fn accepts(&self, text: &str) -> Result<()> {
        (self.read)(text).map(|_| ())
    }
}

impl AnySetting {
    /// It is one of these words.
    pub const fn one_of(self, words: &'static [&'static str]) -> Self {
        AnySetting { options: Options::OneOf(words), ..self }
    }

    /// It is a whole number within bounds.
    pub const fn within(self, low: i64, high: i64) -> Self {
        AnySetting { options: Options::Within(low, high), ..self }
    }

    /// It is whole seconds, as [`seconds`] reads them.
    pub const fn seconds(self) -> Self {
        self.within(1, YEAR)
    }

    /// It can be set for resources of these kinds, too.
    pub const fn on(self, levels: &'static [Level]) -> Self {
        AnySetting { levels, ..self }
    }

    /// `follow` runs in the transaction that sets it for a resource.
    pub const fn followed(self, follow: Follow) -> Self {
        AnySetting { follow: Some(follow), ..self }
    }
}

impl Engine {
    /// The setting of this name.
    pub fn known_setting(&self, category: &str, name: &str) -> Result<AnySetting> {
        let all = self.settings();
        let known = all.iter().find(|setting| setting.category == category && setting.name == name);
        known.copied().ok_or_else(|| {
            let mut names: Vec<_> =
                all.iter().filter(|setting| setting.category == category).map(|s| s.name).collect();
            names.sort_unstable();
            let hint = match names.is_empty() {
                true => "there is no such category".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            codes::NOT_FOUND.because(format!("there is no setting \"{name}\" of \"{category}\"; {hint}"))
        })
    }

    /// The setting's value now.
    pub fn setting<T>(&self, setting: &Setting<T>) -> T {
        let text = self.setting_text(setting.category, setting.name);
        let value = text.and_then(|text| (setting.read)(&text).ok());
        value.unwrap_or_else(|| (setting.read)(setting.default).expect("defaults are tested to be readable"))
    }

    /// The stored text, when it was ever changed.
    pub fn setting_text(&self, category: &str, name: &str) -> Option<String> {
        let values = self.values().0.read().expect("never poisoned");
        values.get(&(category.to_owned(), name.to_owned())).cloned()
    }

    /// Changes a setting; effective when the transaction is on disk.
    pub async fn change_setting(&self, tx: &mut Tx, category: &str, name: &str, value: &str) -> Result<()> {
        self.known_setting(category, name)?.must_take(value)?;
        tx.exec(SET, args![category, name, value]).await?;
        let (engine, key, value) = (self.clone(), (category.to_owned(), name.to_owned()), value.to_owned());
        tx.after_commit(move || {
            engine.values().0.write().expect("never poisoned").insert(key, value);
        });
        tx.notify(Notice::Setting);
        Ok(())
    }

    /// Takes over what another controller has changed.
    pub(crate) async fn reload_settings(&self) {
        let loaded = async { Values::load(&mut self.db().read().await?).await };
        match loaded.await {
            Ok(values) => {
                let fresh = values.0.into_inner().expect("never poisoned");
                *self.values().0.write().expect("never poisoned") = fresh;
            }
            Err(error) => tracing::warn!(%error, "the settings were not read again"),
        }
    }
}

impl Values {
    pub(crate) async fn load(tx: &mut Tx) -> Result<Values> {
        let rows = tx.all::<(String, String, String)>(ALL, args![]).await?;
        Ok(Values(RwLock::new(rows.into_iter().map(|(c, n, v)| ((c, n), v)).collect())))
    }
}
