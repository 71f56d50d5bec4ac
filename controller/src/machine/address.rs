//! How agents are spoken with: the only place that makes their URLs.

use std::net::IpAddr;

use engine::db::Tx;
use engine::{Id, Result, codes};
use wire::tls::{Live, MachineId, Peer, Role, name};

use super::{Machine, store};

/// What the operator decided.
#[derive(Clone)]
pub enum Agents {
    /// Without TLS, as ZStack's agents are: whoever answers at an address is believed.
    Plain,
    /// Both sides prove who they are.
    Certified(Live),
}

impl Agents {
    /// Where the agent on `port` of a machine is. `address` is what the operator calls it by.
    pub fn url(&self, machine: Option<Id<Machine>>, address: &str, port: u16) -> String {
        match self {
            Agents::Plain => format!("http://{}:{port}", bracketed(address)),
            Agents::Certified(_) => format!("https://{}:{port}", self.host(machine, address)),
        }
    }

    /// How a machine is called in URLs.
    pub fn host(&self, machine: Option<Id<Machine>>, address: &str) -> String {
        let ip = address.parse::<IpAddr>();
        match (self, machine, ip) {
            (Agents::Certified(_), Some(machine), Ok(ip)) => name::of_machine(wired(machine), ip),
            // Added before there were certificates: nobody can prove to be that, until it is reconnected.
            (Agents::Certified(_), ..) => "not-enrolled.machine.cumulet".into(),
            (Agents::Plain, ..) => address.to_owned(),
        }
    }

    pub fn live(&self) -> Option<&Live> {
        match self {
            Agents::Plain => None,
            Agents::Certified(live) => Some(live),
        }
    }

    /// Whether `peer` may speak for `machine`.
    pub fn is(&self, peer: Option<&Peer>, machine: Option<Id<Machine>>) -> bool {
        match self {
            Agents::Plain => true,
            Agents::Certified(_) => {
                peer.is_some_and(|peer| machine.is_some_and(|machine| wired(machine) == peer.machine))
            }
        }
    }
}

/// The machine that is enrolled at `address` in `role`; none when agents are spoken with in the plain.
///
/// # Errors
/// When there is none, with the way to enrol it.
pub async fn at(tx: &mut Tx, address: &str, role: Role) -> Result<Option<Id<Machine>>> {
    if matches!(tx.engine().of::<Agents>(), Agents::Plain) {
        return Ok(None);
    }
    let Ok(ip) = address.parse::<IpAddr>() else {
        let details = format!("\"{address}\" is no IP address: machines are found by theirs");
        return Err(codes::INVALID_ARGUMENT.because(details));
    };
    let role = role.as_str();
    match store::at_address(tx, ip.to_canonical()).await? {
        Some(machine) if machine.has(role) => Ok(Some(machine.uuid)),
        Some(machine) => Err(codes::STATE.because(format!(
            "machine \"{}\" at {address} is enrolled as {} and not as {role}: revoke it, and enrol it again \
             with a token for both",
            machine.name, machine.roles
        ))),
        None => Err(codes::STATE.because(format!(
            "no machine is enrolled at {address}: get a token by POST /v1/enrolment-tokens with the role {role} \
             and run the agent's command \"enrol\" there"
        ))),
    }
}

pub(super) fn wired(machine: Id<Machine>) -> MachineId {
    machine.to_string().parse().expect("both are 32 hex digits")
}

pub(super) fn unwired(machine: MachineId) -> Id<Machine> {
    machine.to_string().parse().expect("both are 32 hex digits")
}

/// An IPv6 address stands in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
