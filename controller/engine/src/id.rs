//! Names of resources and moments, as ZStack's clients write them.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The uuid of a `T`: 32 lower-case hex digits on the wire and in the database.
pub struct Id<T: ?Sized>(Uuid, PhantomData<fn() -> Box<T>>);

/// Marks the id of a resource whose kind is not known here.
#[derive(Debug)]
pub enum Any {}

thread_local! {
    static NAMED: std::cell::RefCell<Option<Vec<Id<Any>>>> = const { std::cell::RefCell::new(None) };
}

/// All ids that `read` deserializes, however deep they stand.
pub(crate) fn named<T>(read: impl FnOnce() -> T) -> (T, Vec<Id<Any>>) {
    NAMED.set(Some(Vec::new()));
    let value = read();
    (value, NAMED.take().unwrap_or_default())
}

impl<T: ?Sized> Id<T> {
    pub fn random() -> Self {
        Id(Uuid::new_v4(), PhantomData)
    }

    /// The same parts give the same id, on every machine, for ever.
    pub fn derived(parts: &[&str]) -> Self {
        const SPACE: Uuid = Uuid::from_u128(0x6375_6d75_6c65_7420_7265_736f_7572_6365);
        Id(Uuid::new_v5(&SPACE, parts.join("\u{1f}").as_bytes()), PhantomData)
    }

    /// The same id as that of another kind of thing.
    pub fn cast<U: ?Sized>(self) -> Id<U> {
        Id(self.0, PhantomData)
    }

    pub fn of_bits(bits: u128) -> Self {
        Id(Uuid::from_u128(bits), PhantomData)
    }

    pub fn bits(&self) -> u128 {
        self.0.as_u128()
    }
}

impl<T: ?Sized> FromStr for Id<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let uuid = hex.then(|| Uuid::try_parse(text).ok()).flatten();
        uuid.map(|uuid| Id(uuid, PhantomData))
            .ok_or_else(|| format!("\"{text}\" is not a uuid: 32 hex digits without dashes"))
    }
}

impl<T: ?Sized> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl<T: ?Sized> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: ?Sized> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Id<T> {}
impl<T: ?Sized> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T: ?Sized> Eq for Id<T> {}
impl<T: ?Sized> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T: ?Sized> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T: ?Sized> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: ?Sized> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: ?Sized> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let id: Id<T> = text.parse().map_err(de::Error::custom)?;
        NAMED.with_borrow_mut(|named| {
            if let Some(named) = named {
                named.push(id.cast());
            }
        });
        Ok(id)
    }
}

impl<T: ?Sized> JsonSchema for Id<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Uuid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" })
    }
}

impl JsonSchema for Stamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Z][a-z]{2} [0-9]{1,2}, [0-9]{4} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [AP]M$",
        })
    }
}

impl<T: ?Sized> FromSql for Id<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: String| FromSqlError::Other(error.into()))
    }
}

impl<T: ?Sized> sqlx::Type<sqlx::Postgres> for Id<T> {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <String as sqlx::Type<sqlx::Postgres>>::type_info()
    }
}

impl<'r, T: ?Sized> sqlx::Decode<'r, sqlx::Postgres> for Id<T> {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(<&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?.parse::<Id<T>>()?)
    }
}

/// A moment: microseconds since 1970 in the database, `Nov 21, 2026 11:28:44 AM` (UTC) in replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Stamp(pub i64);

impl FromSql for Stamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Stamp)
    }
}

impl Stamp {
    /// By the database's clock.
    pub fn now() -> Self {
        Stamp(crate::clock::now())
    }

    pub fn plus(self, span: std::time::Duration) -> Self {
        Stamp(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, span: std::time::Duration) -> Self {
        Stamp(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn millis(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{}", moment.strftime("%b %-d, %Y %-I:%M:%S %p"))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_is_written_without_dashes_and_read_back() {
        let id = Id::<Any>::random();
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse::<Id<Any>>(), Ok(id));
        assert!("6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse::<Id<Any>>().is_err());
        assert!("zz".parse::<Id<Any>>().is_err());
    }

    #[test]
    fn what_is_named_is_told_however_deep_it_stands() {
        let (one, two) = (Id::<Any>::random(), Id::<Any>::random());
        let json = json!([[one], [two], []]);
        let read = || serde_json::from_value::<Vec<Option<Id<String>>>>(json!([one])).is_ok();
        assert_eq!(named(read), (true, vec![one]));
        let read = || serde_json::from_value::<Vec<Vec<Id<Any>>>>(json).unwrap();
        assert_eq!(named(read).1, [one, two]);
        assert!(NAMED.take().is_none(), "nothing is kept when nobody asks");
    }

    #[test]
    fn a_moment_is_written_as_zstack_writes_it() {
        assert_eq!(Stamp(1_795_260_524_000_000).to_string(), "Nov 21, 2026 11:28:44 AM");
        assert_eq!(Stamp(0).to_string(), "Jan 1, 1970 12:00:00 AM");
    }
}
