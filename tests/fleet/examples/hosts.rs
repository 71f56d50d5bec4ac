//! Simulated hosts in a process of their own, for measurements.
//!
//! `hosts NUMBER` starts them at 127.0.0.2, 127.0.0.3, … with the same ports on all of them, prints where they are
//! as one line of JSON, and ends with its standard input.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use fleet::{Host, Place, Size};

/// No measurement shall end because a host is full.
const SIZE: Size = Size { cpus: 1024, memory: 16 << 40 };

#[tokio::main]
async fn main() -> io::Result<()> {
    wire::agent::main_setup();
    let number = std::env::args().nth(1).and_then(|number| number.parse::<u8>().ok());
    let Some(number @ 1..=250) = number else {
        return Err(io::Error::other("usage: hosts NUMBER (1 to 250)"));
    };
    let address = |host: u8| IpAddr::from(Ipv4Addr::new(127, 0, 0, 1 + host));
    let first = Host::start_at(Place { address: address(1), ..Place::default() }, SIZE).await?;
    let [kvm, vrouter, storage] = [first.kvm, first.vrouter, first.storage].map(|at| at.port());
    let mut hosts = vec![first];
    for host in 2..=number {
        hosts.push(
            Host::start_at(Place { address: address(host), kvm, vrouter, storage, ..Place::default() }, SIZE)
                .await?,
        );
    }
    let addresses: Vec<_> = hosts.iter().map(|host| format!("\"{}\"", host.kvm.ip())).collect();
    let addresses = addresses.join(",");
    println!("{{\"kvm\":{kvm},\"vrouter\":{vrouter},\"storage\":{storage},\"addresses\":[{addresses}]}}");
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}
