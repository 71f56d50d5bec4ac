//! Who sees which rows: an inventory declares it, queries are narrowed by it, and parameters of calls that
//! name a row of somebody else are refused as if there were none.

use crate::db::Tx;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::{Any, Id};
use crate::query::{Args, Entity, Viewer};

/// Which accounts see a row; the administrator sees all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None.
    Admin,
    /// All.
    Everyone,
    /// Who owns the resource that this column names, or was given a share of it.
    Owned(&'static str),
    /// Whose account stands in one of these columns.
    Accounts(&'static [&'static str]),
}

/// Where rows of a scope are found by their uuid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its rows have a uuid of their own.
    pub named: bool,
    pub table: &'static str,
    pub scope: Scope,
}

const OWNER: &str = "SELECT account_uuid FROM account_resource_ref WHERE resource_uuid = $1";
const OWN_JOB: &str = "SELECT count(*) FROM job WHERE uuid = $1 AND account = $2";

/// The condition under which `account` sees a row of the table that the statement calls `row` (nothing: by
/// no name). Every table that a statement reads for an account is to be narrowed by its own.
pub fn term(scope: Scope, row: &str, account: Id<Any>, args: &mut Args) -> String {
    let column = |name: &str| if row.is_empty() { name.to_owned() } else { format!("{row}.{name}") };
    let mark = args.mark(account);
    match scope {
        Scope::Admin => format!("CAST({mark} AS TEXT) IS NULL"),
        Scope::Everyone => format!("CAST({mark} AS TEXT) IS NOT NULL"),
        Scope::Owned(name) => format!("{} IN ({})", column(name), seen(&mark)),
        Scope::Accounts(names) => {
            let terms: Vec<_> = names.iter().map(|name| format!("{} = {mark}", column(name))).collect();
            format!("({})", terms.join(" OR "))
        }
    }
}

/// What of an entity's rows the viewer sees: the administrator, and the controller itself, all.
pub fn sight(viewer: &Viewer, entity: &Entity, row: &str, args: &mut Args) -> Option<String> {
    match viewer {
        Viewer::Client(session) if !session.admin => Some(term(entity.scope, row, session.account, args)),
        _ => None,
    }
}

/// The uuids of what the account owns or was given a share of; a share of a master is one of what belongs to
/// it.
fn seen(account: &str) -> String {
    format!(
        "SELECT r.resource_uuid FROM account_resource_ref r WHERE r.account_uuid = {account} \
         UNION ALL SELECT s.resource_uuid FROM shared_resource s \
         WHERE s.to_public OR s.receiver_account_uuid = {account} \
         UNION ALL SELECT c.resource_uuid FROM shared_resource s \
         JOIN account_resource_ref c ON c.master_uuid = s.resource_uuid \
         WHERE s.to_public OR s.receiver_account_uuid = {account}"
    )
}

/// Whether the account may name what is of this uuid in its calls.
pub(crate) async fn sees(tx: &mut Tx, places: &[Place], account: Id<Any>, id: Id<Any>) -> Result<bool> {
    let mut args = Args::default();
    args.mark(id);
    args.mark(account);
    let mut ways = vec![format!("CAST($1 AS TEXT) IN ({})", seen("$2"))];
    for place in places {
        let term = term(place.scope, "p", account, &mut args);
        ways.push(format!("EXISTS (SELECT 1 FROM {} p WHERE p.uuid = $1 AND {term})", place.table));
    }
    let sql = format!("SELECT CAST(1 AS BIGINT) AS seen WHERE {}", ways.join(" OR "));
    let seen = !tx.composed::<(i64,)>(sql, args.values()).await?.is_empty();
    Ok(seen || tx.number(OWN_JOB, crate::args![id, account]).await? > 0)
}

/// Whether the account may change what is of this uuid: what is shared with it or open to all it may only
/// use.
pub(crate) async fn may_change(tx: &mut Tx, places: &[Place], account: Id<Any>, id: Id<Any>) -> Result<bool> {
    match owner(tx, id).await? {
        Some(owner) => Ok(owner == account),
        None => {
            let own: Vec<_> = places.iter().filter(|place| place.scope != Scope::Everyone).copied().collect();
            sees(tx, &own, account, id).await
        }
    }
}

/// Whose the resource is.
pub async fn owner(tx: &mut Tx, resource: Id<impl ?Sized>) -> Result<Option<Id<Any>>> {
    Ok(tx.opt::<(Id<Any>,)>(OWNER, crate::args![resource]).await?.map(|(owner,)| owner))
}

impl Engine {
    /// Where the rows that not the administrator alone sees stand, but for those whose own uuid is owned.
    pub(crate) fn places(&self) -> Vec<Place> {
        let scoped = self.entries().iter().filter_map(|entry| entry.place());
        scoped
            .filter(|place| place.named && !matches!(place.scope, Scope::Admin | Scope::Owned("uuid")))
            .collect()
    }
}
