//! `/flatnetworkprovider/dhcp/*`: handed on to the vrouter-agent of this host, which serves them. Who knows only
//! one agent per host, as ZStack's controller does, sends them here.
//!
//! A command goes on under its own task id and fence: repeated here, by whomever, it is repeated there and not
//! run twice. Its outcome there is its outcome here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use tokio::time::Instant;
use wire::agent::Cx;
use wire::caller::{CALLBACK_PATH, CallError, Caller};
use wire::calls::Done;
use wire::calls::dhcp::{Apply, BatchApply, BatchPrepare, Connect, DeleteNamespace, Prepare, Release};
use wire::tls::{Door, name};
use wire::{Call, Fault};

use crate::state::Host;

/// Where the vrouter-agent listens when nobody says otherwise.
const PORT: u16 = 7272;
/// It serves a network within seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The vrouter-agent of this host.
pub struct Vrouter {
    caller: Caller,
    url: String,
}

impl Vrouter {
    /// Behind `url`, or at its usual place on this machine. `door` is where it tells outcomes.
    pub fn beside(door: &Door, url: Option<&str>) -> Self {
        let here = usable(door.address());
        let (ear, usual) = match door.live() {
            None => (format!("http://{here}"), format!("http://{}", at(PORT))),
            Some(live) => {
                let machine = live.current().me().machine;
                let named = |address: SocketAddr| {
                    format!("https://{}:{}", name::of_machine(machine, address.ip()), address.port())
                };
                (named(here), named(at(PORT)))
            }
        };
        let url = url.map_or(usual, str::to_owned);
        Vrouter { caller: Caller::certified(format!("{ear}{CALLBACK_PATH}"), door.live().cloned()), url }
    }

    /// Takes in what the vrouter-agent reports.
    pub fn router(&self) -> Router {
        self.caller.router()
    }

    async fn hand_on<C: Call>(&self, cx: &Cx<Host>, cmd: &C) -> Result<C::Reply, Fault> {
        let (task, deadline) = (cx.task(), Instant::now() + PATIENCE);
        let told = self.caller.call(&self.url, &task.id, task.fence.as_ref(), deadline, cmd).await;
        told.map_err(|error| match error {
            CallError::Failed(fault) | CallError::Stale(fault) | CallError::Expired(fault) => fault,
            error => Fault::new(format!(
                "the vrouter-agent of this host: {error}: start it, or set vrouter-agent in the configuration"
            )),
        })
    }
}

/// Declares calls that the vrouter-agent serves.
macro_rules! handed_on {
    ($($name:ident($command:ty);)*) => {
        $(pub async fn $name(cx: Cx<Host>, cmd: $command) -> Result<Done, Fault> {
            cx.vrouter.hand_on(&cx, &cmd).await
        })*
    };
}

handed_on! {
    connect(Connect);
    prepare(Prepare);
    batch_prepare(BatchPrepare);
    apply(Apply);
    batch_apply(BatchApply);
    release(Release);
    delete_namespace(DeleteNamespace);
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Who listens everywhere is reached at home.
fn usable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at(address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => at(address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;
    use wire::agent::{Agent, Machine, Routes};

    use super::*;
    use crate::config::Config;

    /// The wire's own agent, with one operation that counts and refuses a name.
    async fn vrouter(dir: std::path::PathBuf, count: Arc<AtomicUsize>) -> String {
        let prepare = async |cx: Cx<AtomicUsize>, cmd: Prepare| {
            cx.fetch_add(1, Ordering::SeqCst);
            match cmd.bridge_name.as_str() {
                "" => Err(Fault::new("bridge \"\" is not on this host").with("bridge", "")),
                _ => Ok(Done {}),
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let agent = Agent { name: "vrouter", state_dir: dir, again: false };
        let routes = Routes::new(count).on(prepare);
        let (machine, never) = (Machine::here().unwrap(), CancellationToken::new());
        tokio::spawn(async move { agent.serve_on(listener, None, machine, routes, never).await });
        url
    }

    fn host(dir: &std::path::Path, url: &str) -> Cx<Host> {
        let config = Config {
            libvirt_uri: "test:///default".into(),
            state_dir: dir.join("kvm"),
            vrouter_agent: Some(url.into()),
            ..Config::default()
        };
        Cx::detached(Arc::new(Host::open(&config, &crate::testing::door()).unwrap()))
    }

    #[tokio::test]
    async fn a_command_is_handed_on_under_its_own_task_and_its_outcome_comes_back() {
        let (dir, count) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
        let url = vrouter(dir.path().join("vrouter"), count.clone()).await;
        let cx = host(dir.path(), &url);
        let sound = Prepare { bridge_name: "br_eth0".into(), ..Prepare::default() };
        for _ in 0..2 {
            prepare(cx.clone(), sound.clone()).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 1, "one task is run once, however often it is handed on");
        // A task of its own.
        let cx = Cx::detached(cx.state().clone());
        let refused = prepare(cx, Prepare::default()).await.unwrap_err();
        assert_eq!(
            (refused.error.as_str(), &refused.members["bridge"]),
            ("bridge \"\" is not on this host", &"".into())
        );
    }

    #[test]
    fn who_listens_everywhere_is_reached_at_home() {
        assert_eq!(usable("0.0.0.0:7070".parse().unwrap()), at(7070));
        assert_eq!(usable("10.0.0.1:7070".parse().unwrap()).to_string(), "10.0.0.1:7070");
    }
}
