use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::Agent;
use engine::{Any, Engine, Id, Result, Stamp, api, codes};
use serde_json::{Value, json};
use wire::calls::{console as call, vm};
use wire::tls::Role;

use super::{IDLE_TIMEOUT, TOKEN_TIMEOUT, store};
use crate::config::{Console, Ports};
use crate::host::{self, HostInventory, kvm};
use crate::machine::{self, Agents};

/// How long each of the two programs may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What browsers speak to the proxy.
const SCHEME: &str = "http";

api! {
    RequestConsoleAccess: POST "/consoles" "params" changes ["vmInstanceUuid"] {
        vm_instance_uuid: Id<Any>,
    }
}

impl Api for RequestConsoleAccess {
    const ROUTE: Route = RequestConsoleAccess::ROUTE;

    /// Nothing of it is in the database: when the controller dies meanwhile, the ticket that was made
    /// opens nothing to anybody and expires, and the repeated call makes another.
    async fn run(self, job: Job) -> Result<Settled> {
        let engine = job.engine().clone();
        let host = host_of(&mut engine.db().read().await?, self.vm_instance_uuid).await?;
        let proxy = proxy(&engine).await?;
        let ticket = Ticket::new(&engine, self.vm_instance_uuid);
        ticket.open(&engine, &host).await?;
        ticket.establish(&engine, &host, &proxy).await?;
        let answer = ticket.shown(&engine);
        job.write(move |_| Box::pin(async move { Ok(answer) })).await
    }
}

/// The host on which the VM runs and can be seen.
async fn host_of(tx: &mut Tx, uuid: Id<Any>) -> Result<HostInventory> {
    let Some(vm) = store::vm(tx, uuid).await? else {
        return Err(
            codes::NOT_FOUND.because(format!("there is no vm of uuid {uuid}; it may have been deleted"))
        );
    };
    match (vm.state.as_str(), vm.host_uuid) {
        ("Running", Some(host)) => host::usable(tx, host).await,
        _ => Err(codes::STATE.because(format!(
            "vm \"{}\" is {}: only a running vm has a console, start it first",
            vm.name, vm.state
        ))),
    }
}

async fn proxy(engine: &Engine) -> Result<Agent> {
    let address = &engine.of::<Console>().proxy_address;
    let machine = machine::at(&mut engine.db().read().await?, address, Role::ConsoleProxy).await?;
    let url = engine.of::<Agents>().url(machine, address, engine.of::<Ports>().console_proxy);
    Ok(Agent { url, name: "the console proxy".into() })
}

/// How the proxy reaches the screen: the kvm-agent's WebSocket.
fn target_scheme(engine: &Engine) -> &'static str {
    match engine.of::<Agents>() {
        Agents::Plain => "ws",
        Agents::Certified(_) => "wss",
    }
}

/// Lets one viewer through to the screen of one VM, once, for a while.
struct Ticket {
    token: String,
    vm: Id<Any>,
    expires: Stamp,
    timeout: Duration,
}

impl Ticket {
    fn new(engine: &Engine, vm: Id<Any>) -> Ticket {
        let timeout = engine.setting(&TOKEN_TIMEOUT);
        let token = hex::encode(rand::random::<[u8; 32]>());
        Ticket { token, vm, expires: Stamp::now().plus(timeout), timeout }
    }

    /// At the screen.
    async fn open(&self, engine: &Engine, host: &HostInventory) -> Result<()> {
        let command = vm::OpenConsole {
            vm_uuid: self.vm.to_string(),
            token: self.token.clone(),
            expires: self.expires.millis(),
        };
        engine.ask(&kvm::agent(engine, host), &command, LIMIT).await.map(|_| ())
    }

    /// At the front door.
    async fn establish(&self, engine: &Engine, host: &HostInventory, proxy: &Agent) -> Result<()> {
        let (ports, console) = (engine.of::<Ports>(), engine.of::<Console>());
        let command = call::Establish {
            token: self.token.clone(),
            target_schema: target_scheme(engine).into(),
            target_hostname: engine.of::<Agents>().host(host.machine_uuid, &host.management_ip),
            target_port: ports.kvm_agent,
            proxy_hostname: console.hostname().to_owned(),
            proxy_port: console.public_port,
            vm_uuid: self.vm.to_string(),
            scheme: SCHEME.into(),
            idle_timeout: engine.setting(&IDLE_TIMEOUT).as_secs(),
            vnc_token_timeout: self.timeout.as_secs(),
            expired_date: self.expires.millis(),
        };
        engine.ask(proxy, &command, LIMIT).await.map(|_| ())
    }

    fn shown(self, engine: &Engine) -> Value {
        let console = engine.of::<Console>();
        let (hostname, port) = (console.hostname(), console.public_port);
        json!({ "inventory": {
            "scheme": SCHEME,
            "targetScheme": target_scheme(engine),
            "hostname": hostname,
            "port": port,
            "token": self.token,
            "version": env!("CARGO_PKG_VERSION"),
            "expiredDate": self.expires,
            "url": format!("{SCHEME}://{hostname}:{port}/vnc.html?token={}", self.token),
        }})
    }
}
