//! Ends the host, when its operator has allowed it and no VM runs.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::machine::{Reboot, Shutdown};

use super::capacity::takes_room;
use crate::state::Host;
use crate::sys::power::{self, End};

/// The host goes a moment after the answer: its outcome is in the journal by then.
pub async fn reboot(cx: Cx<Host>, _: Reboot) -> Result<Done, Fault> {
    end(&cx, End::Reboot).await
}

pub async fn shutdown(cx: Cx<Host>, _: Shutdown) -> Result<Done, Fault> {
    end(&cx, End::PowerOff).await
}

async fn end(cx: &Cx<Host>, end: End) -> Result<Done, Fault> {
    if !cx.allow_power {
        return Err(Fault::new(
            "this host is not ended from afar: set allow-power = true in the kvm-agent's configuration",
        ));
    }
    let domains = cx.libvirt.domains().await?;
    let running: Vec<&str> =
        domains.iter().filter(|domain| takes_room(domain)).map(|domain| domain.name.as_str()).collect();
    if !running.is_empty() {
        return Err(Fault::new(format!("vms run on this host: stop or move {running:?} first")));
    }
    tracing::warn!(?end, "the host goes down, as it was told to");
    Ok(power::end(end).await.map(|()| Done {})?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    /// The test driver has a VM that runs.
    #[tokio::test]
    async fn a_host_is_ended_only_when_that_is_allowed_and_nobody_is_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let refused = reboot(host(dir.path()), Reboot {}).await.unwrap_err().error;
        assert!(refused.contains("allow-power"), "{refused}");
        let config = crate::config::Config {
            libvirt_uri: "test:///default".into(),
            state_dir: dir.path().join("allowed"),
            allow_power: true,
            ..Default::default()
        };
        let cx = Cx::detached(std::sync::Arc::new(Host::open(&config, &crate::testing::door()).unwrap()));
        let refused = shutdown(cx, Shutdown {}).await.unwrap_err().error;
        assert!(refused.starts_with("vms run on this host"), "{refused}");
    }
}
