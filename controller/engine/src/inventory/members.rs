//! The members of a resource as a reply shows them.
//!
//! A page of a hundred VMs has ten thousand of them: they are written as JSON once, one behind another, and
//! what belongs to a resource is put beside them; nothing is built for each.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, Impossible, SerializeMap, SerializeSeq as _, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Result;

/// Members by name, without nulls.
#[derive(Clone, Debug, Default)]
pub struct Members {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// Where the value of a member stands in the text.
#[derive(Clone, Debug)]
struct Place {
    name: Cow<'static, str>,
    value: Range<usize>,
}

/// JSON texts, with commas between.
#[derive(Default)]
pub(super) struct List(Vec<u8>);

impl List {
    pub fn push(&mut self, one: &(impl Serialize + ?Sized)) -> Result<()> {
        self.comma();
        Ok(serde_json::to_writer(&mut self.0, one)?)
    }

    pub fn push_members(&mut self, one: &Members) -> Result<()> {
        self.comma();
        Ok(one.write(&mut self.0)?)
    }

    fn comma(&mut self) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
    }
}

impl Members {
    /// The members of a struct, or of a map.
    pub(super) fn of(row: &(impl Serialize + ?Sized)) -> Result<Members> {
        let mut members = Members { text: Vec::with_capacity(1024), places: Vec::with_capacity(32) };
        row.serialize(Writer { members: &mut members, key: None })?;
        Ok(members)
    }

    /// What the member is, if it is there and such a thing.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let place = self.places.iter().find(|place| place.name == name)?;
        serde_json::from_slice(self.text.get(place.value.clone())?).ok()
    }

    /// In place of the member of that name, if there is one; nothing is shown of a null.
    pub fn insert(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.places.retain(|place| place.name != name);
        Ok(self.add(name.into(), value)?)
    }

    /// In place of the member of that name, if there is one.
    pub(super) fn list(&mut self, name: &'static str, list: &List) {
        self.places.retain(|place| place.name != name);
        let start = self.text.len();
        for part in [&b"["[..], &list.0, b"]"] {
            self.text.extend_from_slice(part);
        }
        self.places.push(Place { name: name.into(), value: start..self.text.len() });
    }

    /// Leaves only these members.
    pub(crate) fn keep(&mut self, names: &[String]) {
        self.places.retain(|place| names.iter().any(|name| name.eq_ignore_ascii_case(&place.name)));
    }

    fn write(&self, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        to.push(b'{');
        for (at, place) in self.places.iter().enumerate() {
            if at > 0 {
                to.push(b',');
            }
            serde_json::to_writer(&mut *to, &place.name)?;
            to.push(b':');
            to.extend_from_slice(&self.text[place.value.clone()]);
        }
        to.push(b'}');
        Ok(())
    }

    fn add(
        &mut self,
        name: Cow<'static, str>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), serde_json::Error> {
        let start = self.text.len();
        serde_json::to_writer(&mut self.text, value)?;
        match &self.text[start..] {
            b"null" => self.text.truncate(start),
            _ => self.places.push(Place { name, value: start..self.text.len() }),
        }
        Ok(())
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.places.len()))?;
        for place in &self.places {
            let value: &RawValue =
                serde_json::from_slice(&self.text[place.value.clone()]).map_err(S::Error::custom)?;
            map.serialize_entry(&place.name, value)?;
        }
        map.end()
    }
}

/// A page of resources, each as one text: thousands of members need not be taken one by one.
pub(crate) fn whole<S: Serializer>(
    page: &Option<Vec<Members>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let page = page.as_deref().unwrap_or_default();
    let mut list = serializer.serialize_seq(Some(page.len()))?;
    for members in page {
        let mut text = Vec::with_capacity(members.text.len() * 2);
        members.write(&mut text).map_err(S::Error::custom)?;
        let text = String::from_utf8(text).map_err(S::Error::custom)?;
        list.serialize_element(&RawValue::from_string(text).map_err(S::Error::custom)?)?;
    }
    list.end()
}

