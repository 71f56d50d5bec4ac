//! The controller's side: `/console/*`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wire::Fault;
use wire::agent::{Cx, Owned, Routes};
use wire::calls::Done;
use wire::calls::console::{Check, Checked, Delete, Establish, Established, Ping};

use crate::tickets::{Schema, Target, Ticket, Tickets};

/// Guessing one must be hopeless.
const SHORTEST_TOKEN: usize = 16;
const LONGEST_TOKEN: usize = 256;

pub struct Consoles {
    pub tickets: Arc<Tickets>,
    /// Where browsers come in.
    pub port: u16,
}

pub fn routes(routes: Routes<Consoles>) -> Routes<Consoles> {
    routes.on(establish).on(check).on(delete).on(ping).inventory(inventory)
}

async fn establish(cx: Cx<Consoles>, command: Establish) -> Result<Established, Fault> {
    let ticket = ticket(&command, SystemTime::now())?;
    cx.tickets.make(&command.token, ticket)?;
    Ok(Established { proxy_port: cx.port, token: command.token })
}

async fn check(cx: Cx<Consoles>, command: Check) -> Result<Checked, Fault> {
    Ok(Checked { available: cx.tickets.check(&command.token).is_ok() })
}

async fn delete(cx: Cx<Consoles>, command: Delete) -> Result<Done, Fault> {
    cx.tickets.revoke(&command.token, &command.vm_uuid);
    Ok(Done {})
}

async fn ping(_: Cx<Consoles>, _: Ping) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn inventory(consoles: Arc<Consoles>) -> Result<Vec<Owned>, Fault> {
    let of = |vm: String| Owned { kind: "console".into(), name: vm.clone(), resource: Some(vm) };
    Ok(consoles.tickets.vms().into_iter().map(of).collect())
}

fn ticket(command: &Establish, now: SystemTime) -> Result<Ticket, Fault> {
    check_token(&command.token)?;
    let schema = match command.target_schema.as_str() {
        "ws" => Schema::Agent,
        "wss" => Schema::CertifiedAgent,
        "vnc" => Schema::Rfb,
        other => {
            return Err(Fault::new(format!(
                "console target schema {other:?} is not served: use ws, wss or vnc"
            )));
        }
    };
    if command.target_hostname.is_empty() || command.target_port == 0 {
        return Err(Fault::new("a console target needs a hostname and a port"));
    }
    let target = Target { schema, host: command.target_hostname.clone(), port: command.target_port };
    let idle = (command.idle_timeout > 0).then(|| Duration::from_secs(command.idle_timeout));
    let expires = Instant::now() + left(command, now)?;
    Ok(Ticket { vm: command.vm_uuid.clone(), target, expires, idle })
}

/// How long the ticket is good: until its date, or for its time (in seconds) when it has no date.
fn left(command: &Establish, now: SystemTime) -> Result<Duration, Fault> {
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
    if command.expired_date == 0 && command.vnc_token_timeout == 0 {
        return Err(Fault::new("a console ticket needs a date when it expires"));
    }
    let dated = UNIX_EPOCH.checked_add(Duration::from_millis(command.expired_date));
    let left = match dated {
        _ if command.expired_date == 0 => Duration::from_secs(command.vnc_token_timeout),
        Some(date) => date.duration_since(now).unwrap_or_default(),
        None => LONGEST,
    };
    if left.is_zero() {
        return Err(Fault::new("the console ticket has expired before it was made: compare the clocks"));
    }
    Ok(left.min(LONGEST))
}

/// It stands in URLs and is all that a viewer has to show.
fn check_token(token: &str) -> Result<(), Fault> {
    let sound = (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let refused = || Fault::new("a console token has 16 to 256 letters, digits or characters of -._~");
    sound.then_some(()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Establish {
        Establish {
            token: "0123456789abcdef".into(),
            target_schema: "ws".into(),
            target_hostname: "10.0.0.5".into(),
            target_port: 7070,
            expired_date: 1_000_000,
            ..Establish::default()
        }
    }

    fn error(change: impl FnOnce(&mut Establish)) -> String {
        let mut command = command();
        change(&mut command);
        ticket(&command, UNIX_EPOCH + Duration::from_secs(900)).unwrap_err().error
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_lasts_until_its_date_or_for_its_time() {
        let now = UNIX_EPOCH + Duration::from_secs(900);
        let lasts = |command| (ticket(&command, now).unwrap().expires - Instant::now()).as_secs();
        assert_eq!(lasts(command()), 100);
        assert_eq!(lasts(Establish { expired_date: 0, vnc_token_timeout: 60, ..command() }), 60);
        assert_eq!(lasts(Establish { expired_date: u64::MAX, ..command() }), 366 * 24 * 3600);
    }

    #[tokio::test]
    async fn what_cannot_be_relayed_is_refused() {
        assert!(error(|c| c.token = "short".into()).contains("16 to 256"));
        assert!(error(|c| c.token = "0123456789abcdef/../..".into()).contains("16 to 256"));
        assert!(error(|c| c.target_schema = "http".into()).contains("use ws, wss or vnc"));
        assert!(error(|c| c.target_port = 0).contains("port"));
        assert!(error(|c| c.expired_date = 899_000).contains("clocks"));
        assert!(error(|c| c.expired_date = 0).contains("date"));
    }
}
