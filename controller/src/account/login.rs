//! Guessing of passwords is slowed down, and all controllers remember it.
//!
//! What counts is a failure of the account's name at one address, of the address, and (but for the
//! administrator, who is never kept out of other addresses) of the name alone. Names that do not exist count
//! like others. Passwords are judged a few at a time ([`super::password::turn`]), and a failure is written
//! down before the next one has its turn: many guesses at once gain nothing.

use std::net::IpAddr;
use std::time::Duration;

use engine::db::Tx;
use engine::setting::{Setting, number};
use engine::{Result, Stamp, codes};

use super::store::login as store;

pub(super) const ATTEMPTS: Setting<i64> = Setting {
    category: "identity",
    name: "login.attempts",
    default: "5",
    help: "so many logins with a name may fail at one address before that is locked for a while; \
           four times as many with any name, ten times as many at all addresses",
    read: number::<1, 1000>,
};

/// The first lock lasts so long, each further one twice as long as the one before.
const LOCK: Duration = Duration::from_secs(30);
const LONGEST_LOCK: Duration = Duration::from_secs(900);

/// One attempt to log in.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    name: String,
    address: String,
}

impl Attempt {
    /// With the account's name, or a user's after a slash.
    pub fn new(name: String, address: Option<IpAddr>) -> Self {
        Attempt { name, address: address.map_or_else(|| "nowhere".into(), |address| address.to_string()) }
    }

    fn together(&self) -> String {
        format!("{} at {}", self.name, self.address)
    }

    fn place(&self) -> String {
        format!("at {}", self.address)
    }

    /// The administrator must not be kept out by somebody who fails elsewhere.
    fn alone(&self) -> Option<String> {
        (self.name != "admin").then(|| format!("{} anywhere", self.name))
    }

    /// What it counts for, and how often that may fail.
    fn subjects(&self, limit: i64) -> impl Iterator<Item = (String, i64)> {
        let alone = self.alone().map(|name| (name, limit * 10));
        [(self.together(), limit), (self.place(), limit * 4)].into_iter().chain(alone)
    }

    /// Refuses it while it is locked.
    pub async fn check(&self, tx: &mut Tx) -> Result<()> {
        let now = Stamp::now();
        for (subject, _) in self.subjects(1) {
            let until = store::tried(tx, &subject).await?.locked_until;
            if until > now {
                let seconds = (until.0 - now.0) / 1_000_000 + 1;
                return Err(codes::LOCKED.because(format!(
                    "too many logins have failed here: try again in {seconds} s, after {until} UTC"
                )));
            }
        }
        Ok(())
    }

    /// Counts it.
    pub async fn failed(&self, tx: &mut Tx) -> Result<()> {
        let limit = tx.engine().setting(&ATTEMPTS);
        for (subject, limit) in self.subjects(limit) {
            let mut tried = store::tried(tx, &subject).await?;
            tried.attempts += 1;
            if tried.attempts >= limit {
                tried.locked_until = Stamp::now().plus(pause(tried.attempts - limit));
            }
            store::enter(tx, &subject, tried).await?;
        }
        Ok(())
    }

    pub async fn succeeded(&self, tx: &mut Tx) -> Result<()> {
        store::forget(tx, &self.together()).await?;
        if let Some(name) = self.alone() {
            store::forget(tx, &name).await?;
        }
        store::take_back(tx, &self.place()).await
    }
}

fn pause(beyond: i64) -> Duration {
    let doublings = u32::try_from(beyond.clamp(0, 10)).unwrap_or(10);
    (LOCK * 2_u32.pow(doublings)).min(LONGEST_LOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_doubles_up_to_its_longest() {
        let seconds: Vec<_> = [0, 1, 2, 20].map(|beyond| pause(beyond).as_secs()).to_vec();
        assert_eq!(seconds, [30, 60, 120, 900]);
    }

    #[test]
    fn the_administrator_is_never_locked_everywhere() {
        assert!(Attempt::new("admin".into(), None).alone().is_none());
        assert!(Attempt::new("admin2".into(), None).alone().is_some());
    }
}
