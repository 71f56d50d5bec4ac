//! What the host has been told and what it needs.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::machine::{UpdateConfiguration, UpdateDependency};

use crate::state::Host;
use crate::sys::machine;

/// Programs that operations run, and the packages that bring them.
const NEEDED: [(&str, &str); 3] = [("qemu-img", "qemu-utils"), ("tc", "iproute2"), ("nft", "nftables")];

/// Another controller has taken over.
pub async fn update_configuration(cx: Cx<Host>, cmd: UpdateConfiguration) -> Result<Done, Fault> {
    if cmd.send_command_url.is_empty() {
        return Err(Fault::new("sendCommandUrl is empty: name the controller's address"));
    }
    cx.introduction.change(|known| known.send_command_url = cmd.send_command_url).await?;
    Ok(Done {})
}

pub async fn update_dependency(_: Cx<Host>, cmd: UpdateDependency) -> Result<Done, Fault> {
    if cmd.update_packages.is_some_and(|packages| !packages.is_empty()) {
        return Err(Fault::new("updatePackages: this agent installs nothing: use the host's own packages"));
    }
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| !machine::has_program(program)).collect();
    if missing.is_empty() {
        return Ok(Done {});
    }
    let told: Vec<String> =
        missing.iter().map(|(program, package)| format!("{program} ({package})")).collect();
    Err(Fault::new(format!("programs are missing: install {}", told.join(", "))))
}

#[cfg(test)]
mod tests {
    use wire::calls::host::Ping;

    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn a_new_controller_is_remembered_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cx = host(dir.path());
        let introduction =
            crate::state::Introduction { host_uuid: "h".into(), version: "5.2".into(), ..Default::default() };
        cx.introduction.set(introduction).await.unwrap();
        let url = || "http://192.0.2.2:8080/x".to_owned();
        let cmd = UpdateConfiguration { send_command_url: url(), ..Default::default() };
        update_configuration(cx, cmd).await.unwrap();
        let pong = crate::host::ping(host(dir.path()), Ping::default()).await.unwrap();
        assert_eq!((pong.send_command_url, pong.host_uuid.as_str()), (url(), "h"));
    }

    #[tokio::test]
    async fn what_is_needed_is_here_and_nothing_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let cx = host(dir.path());
        update_dependency(cx.clone(), UpdateDependency::default()).await.unwrap();
        let more = UpdateDependency { update_packages: Some("qemu".into()), ..Default::default() };
        assert!(update_dependency(cx, more).await.unwrap_err().error.starts_with("updatePackages"));
        assert!(!machine::has_program("no-such-program"));
    }
}
