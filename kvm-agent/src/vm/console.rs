//! A VM's screen.
//!
//! VNC listens on loopback. A viewer gets there by a WebSocket to `/vm/console/{token}`: the token is the
//! controller's, opens one VM's screen, once, until it expires, and is kept in memory only. A token that
//! is unknown, used or expired is refused with 403.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::vm::{DeleteConsoleFirewall, GetVncPort, HardenConsole, OpenConsole, VncPort};

use super::{checked, not_here, plug, relay};
use crate::state::Host;

/// Viewers at one time; each holds two sockets and two buffers.
const MOST_VIEWERS: usize = 128;
/// Tokens that wait for their viewers.
const MOST_TOKENS: usize = 4096;
/// Far more than a viewer sends at once.
const LARGEST_MESSAGE: usize = 1 << 20;

/// Who may see which VM's screen.
pub struct Consoles {
    grants: Mutex<HashMap<String, Grant>>,
    viewers: Arc<Semaphore>,
}

struct Grant {
    vm: String,
    /// Unix time in milliseconds.
    expires: u64,
}

pub async fn get_vnc_port(cx: Cx<Host>, cmd: GetVncPort) -> Result<VncPort, Fault> {
    let port = port(&cx, &checked(&cmd.vm_uuid)?).await?;
    Ok(VncPort { port, protocol: "vnc".into(), vnc_port: Some(port) })
}

pub async fn open_console(cx: Cx<Host>, cmd: OpenConsole) -> Result<Done, Fault> {
    let vm = checked(&cmd.vm_uuid)?;
    port(&cx, &vm).await?;
    cx.consoles.grant(cmd.token, Grant { vm, expires: cmd.expires })?;
    Ok(Done {})
}

/// A VM that another agent has started may listen elsewhere.
pub async fn harden_console(cx: Cx<Host>, cmd: HardenConsole) -> Result<Done, Fault> {
    let vm = checked(&cmd.vm_uuid)?;
    let live = plug::live(&cx, &vm).await?;
    let local = |address: &&str| address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match live.screen_addresses().into_iter().find(|address| !local(address)) {
        None => Ok(Done {}),
        Some(address) => Err(Fault::new(format!(
            "the screen of vm {vm} is seen at {address}: stop the vm and start it again"
        ))),
    }
}

pub async fn delete_console_firewall(_: Cx<Host>, _: DeleteConsoleFirewall) -> Result<Done, Fault> {
    Ok(Done {})
}

/// The WebSocket, beside the commands.
pub fn routes(host: Arc<Host>) -> Router {
    Router::new().route("/vm/console/{token}", get(view)).with_state(host)
}

async fn view(
    State(host): State<Arc<Host>>,
    Path(token): Path<String>,
    socket: WebSocketUpgrade,
) -> Response {
    let Some(vm) = host.consoles.take(&token) else { return StatusCode::FORBIDDEN.into_response() };
    let Ok(place) = host.consoles.viewers.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many viewers").into_response();
    };
    match screen(&host, &vm).await {
        Ok(screen) => connect(socket, screen, vm, place),
        Err(fault) => (StatusCode::BAD_GATEWAY, fault.error).into_response(),
    }
}

fn connect(socket: WebSocketUpgrade, screen: TcpStream, vm: String, place: OwnedSemaphorePermit) -> Response {
    let socket =
        socket.protocols(["binary"]).max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE);
    socket.on_upgrade(move |socket| async move {
        tracing::info!(vm, "viewer connected");
        relay::run(socket, screen).await;
        tracing::info!(vm, "viewer gone");
        drop(place);
    })
}

async fn screen(host: &Host, vm: &str) -> Result<TcpStream, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(host, vm).await?));
    let connected = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await;
    let screen = connected.map_err(|_| Fault::new(format!("the screen of vm {vm} does not answer")))??;
    screen.set_nodelay(true)?;
    Ok(screen)
}

async fn port(host: &Host, vm: &str) -> Result<u16, Fault> {
    let live = host.libvirt.live(vm).await.map_err(|error| match error.is_missing() {
        true => not_here(vm),
        false => error.into(),
    })?;
    live.vnc_port().ok_or_else(|| Fault::new(format!("vm {vm} has no screen yet")))
}

impl Default for Consoles {
    fn default() -> Self {
        Consoles { grants: Mutex::default(), viewers: Arc::new(Semaphore::new(MOST_VIEWERS)) }
    }
}

impl Consoles {
    fn grant(&self, token: String, grant: Grant) -> Result<(), Fault> {
        if !(16..=128).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Fault::new(
                "the console token is not sound: it must be 16 to 128 letters and digits",
            ));
        }
        let mut grants = self.grants.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = now();
        grants.retain(|_, grant| grant.expires > now);
        if grants.len() >= MOST_TOKENS {
            return Err(Fault::new(format!(
                "{MOST_TOKENS} console tokens wait for their viewers: try later"
            )));
        }
        grants.insert(token, grant);
        Ok(())
    }

    /// The VM that `token` opens. It opens it no more.
    fn take(&self, token: &str) -> Option<String> {
        let mut grants = self.grants.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        grants.remove(token).filter(|grant| grant.expires > now()).map(|grant| grant.vm)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn grant(consoles: &Consoles, expires: u64) {
        consoles.grant(TOKEN.into(), Grant { vm: "vm".into(), expires }).unwrap();
    }

    #[test]
    fn a_token_opens_once() {
        let consoles = Consoles::default();
        grant(&consoles, now() + 60_000);
        assert_eq!(consoles.take(TOKEN).as_deref(), Some("vm"));
        assert_eq!(consoles.take(TOKEN), None);
    }

    #[test]
    fn a_token_that_expired_opens_nothing() {
        let consoles = Consoles::default();
        grant(&consoles, now() - 1);
        assert_eq!(consoles.take(TOKEN), None);
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        for token in ["", "short", "0123456789abcde/", "../../../../etc/"] {
            let grant = Grant { vm: "vm".into(), expires: u64::MAX };
            assert!(Consoles::default().grant(token.into(), grant).is_err(), "{token}");
        }
    }
}
