//! Whether another machine answers at all: whether somebody takes or refuses a connection there. That it does not is
//! no evidence of anything.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::ha::{ScanHost, Scanned};

use crate::state::Host;

/// SSH, and an agent: a machine without a firewall refuses where nobody listens, which is an answer.
const PORTS: [u16; 2] = [22, 7070];
const PATIENCE: Duration = Duration::from_secs(2);
const MOST: u64 = 100;

pub async fn scan(cx: Cx<Host>, cmd: ScanHost) -> Result<Scanned, Fault> {
    let ip: IpAddr = cmd.ip.parse().map_err(|_| Fault::new(format!("ip {:?} is no address", cmd.ip)))?;
    let result = cx.unless_superseded(async { Ok(look(ip, &cmd).await) }).await?;
    Ok(Scanned { result: result.to_owned() })
}

async fn look(ip: IpAddr, cmd: &ScanHost) -> &'static str {
    let (wanted, mut answers) = (cmd.success_times.clamp(1, MOST), 0);
    for _ in 0..cmd.times.clamp(1, MOST) {
        loop {
            match answers_at(ip).await {
                Ok(true) => answers += 1,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%ip, %error, "cannot ask");
                    return "failure";
                }
            }
            if answers >= wanted {
                return "success";
            }
            sleep(Duration::from_secs(cmd.success_interval)).await;
        }
        answers = 0;
        sleep(Duration::from_secs(cmd.interval)).await;
    }
    "noReply"
}

async fn answers_at(ip: IpAddr) -> io::Result<bool> {
    for port in PORTS {
        match timeout(PATIENCE, TcpStream::connect((ip, port))).await {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            Ok(Err(error)) if is_silence(&error) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(false)
}

/// Somebody on the way says that nobody is there, or nobody says anything.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, HostUnreachable, TimedOut};
    matches!(error.kind(), HostUnreachable | TimedOut | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn a_machine_that_refuses_answers() {
        let dir = tempfile::tempdir().unwrap();
        let cx = host(dir.path());
        let cmd = ScanHost { ip: "127.0.0.1".into(), times: 1, success_times: 2, ..ScanHost::default() };
        assert_eq!(scan(cx.clone(), cmd.clone()).await.unwrap().result, "success");
        let odd = ScanHost { ip: "nobody".into(), ..cmd };
        assert!(scan(cx, odd).await.unwrap_err().error.contains("nobody"));
    }
}
