//! What a resource looks like to a client: the columns of its row, camelCase, plus what belongs to it.

mod members;

use std::collections::HashMap;
use std::future::Future;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use members::List;
pub use members::Members;
pub(crate) use members::whole;

use crate::db::{Row, Tx};
use crate::query::{Args, Relation};
use crate::scope::Scope;
use crate::{Engine, Id, Result, Stamp};

/// What a column holds, for comparing it with a query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Bool,
    Moment,
}

/// One column of an inventory.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// snake_case: the column; the reply's member is the same in camelCase.
    pub column: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

/// A resource as the API shows it. Made by [`inventory!`](crate::inventory!).
pub trait Inventory: Row + Serialize + JsonSchema + Sync + Sized + 'static {
    /// What it is: `VmInstance`.
    const KIND: &'static str;
    const TABLE: &'static str;
    const FIELDS: &'static [Field];
    /// Who sees which rows.
    const SCOPE: Scope = Scope::Admin;
    /// How it belongs to inventories that it knows.
    const RELATIONS: &'static [Relation] = &[];

    /// What queries read, as it stands behind FROM: the table, unless the rows are not kept in one.
    fn source(_engine: &Engine, _args: &mut Args) -> String {
        Self::TABLE.to_owned()
    }

    /// Adds the members that are no columns (`attachedClusterUuids`, `vmNics`, …) to one page of rows.
    fn fill(_tx: &mut Tx, _page: &mut [Members]) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// What those members are.
    fn filled(_generator: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

/// An inventory as replies show it: with the members that are no columns, and without nulls.
pub struct Shown<I>(Members, std::marker::PhantomData<I>);

impl<I> Serialize for Shown<I> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A reply that lists inventories.
#[derive(Serialize, JsonSchema)]
#[schemars(bound = "I: Inventory", rename = "Listed{I}")]
pub struct Listed<I> {
    inventories: Vec<Shown<I>>,
}

/// The kind of column that a Rust type reads.
pub trait Column {
    const KIND: Kind;
    const NULLABLE: bool = false;
}

impl Column for String {
    const KIND: Kind = Kind::Text;
}
impl<T: ?Sized> Column for Id<T> {
    const KIND: Kind = Kind::Text;
}
impl Column for i64 {
    const KIND: Kind = Kind::Int;
}
impl Column for bool {
    const KIND: Kind = Kind::Bool;
}
impl Column for Stamp {
    const KIND: Kind = Kind::Moment;
}
impl<C: Column> Column for Option<C> {
    const KIND: Kind = C::KIND;
    const NULLABLE: bool = true;
}

/// `inventory! { /// docs  Name in "table" seen Owned("uuid") { column: Type, … } }`: a row type and what
/// queries may ask of it; who sees which rows ([`Scope`]; the administrator alone when nothing is said). Add
/// `fill { member: Type, … }` at the end and implement `Name::fill_page` for members that are no columns; then `=>` and the
/// [`Relation`]s to inventories that it knows.
#[macro_export]
macro_rules! inventory {
    ($(#[$meta:meta])* $name:ident in $table:literal $(seen $scope:ident $(($($by:literal),+))?)?
        { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? }
        $($fill:ident { $($(#[$mmeta:meta])* $member:ident : $mty:ty),* $(,)? })? $(=> [$($relation:expr),* $(,)?])?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, $crate::db::Row, serde::Serialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $crate::inventory::Inventory for $name {
            const KIND: &'static str = $crate::inventory::kind(stringify!($name));
            const TABLE: &'static str = $table;
            $(const SCOPE: $crate::scope::Scope = $crate::inventory! { @scope $scope $($($by),+)? };)?
            const FIELDS: &'static [$crate::inventory::Field] = &[
                $($crate::inventory::Field {
                    column: $crate::inventory::unraw(stringify!($field)),
                    kind: <$ty as $crate::inventory::Column>::KIND,
                    nullable: <$ty as $crate::inventory::Column>::NULLABLE,
                }),*
            ];
            $(const RELATIONS: &'static [$crate::query::Relation] = &[$($relation),*];)?
            $($crate::inventory! { @fill $fill { $($(#[$mmeta])* $member: $mty),* } })?
        }
    };
    (@scope Owned $by:literal) => { $crate::scope::Scope::Owned($by) };
    (@scope Accounts $($by:literal),+) => { $crate::scope::Scope::Accounts(&[$($by),+]) };
    (@scope Everyone) => { $crate::scope::Scope::Everyone };
    (@fill fill { $($(#[$mmeta:meta])* $member:ident : $mty:ty),* }) => {
        fn filled(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
            #[derive(schemars::JsonSchema)]
            #[schemars(rename_all = "camelCase")]
            #[allow(dead_code, reason = "it is there for its schema")]
            struct Filled { $($(#[$mmeta])* $member: $mty),* }
            <Filled as schemars::JsonSchema>::json_schema(generator)
        }

        async fn fill(
            tx: &mut $crate::db::Tx,
            page: &mut [$crate::inventory::Members],
        ) -> $crate::Result<()> {
            Self::fill_page(tx, page).await
        }
    };
}

/// The columns of `I`, as a SELECT names them.
pub(crate) fn columns<I: Inventory>() -> String {
    I::FIELDS.iter().map(|f| f.column).collect::<Vec<_>>().join(", ")
}

/// `r#type` as `type`.
pub const fn unraw(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// `ZoneInventory` as `Zone`, `FlowView` as `Flow`.
pub const fn kind(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [short @ .., b'I', b'n', b'v', b'e', b'n', b't', b'o', b'r', b'y'] => name.split_at(short.len()).0,
        [short @ .., b'V', b'i', b'e', b'w'] => name.split_at(short.len()).0,
        _ => name,
    }
}

/// `snake_case` as `camelCase`.
pub fn camel(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    let mut upper = false;
    for c in column.chars() {
        match (c, upper) {
            ('_', _) => upper = true,
            (c, true) => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            (c, false) => name.push(c),
        }
    }
    name
}

/// Rows as replies show them: complete, without nulls.
pub async fn present<I: Inventory>(tx: &mut Tx, rows: &[I]) -> Result<Vec<Members>> {
    let mut page = rows.iter().map(Members::of).collect::<Result<Vec<_>>>()?;
    I::fill(tx, &mut page).await?;
    Ok(page)
}

/// Puts the list `name` of the things that belong to each member of the page, found by their owner's uuid.
pub fn attach<R: Serialize>(
    page: &mut [Members],
    name: &'static str,
    owned: impl IntoIterator<Item = (String, R)>,
) -> Result<()> {
    let mut lists = Lists::new();
    for (owner, one) in owned {
        let list = lists.entry(owner).or_default();
        match Members::of(&one) {
            Ok(members) => list.push_members(&members)?,
            Err(_) => list.push(&one)?,
        }
    }
    put(page, name, &lists);
    Ok(())
}

/// As [`attach`], of rows that replies show completely.
pub async fn attach_shown<I: Inventory>(
    tx: &mut Tx,
    page: &mut [Members],
    name: &'static str,
    rows: &[I],
    owner: impl Fn(&I) -> String,
) -> Result<()> {
    let mut lists = Lists::new();
    for (row, shown) in rows.iter().zip(present(tx, rows).await?) {
        lists.entry(owner(row)).or_default().push_members(&shown)?;
    }
    put(page, name, &lists);
    Ok(())
}

/// What belongs to whom.
type Lists = HashMap<String, List>;

fn put(page: &mut [Members], name: &'static str, lists: &Lists) {
    let none = List::default();
    for members in page {
        let own = members.read::<String>("uuid").and_then(|uuid| lists.get(&uuid));
        members.list(name, own.unwrap_or(&none));
    }
}

/// The uuids of a page, as [`Tx::all_of`] takes them.
pub fn page_uuids(page: &[Members]) -> Vec<crate::db::Value> {
    page.iter().filter_map(|members| members.read::<String>("uuid")).map(Into::into).collect()
}

/// The row of `id`; a missing one is told by its kind.
pub async fn find<I: Inventory>(tx: &mut Tx, id: Id<impl ?Sized>) -> Result<I> {
    let sql = format!("SELECT {} FROM {} WHERE uuid = $1", columns::<I>(), I::TABLE);
    let rows = tx.composed::<I>(sql, crate::args![id]).await?;
    let kind = I::TABLE.trim_end_matches("_view").replace('_', " ");
    rows.into_iter().next().ok_or_else(|| {
        crate::codes::NOT_FOUND.because(format!("there is no {kind} of uuid {id}; it may have been deleted"))
    })
}

/// The row of `id`, as replies show it.
pub async fn shown<I: Inventory>(tx: &mut Tx, id: Id<impl ?Sized>) -> Result<Shown<I>> {
    let row: I = find(tx, id).await?;
    let shown = present(tx, std::slice::from_ref(&row)).await?;
    Ok(Shown(shown.into_iter().next().unwrap_or_default(), std::marker::PhantomData))
}

/// `{"inventories":[…]}` of these rows.
pub async fn listed<I: Inventory>(tx: &mut Tx, rows: &[I]) -> Result<Listed<I>> {
    let shown = present(tx, rows).await?.into_iter();
    Ok(Listed { inventories: shown.map(|one| Shown(one, std::marker::PhantomData)).collect() })
}

/// `{"inventory":{…}}` of the row of `id`.
pub async fn show<I: Inventory>(tx: &mut Tx, id: Id<impl ?Sized>) -> Result<Value> {
    Ok(serde_json::json!({ "inventory": shown::<I>(tx, id).await? }))
}
