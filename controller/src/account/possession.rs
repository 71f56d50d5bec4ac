//! What an account owns and what has no life outside the database: it goes with its account.

use engine::boxed;
use engine::cascade::{How, Kind};
use engine::db::Tx;
use engine::{Any, Id, Result, args};

/// A kind of such things.
pub struct Possession {
    pub name: &'static str,
    /// Deletes the row `$1`.
    pub delete: &'static str,
}

#[boxed]
impl Kind for Possession {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        tx.exec(self.delete, args![id]).await.map(|_| ())
    }
}
