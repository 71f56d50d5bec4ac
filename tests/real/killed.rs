//! Agents that are killed while they work, on real parts.

use std::time::Duration;

use tokio::time::sleep;

use super::cloud::cloud;

/// From the arrival of the first command to some time after the VM's start.
const MOMENTS: [u64; 5] = [50, 200, 450, 800, 1500];

#[tokio::test]
async fn a_vm_is_created_once_whenever_its_hosts_agent_is_killed() {
    let mut cloud = cloud("killed", 1).await;
    for (n, moment) in MOMENTS.into_iter().enumerate() {
        let name = format!("vm-{n}");
        let location = cloud.begin_vm(&name).await.unwrap();
        sleep(Duration::from_millis(moment)).await;
        cloud.kill("kvm-agent", "host-1").await.unwrap();
        sleep(Duration::from_millis(200)).await;
        cloud.start_again("kvm-agent", "host-1").await.unwrap();
        let vm = cloud.api().follow(&location).await.unwrap_or_else(|e| panic!("{moment} ms: {e:#}"));
        assert_eq!(vm["inventory"]["state"], "Running", "{moment} ms");
        let held = cloud.inventory().await.unwrap();
        for kind in ["domain", "volume", "tap"] {
            let count = held.iter().filter(|one| one.starts_with(&format!("{kind} "))).count();
            assert_eq!(count, n + 1, "{moment} ms: {kind}s of {held:?}");
        }
    }
    cloud.tear_down().await.unwrap();
}
