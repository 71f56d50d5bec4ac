//! `deletenamespace`: nothing of a network stays.

use host::netns;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::dhcp::DeleteNamespace;

use super::Dhcp;
use super::name::Name;
use crate::sys::{dnsmasq, filter, port};

pub async fn delete(cx: Cx<Dhcp>, command: DeleteNamespace) -> Result<Done, Fault> {
    let name = Name::of(&command.namespace_name, &command.bridge_name)?;
    let _held = cx.locks.hold(&name.to_string()).await;
    cx.take_away(&name).await?;
    Ok(Done {})
}

impl Dhcp {
    /// Its directory goes last: as long as something is left, the inventory lists the network.
    pub(super) async fn take_away(&self, name: &Name) -> Result<(), Fault> {
        dnsmasq::stop(&self.records.dnsmasq_dir(name)).await?;
        filter::remove(name).await?;
        port::remove(name).await?;
        netns::delete(&name.to_string()).await?;
        self.records.remove(name)?;
        tracing::info!(namespace = %name, "removed");
        Ok(())
    }
}
