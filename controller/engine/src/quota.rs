//! Quotas: how much of something an account may have at once. What it has is added up from the rows that
//! claim it, in the transaction that claims more; units run one after another, so that a race for the last
//! one has one winner.

use crate::args;
use crate::db::Tx;
use crate::error::{Result, codes};
use crate::id::{Any, Id};

/// One quota, declared beside what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub name: &'static str,
    /// For accounts for which no other was set.
    pub default: i64,
    /// Yields what the account `$1` has.
    pub used: &'static str,
}

const TENANT: &str = "SELECT a.uuid, a.name FROM account_resource_ref r JOIN account a ON a.uuid = r.account_uuid \
     WHERE r.resource_uuid = $1 AND a.type <> 'SystemAdmin'";
const LIMIT: &str = "SELECT value FROM quota WHERE identity_uuid = $1 AND name = $2";

impl Quota {
    pub async fn limit(&self, tx: &mut Tx, account: Id<impl ?Sized>) -> Result<i64> {
        let set = tx.opt::<(i64,)>(LIMIT, args![account, self.name]).await?;
        Ok(set.map_or(self.default, |(value,)| value))
    }

    pub async fn used(&self, tx: &mut Tx, account: Id<impl ?Sized>) -> Result<i64> {
        let mut used = tx.number(self.used, args![account]).await?;
        for claim in tx.engine().claims(self.name) {
            used += tx.number(claim, args![account]).await?;
        }
        Ok(used)
    }
}

/// Refuses what was just claimed for `resource` in this transaction when its owner has more than it may have
/// now. The administrator may have anything.
pub async fn check(tx: &mut Tx, resource: Id<impl ?Sized>, claimed: &[(&Quota, i64)]) -> Result<()> {
    let Some((account, name)) = tx.opt::<(Id<Any>, String)>(TENANT, args![resource]).await? else {
        return Ok(());
    };
    for (quota, wanted) in claimed {
        let (limit, total) = (quota.limit(tx, account).await?, quota.used(tx, account).await?);
        if total > limit {
            let details = format!(
                "quota \"{}\" of account \"{name}\" is {limit}: {} are used and {wanted} more are wanted; \
                 delete something, or have the administrator raise it",
                quota.name,
                total - wanted
            );
            return Err(codes::QUOTA.because(details));
        }
    }
    Ok(())
}
