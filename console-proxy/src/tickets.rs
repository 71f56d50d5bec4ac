//! Tickets: who has one sees one screen, once, before it expires.
//!
//! They live in memory alone: whoever restarts this program voids them all, and viewers ask for new ones.
//! A used ticket is remembered until it would have expired, so that neither its holder nor a late copy of
//! the command that made it gets in again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// More at a time mean that somebody makes them and nobody uses them.
const MOST: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub schema: Schema,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// A kvm-agent's WebSocket, which knows the same token.
    Agent,
    /// The same, which asks who we are and proves who it is.
    CertifiedAgent,
    /// A VNC server.
    Rfb,
}

#[derive(Clone, Debug)]
pub struct Ticket {
    pub vm: String,
    pub target: Target,
    pub expires: Instant,
    /// How long nothing may pass before the viewer is cut off.
    pub idle: Option<Duration>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    Used,
    Expired,
}

/// Why a ticket is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    #[error("a ticket with this token leads elsewhere: use another token")]
    Other,
    #[error("there are {MOST} tickets that nobody uses: wait until they expire")]
    TooMany,
}

/// One viewer let in.
#[derive(Debug)]
pub struct Admission {
    pub ticket: Ticket,
    /// Cancelled when the viewer must go.
    pub cut: CancellationToken,
}

#[derive(Default)]
pub struct Tickets(Mutex<HashMap<String, Entry>>);

struct Entry {
    ticket: Ticket,
    /// The viewer's, once there is or was one.
    cut: Option<CancellationToken>,
}

impl Tickets {
    /// Makes a ticket; making it again changes nothing, and revives none that was used.
    pub fn make(&self, token: &str, ticket: Ticket) -> Result<(), NotMade> {
        let mut entries = self.entries();
        let now = Instant::now();
        entries.retain(|_, entry| entry.ticket.expires > now || entry.is_viewed());
        match entries.get(token) {
            Some(entry) if entry.ticket.target != ticket.target => Err(NotMade::Other),
            Some(_) => Ok(()),
            None if entries.len() >= MOST => Err(NotMade::TooMany),
            None => {
                entries.insert(token.to_owned(), Entry { ticket, cut: None });
                Ok(())
            }
        }
    }

    /// Whether its holder would be let in.
    pub fn check(&self, token: &str) -> Result<(), Refusal> {
        self.entries().get(token).ok_or(Refusal::Unknown)?.check()
    }

    /// Uses the ticket up.
    pub fn admit(&self, token: &str) -> Result<Admission, Refusal> {
        let mut entries = self.entries();
        let entry = entries.get_mut(token).ok_or(Refusal::Unknown)?;
        entry.check()?;
        let cut = CancellationToken::new();
        entry.cut = Some(cut.clone());
        Ok(Admission { ticket: entry.ticket.clone(), cut })
    }

    /// Forgets the ticket and cuts its viewer off; without a token, all tickets of the VM.
    pub fn revoke(&self, token: &str, vm: &str) {
        self.entries().retain(|known, entry| {
            let meant =
                if token.is_empty() { !vm.is_empty() && entry.ticket.vm == vm } else { known == token };
            if meant {
                entry.cut.iter().for_each(CancellationToken::cancel);
            }
            !meant
        });
    }

    /// The VMs for which there is a ticket or a viewer.
    pub fn vms(&self) -> Vec<String> {
        let now = Instant::now();
        let entries = self.entries();
        let live = entries
            .values()
            .filter(|entry| entry.is_viewed() || (entry.cut.is_none() && entry.ticket.expires > now));
        live.map(|entry| entry.ticket.vm.clone()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn check(&self) -> Result<(), Refusal> {
        match &self.cut {
            Some(_) => Err(Refusal::Used),
            None if self.ticket.expires <= Instant::now() => Err(Refusal::Expired),
            None => Ok(()),
        }
    }

    /// A viewer that left has cancelled its token, too.
    fn is_viewed(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| !cut.is_cancelled())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Unknown => "This console link is not known here. It may have been withdrawn.",
            Refusal::Used => "This console link was used before. Every link works once.",
            Refusal::Expired => "This console link has expired.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(seconds: u64) -> Ticket {
        let target = Target { schema: Schema::Rfb, host: "127.0.0.1".into(), port: 5900 };
        let expires = Instant::now() + Duration::from_secs(seconds);
        Ticket { vm: "vm".into(), target, expires, idle: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_lets_one_in_once() {
        let tickets = Tickets::default();
        assert_eq!(tickets.check("t"), Err(Refusal::Unknown));
        tickets.make("t", ticket(60)).unwrap();
        assert_eq!(tickets.check("t"), Ok(()));
        drop(tickets.admit("t").unwrap());
        assert_eq!(tickets.admit("t").unwrap_err(), Refusal::Used);
        tickets.make("t", ticket(600)).unwrap();
        assert_eq!(tickets.check("t"), Err(Refusal::Used), "making it again revived it");
        assert!(tickets.vms().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_expires_and_is_forgotten_but_its_viewer_stays() {
        let tickets = Tickets::default();
        tickets.make("viewed", ticket(60)).unwrap();
        tickets.make("late", ticket(60)).unwrap();
        let admission = tickets.admit("viewed").unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(tickets.check("late"), Err(Refusal::Expired));
        tickets.make("other", ticket(60)).unwrap();
        assert_eq!(tickets.check("late"), Err(Refusal::Unknown));
        assert!(!admission.cut.is_cancelled());
        assert_eq!(tickets.vms().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_ticket_cuts_its_viewer_off() {
        let tickets = Tickets::default();
        for token in ["a", "b"] {
            tickets.make(token, ticket(60)).unwrap();
        }
        let (a, b) = (tickets.admit("a").unwrap(), tickets.admit("b").unwrap());
        tickets.revoke("a", "vm");
        assert!(a.cut.is_cancelled() && !b.cut.is_cancelled());
        tickets.revoke("", "");
        assert!(!b.cut.is_cancelled());
        tickets.revoke("", "vm");
        assert!(b.cut.is_cancelled());
        assert_eq!(tickets.check("a"), Err(Refusal::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_not_redirected_and_not_hoarded() {
        let tickets = Tickets::default();
        tickets.make("t", ticket(60)).unwrap();
        let mut other = ticket(60);
        other.target.port = 1;
        assert_eq!(tickets.make("t", other), Err(NotMade::Other));
        for n in 1..MOST {
            tickets.make(&n.to_string(), ticket(60)).unwrap();
        }
        assert_eq!(tickets.make("more", ticket(60)), Err(NotMade::TooMany));
        tokio::time::advance(Duration::from_secs(61)).await;
        tickets.make("more", ticket(60)).unwrap();
    }
}