/// Takes a struct, or a map, apart.
struct Writer<'m> {
    members: &'m mut Members,
    /// Of the entry of a map at hand.
    key: Option<String>,
}

impl SerializeStruct for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.members.add(name.into(), value)
    }

    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl SerializeMap for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Self::Error> {
        match serde_json::to_value(key)? {
            serde_json::Value::String(key) => self.key = Some(key),
            _ => return Err(no_members()),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        let name = self.key.take().ok_or_else(no_members)?;
        self.members.add(name.into(), value)
    }

    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn no_members() -> serde_json::Error {
    serde_json::Error::custom("only structs, and maps of texts, have members")
}

/// What has no members.
macro_rules! refuse {
    ($($name:ident($($type:ty),*) $(-> $more:ident)?;)*) => { $(
        fn $name(self, $(_: $type),*) -> Result<refuse!(@ $($more)?), serde_json::Error> {
            Err(no_members())
        }
    )* };
    (@) => { () };
    (@ $more:ident) => { Self::$more };
}

impl Serializer for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Impossible<(), serde_json::Error>;
    type SerializeTuple = Impossible<(), serde_json::Error>;
    type SerializeTupleStruct = Impossible<(), serde_json::Error>;
    type SerializeTupleVariant = Impossible<(), serde_json::Error>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), serde_json::Error>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Self::Error> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Self::Error> {
        Ok(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Self::Error> {
        Err(no_members())
    }

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inventory::attach;

    #[derive(Serialize)]
    struct Thing {
        uuid: &'static str,
        #[serde(rename = "niceName")]
        name: Option<&'static str>,
        size: i64,
    }

    fn shown(members: &Members) -> Value {
        serde_json::from_str(&serde_json::to_string(members).unwrap()).unwrap()
    }

    #[test]
    fn a_thing_is_shown_without_nulls_and_with_what_belongs_to_it() {
        let things = [("one", Some("a \"b\"")), ("two", None)];
        let mut page: Vec<Members> =
            things.map(|(uuid, name)| Members::of(&Thing { uuid, name, size: 5 }).unwrap()).into();
        let part = |name| Thing { uuid: "part", name, size: 1 };
        let parts = [("one".to_owned(), part(None)), ("one".to_owned(), part(Some("x")))];
        attach(&mut page, "parts", parts).unwrap();
        attach(&mut page, "tags", [("two".to_owned(), "a"), ("gone".to_owned(), "b")]).unwrap();
        let parts = json!([{ "uuid": "part", "size": 1 }, { "uuid": "part", "niceName": "x", "size": 1 }]);
        let one = json!({ "uuid": "one", "niceName": "a \"b\"", "size": 5, "parts": parts, "tags": [] });
        assert_eq!(shown(&page[0]), one);
        assert_eq!(shown(&page[1]), json!({ "uuid": "two", "size": 5, "parts": [], "tags": ["a"] }));
        assert_eq!(serde_json::to_value(&page[0]).unwrap(), one, "the same as a value");
    }

    #[test]
    fn a_member_is_read_replaced_and_left_out() {
        let mut members = Members::of(&json!({ "uuid": "one", "log": "[1]", "odd \"name": true })).unwrap();
        assert_eq!(members.read::<String>("log").as_deref(), Some("[1]"));
        assert_eq!(members.read::<u64>("log"), None);
        members.insert("log", &[1]).unwrap();
        assert_eq!(shown(&members), json!({ "uuid": "one", "log": [1], "odd \"name": true }));
        members.insert("log", &None::<u8>).unwrap();
        members.keep(&["UUID".into(), "log".into()]);
        assert_eq!(shown(&members), json!({ "uuid": "one" }));
        assert!(Members::of("text").is_err() && Members::of(&[1]).is_err());
    }
}
