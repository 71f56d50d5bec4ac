//! Relations between inventories, declared beside the one that knows the other.

use crate::inventory::Inventory;

/// How rows of one inventory belong to rows of another. It leads both ways: `name` from the inventory that
/// declares it, `back` from the other.
#[derive(Clone, Copy, Debug)]
pub struct Relation {
    pub name: &'static str,
    pub(crate) back: Option<&'static str>,
    /// The kind of the other inventory.
    pub to: &'static str,
    /// The columns that are equal where two rows belong together: ours and theirs.
    pub(crate) here: &'static str,
    pub(crate) there: &'static str,
    pub(crate) link: Option<Link>,
    /// A member of our replies that lists this column of theirs.
    pub(crate) member: Option<(&'static str, &'static str)>,
}

/// A table that says which rows belong together: the columns that hold our uuid and theirs.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub table: &'static str,
    pub here: &'static str,
    pub there: &'static str,
}

impl Relation {
    /// Our `column` holds the uuid of theirs.
    pub const fn one<I: Inventory>(name: &'static str, column: &'static str) -> Relation {
        Relation { here: column, ..Relation::to::<I>(name) }
    }

    /// Their `column` holds the uuid of ours.
    pub const fn many<I: Inventory>(name: &'static str, column: &'static str) -> Relation {
        Relation { there: column, ..Relation::to::<I>(name) }
    }

    /// A table of their own says which belong together.
    pub const fn linked<I: Inventory>(name: &'static str, link: Link) -> Relation {
        Relation { link: Some(link), ..Relation::to::<I>(name) }
    }

    /// What it is called from the other side.
    #[must_use]
    pub const fn back(self, name: &'static str) -> Relation {
        Relation { back: Some(name), ..self }
    }

    /// The member `name` of our replies lists their `column`, and may be asked for.
    #[must_use]
    pub const fn shows(self, name: &'static str, column: &'static str) -> Relation {
        Relation { member: Some((name, column)), ..self }
    }

    const fn to<I: Inventory>(name: &'static str) -> Relation {
        Relation { name, back: None, to: I::KIND, here: "uuid", there: "uuid", link: None, member: None }
    }

    /// `Host.zone → Zone (Zone.host)`
    pub(super) fn describe(&self, kind: &str) -> String {
        let back = self.back.map(|back| format!(" ({}.{back})", self.to)).unwrap_or_default();
        let member = self.member.map(|(name, column)| format!(", {name} = its {column}")).unwrap_or_default();
        format!("{kind}.{} → {}{back}{member}", self.name, self.to)
    }

    /// The same from the other side, where it is of `kind`.
    pub(super) fn reversed(&self, kind: &'static str) -> Option<Relation> {
        Some(Relation {
            name: self.back?,
            back: None,
            to: kind,
            here: self.there,
            there: self.here,
            link: self.link.map(|link| Link { here: link.there, there: link.here, ..link }),
            member: None,
        })
    }
}
