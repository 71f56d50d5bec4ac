//! What the host has, and what its running VMs were promised of it.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::host::{Capacity, GetCapacity};

use crate::state::Host;
use crate::sys::libvirt::{Domain, State};

pub async fn capacity(cx: Cx<Host>, _: GetCapacity) -> Result<Capacity, Fault> {
    let node = cx.libvirt.node().await?;
    let memory = cx.libvirt.memory().await?;
    let domains = cx.libvirt.domains().await?;
    let running = || domains.iter().filter(|domain| takes_room(domain));
    Ok(Capacity {
        cpu_num: node.cpus,
        cpu_speed: node.mhz,
        used_cpu: running().map(|domain| u64::from(domain.vcpus)).sum(),
        total_memory: memory.total,
        used_memory: running().map(|domain| domain.memory).sum(),
        cpu_sockets: node.sockets,
    })
}

/// A paused VM keeps its memory.
pub(super) fn takes_room(domain: &Domain) -> bool {
    !matches!(domain.state, State::Off | State::Crashed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn the_test_drivers_one_guest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let capacity = capacity(host(dir.path()), GetCapacity::default()).await.unwrap();
        assert!(capacity.cpu_num > 0 && capacity.cpu_sockets > 0 && capacity.cpu_speed > 0);
        assert!(capacity.used_cpu >= 2 && capacity.used_memory >= 8 << 30, "{capacity:?}");
    }
}
