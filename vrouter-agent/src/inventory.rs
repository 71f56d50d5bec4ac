//! All that this program made on the host.

use std::sync::Arc;

use wire::Fault;
use wire::agent::Owned;

use crate::dhcp::Dhcp;
use crate::dhcp::name::Name;
use crate::sys::{dnsmasq, port};

pub async fn list(dhcp: Arc<Dhcp>) -> Result<Vec<Owned>, Fault> {
    let mut all = Vec::new();
    for name in dhcp.records().names()? {
        all.extend(of_network(&dhcp, &name)?);
    }
    let ports = port::all().await?;
    all.extend(ports.into_iter().map(|(name, mark)| Owned { kind: "veth".into(), name, resource: mark }));
    Ok(all)
}

fn of_network(dhcp: &Dhcp, name: &Name) -> Result<Vec<Owned>, Fault> {
    let owned =
        |kind: &str, what: String| Owned { kind: kind.into(), name: what, resource: Some(name.l3().into()) };
    let mut all = vec![owned("namespace", name.to_string())];
    let servers = dnsmasq::all(&dhcp.records().dnsmasq_dir(name))?;
    all.extend(servers.iter().map(|pid| owned("dnsmasq", pid.to_string())));
    match dhcp.records().load(name) {
        Ok(network) => {
            let leases = network.into_iter().flat_map(|network| network.leases.into_keys());
            all.extend(leases.map(|mac| owned("lease", mac)));
        }
        Err(error) => tracing::warn!(%error, "the leases of a network are unknown"),
    }
    Ok(all)
}
