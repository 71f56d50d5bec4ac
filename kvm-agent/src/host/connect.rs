//! Who manages this host.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::host::{Connect, Connected, Echo, Ping, Pong};

use crate::state::{Host, Introduction};

/// Remembers the controller that connects; the reply proves that libvirt answers.
pub async fn connect(cx: Cx<Host>, cmd: Connect) -> Result<Connected, Fault> {
    let (libvirt_version, qemu_version) = cx.libvirt.versions().await?;
    if cmd.page_table_extension_disabled || !cmd.iptables_rules.is_empty() {
        tracing::warn!("page table extension and iptables rules are left to the operator");
    }
    if cmd.ignore_msrs {
        ignore_msrs()?;
    }
    let introduction = Introduction {
        host_uuid: cmd.host_uuid,
        send_command_url: cmd.send_command_url,
        version: cmd.version,
    };
    tracing::info!(host = introduction.host_uuid, controller = introduction.send_command_url, "connected");
    cx.introduction.set(introduction).await?;
    Ok(Connected { libvirt_version, qemu_version })
}

pub async fn echo(_: Cx<Host>, _: Echo) -> Result<Done, Fault> {
    Ok(Done {})
}

/// Never waits for libvirt: it tells whether the agent lives. Who knows this host rightly may ask for
/// heartbeats; nobody remembers that over a restart, but a host that falls silent is pinged.
pub async fn ping(cx: Cx<Host>, cmd: Ping) -> Result<Pong, Fault> {
    let Introduction { host_uuid, send_command_url, version } = cx.introduction.get().await;
    if let Some(orders) = cmd.heartbeat.filter(|_| cmd.host_uuid == host_uuid) {
        let obeyed = cx.heart.obey(&host_uuid, &orders);
        obeyed.unwrap_or_else(|error| tracing::warn!(%error, "no heartbeats are sent"));
    }
    Ok(Pong { host_uuid, send_command_url, version })
}

/// Lets guests touch model-specific registers that KVM does not know. Not there: no KVM, nothing to do.
fn ignore_msrs() -> std::io::Result<()> {
    match std::fs::write("/sys/module/kvm/parameters/ignore_msrs", "1") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::calls::host::Heartbeat;

    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn a_ping_tells_what_the_last_connect_said_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = host(dir.path());
        assert_eq!(ping(first.clone(), Ping::default()).await.unwrap(), Pong::default());
        let cmd = Connect { host_uuid: "h".into(), version: "5.2".into(), ..Connect::default() };
        let connected = connect(first, cmd).await.unwrap();
        assert!(!connected.libvirt_version.is_empty() && !connected.qemu_version.is_empty());
        let pong = ping(host(dir.path()), Ping::default()).await.unwrap();
        assert_eq!((pong.host_uuid.as_str(), pong.version.as_str()), ("h", "5.2"));
    }

    #[tokio::test]
    async fn a_host_beats_for_who_knows_it_and_for_nobody_else() {
        let (dir, host_uuid) = (tempfile::tempdir().unwrap(), format!("{:032x}", 7));
        let ear = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let cx = host(dir.path());
        let cmd = Connect { host_uuid: host_uuid.clone(), ..Connect::default() };
        connect(cx.clone(), cmd).await.unwrap();
        let addresses = vec![ear.local_addr().unwrap().to_string()];
        let heartbeat = Some(Heartbeat { addresses, key: "ab".repeat(32), interval: 50 });
        let mut datagram = [0; 128];
        ping(cx.clone(), Ping { host_uuid: format!("{:032x}", 8), heartbeat: heartbeat.clone() })
            .await
            .unwrap();
        let early = tokio::time::timeout(Duration::from_millis(300), ear.recv(&mut datagram)).await;
        assert!(early.is_err(), "{early:?}");
        ping(cx.clone(), Ping { host_uuid, heartbeat }).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(10), ear.recv(&mut datagram)).await;
        assert_eq!(heard.unwrap().unwrap(), wire::heartbeat::LENGTH);
    }
}
