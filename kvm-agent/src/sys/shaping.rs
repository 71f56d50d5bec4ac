//! Limits what passes through a VM's tap, by the kernel's traffic control.
//!
//! What goes to the VM leaves the host by the tap: a token bucket at its end suffices. What comes from the
//! VM enters by it, where the kernel can only drop; so it is led through an `ifb` device of the tap's own,
//! `ifb1.0` for `vnic1.0`, with a bucket at its end. Buckets go with their device; an `ifb` whose tap is
//! gone is removed by [`tidy`].

use std::collections::HashSet;
use std::path::Path;

use host::process::{self, program};
use serde::Deserialize;

/// The shortest burst, bytes: some packets of the largest size that a tap hands over at once.
const LEAST_BURST: u64 = 128 << 10;
const LATENCY: &str = "50ms";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToVm,
    FromVm,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot limit nic {tap}: {source}")]
    Tool { tap: String, source: process::Error },
    #[error("cannot read the limits of nic {tap}: {source}")]
    Answer { tap: String, source: serde_json::Error },
    #[error("nic {0:?} has no name of the form vnic<vm>.<number>: it cannot be limited")]
    Name(String),
}

#[derive(Deserialize)]
struct Discipline {
    kind: String,
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    /// Bytes per second.
    rate: u64,
}

/// `rate` bits per second; `None` lifts the limit.
pub async fn limit(tap: &str, direction: Direction, rate: Option<u64>) -> Result<(), Error> {
    let wrong = |source| Error::Tool { tap: tap.to_owned(), source };
    match (direction, rate) {
        (Direction::ToVm, Some(rate)) => bucket(tap, rate).await.map_err(wrong),
        (Direction::ToVm, None) => remove(tap, "root").await.map_err(wrong),
        (Direction::FromVm, Some(rate)) => lead_through(tap, &ifb(tap)?, rate).await.map_err(wrong),
        (Direction::FromVm, None) => lead_straight(tap, &ifb(tap)?).await.map_err(wrong),
    }
}

/// Bits per second.
pub async fn rate(tap: &str, direction: Direction) -> Result<Option<u64>, Error> {
    let device = match direction {
        Direction::ToVm => tap.to_owned(),
        Direction::FromVm => ifb(tap)?,
    };
    if !exists(&device) {
        return Ok(None);
    }
    let told = program("tc").args(["-j", "qdisc", "show", "dev", &device]).run().await;
    let told = told.map_err(|source| Error::Tool { tap: tap.to_owned(), source })?;
    let told: Vec<Discipline> =
        serde_json::from_slice(&told).map_err(|source| Error::Answer { tap: tap.to_owned(), source })?;
    let bucket = told.into_iter().find(|discipline| discipline.kind == "tbf");
    Ok(bucket.map(|bucket| bucket.options.rate * 8))
}

/// Removes the devices of taps that are gone.
pub async fn tidy() -> Result<(), Error> {
    let names: HashSet<String> = std::fs::read_dir("/sys/class/net")
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let ours = names.iter().filter_map(|name| Some((name, format!("vnic{}", number(name, "ifb")?))));
    for (ifb, tap) in ours.filter(|(_, tap)| !names.contains(tap)) {
        delete(ifb).await.map_err(|source| Error::Tool { tap, source })?;
    }
    Ok(())
}

async fn lead_through(tap: &str, ifb: &str, rate: u64) -> Result<(), process::Error> {
    if !exists(ifb) {
        program("ip").args(["link", "add", ifb, "type", "ifb"]).run().await?;
    }
    program("ip").args(["link", "set", ifb, "up"]).run().await?;
    bucket(ifb, rate).await?;
    remove(tap, "ingress").await?;
    program("tc").args(["qdisc", "add", "dev", tap, "handle", "ffff:", "ingress"]).run().await?;
    let filter = ["filter", "add", "dev", tap, "parent", "ffff:", "protocol", "all", "prio", "1"];
    let all = ["u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", ifb];
    program("tc").args(filter).args(all).run().await?;
    Ok(())
}

async fn lead_straight(tap: &str, ifb: &str) -> Result<(), process::Error> {
    remove(tap, "ingress").await?;
    if exists(ifb) { delete(ifb).await } else { Ok(()) }
}

async fn bucket(device: &str, rate: u64) -> Result<(), process::Error> {
    // A tenth of a second's worth.
    let (burst, rate) = ((rate / 80).max(LEAST_BURST).to_string(), format!("{rate}bit"));
    let shape = ["tbf", "rate", &rate, "burst", &burst, "latency", LATENCY];
    program("tc").args(["qdisc", "replace", "dev", device, "root"]).args(shape).run().await?;
    Ok(())
}

/// Succeeds when there was none.
async fn remove(device: &str, place: &str) -> Result<(), process::Error> {
    // 2: the kernel refused, since the default one cannot be removed.
    program("tc").args(["qdisc", "del", "dev", device, place]).run_accepting(&[2]).await?;
    Ok(())
}

async fn delete(ifb: &str) -> Result<(), process::Error> {
    program("ip").args(["link", "delete", ifb]).run().await?;
    Ok(())
}

fn ifb(tap: &str) -> Result<String, Error> {
    let number = number(tap, "vnic").ok_or_else(|| Error::Name(tap.to_owned()))?;
    Ok(format!("ifb{number}"))
}

/// `1.0` of `vnic1.0`.
fn number<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let number = name.strip_prefix(prefix)?;
    let (vm, nic) = number.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(vm) && digits(nic)).then_some(number)
}

fn exists(device: &str) -> bool {
    Path::new("/sys/class/net").join(device).exists()
}
