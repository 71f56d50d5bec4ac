//! nftables, by scripts that are taken as a whole or not at all; and the switches of br_netfilter.

use std::io::{self, Write};
use std::path::Path;

use host::process::{self, program};
use wire::Fault;

/// Where br_netfilter is told to show bridged packets to the kernel's connection tracking.
const BRIDGED: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// Puts `script` in force in one step.
pub async fn load(script: &str) -> Result<(), Fault> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(script.as_bytes())?;
    program("nft").arg("-f").arg(file.path()).run().await.map(drop).map_err(wrong)
}

/// A table as nft writes it; empty when there is none.
pub async fn table(family: &str, name: &str) -> Result<String, Fault> {
    let listed =
        program("nft").args(["list", "table", family, name]).run_accepting(&[1]).await.map_err(wrong)?;
    Ok(String::from_utf8_lossy(&listed).into_owned())
}

/// Without this, connections over bridges are not told apart and answers would be dropped.
pub fn track_bridged() -> Result<(), Fault> {
    for switch in BRIDGED {
        let now = std::fs::read_to_string(switch).map_err(|error| missing(switch, &error))?;
        if now.trim() != "1" {
            std::fs::write(switch, "1").map_err(|error| missing(switch, &error))?;
        }
    }
    Ok(())
}

fn missing(switch: &str, error: &io::Error) -> Fault {
    let name = Path::new(switch).file_name().unwrap_or_default().to_string_lossy();
    Fault::new(format!("cannot switch on {name}: {error}: load the kernel module br_netfilter"))
}

fn wrong(error: process::Error) -> Fault {
    match error {
        process::Error::Start { .. } => Fault::new(format!("{error}: install nftables")),
        error => error.into(),
    }
}
