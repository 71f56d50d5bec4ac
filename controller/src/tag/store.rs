use engine::db::Tx;
use engine::{Any, Id, Result, Stamp, args};

use super::Tag;

const UPDATE: &str = "UPDATE system_tag SET tag = $2, pattern = $3, last_op_date = $4 WHERE uuid = $1";
const INHERENT: &str = "SELECT tag FROM system_tag WHERE uuid = $1 AND inherent";

/// The tag says something else from now on.
pub(super) async fn update(tx: &mut Tx, uuid: Id<Tag>, text: &str, pattern: &str) -> Result<()> {
    tx.exec(UPDATE, args![uuid, text, pattern, Stamp::now()]).await?;
    Ok(())
}

/// What it says, when it is the cloud's own.
pub(super) async fn inherent(tx: &mut Tx, uuid: Id<Any>) -> Result<Option<String>> {
    Ok(tx.opt::<(String,)>(INHERENT, args![uuid]).await?.map(|row| row.0))
}
