use std::time::Duration;

use engine::db::Tx;
use engine::{Result, Stamp, args};

const ATTEMPTS: &str = "SELECT attempts, locked_until, last_op_date FROM login_attempt WHERE subject = $1";
const ENTER: &str = "INSERT INTO login_attempt (subject, attempts, locked_until, last_op_date) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO UPDATE SET attempts = excluded.attempts, \
     locked_until = excluded.locked_until, last_op_date = excluded.last_op_date";
const FORGET: &str = "DELETE FROM login_attempt WHERE subject = $1";
const LESS: &str = "UPDATE login_attempt SET attempts = attempts - 1 WHERE subject = $1 AND attempts > 0";
const EXPIRE: &str = "DELETE FROM login_attempt WHERE last_op_date < $1 AND locked_until < $2";

/// Attempts are forgotten after so long without another.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What has been tried of a subject.
#[derive(Clone, Copy, Debug)]
pub(in crate::account) struct Tried {
    pub attempts: i64,
    pub locked_until: Stamp,
}

pub(in crate::account) async fn tried(tx: &mut Tx, subject: &str) -> Result<Tried> {
    let known = tx.opt::<(i64, Stamp, Stamp)>(ATTEMPTS, args![subject]).await?;
    let fresh = known.filter(|(.., last)| last.plus(REMEMBERED) > Stamp::now());
    Ok(match (known, fresh) {
        (Some((_, locked_until, _)), None) => Tried { attempts: 0, locked_until },
        (_, Some((attempts, locked_until, _))) => Tried { attempts, locked_until },
        (None, None) => Tried { attempts: 0, locked_until: Stamp(0) },
    })
}

pub(in crate::account) async fn enter(tx: &mut Tx, subject: &str, tried: Tried) -> Result<()> {
    tx.exec(ENTER, args![subject, tried.attempts, tried.locked_until, Stamp::now()]).await?;
    Ok(())
}

pub(in crate::account) async fn forget(tx: &mut Tx, subject: &str) -> Result<()> {
    tx.exec(FORGET, args![subject]).await?;
    Ok(())
}

/// One failure of this subject is made up for.
pub(in crate::account) async fn take_back(tx: &mut Tx, subject: &str) -> Result<()> {
    tx.exec(LESS, args![subject]).await?;
    Ok(())
}

pub(super) async fn expire(tx: &mut Tx, now: Stamp) -> Result<()> {
    tx.exec(EXPIRE, args![now.minus(REMEMBERED), now]).await?;
    Ok(())
}
