//! Row 11: a zone with very many VMs is deleted, on simulated hosts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::create::{Base, Cloud};
use super::ground::{Ground, build};
use super::load::{Limit, load};
use super::table::{Gate, Line, Report, Unit};

const HOSTS: u8 = 200;
const LANES: usize = 32;
/// Of nova, deletions per second (see docs/benchmarks.md).
const NOVA: f64 = 5.6;

pub async fn measure(ground: &Ground, vms: usize) -> Result<Report> {
    build(&["-p", "cumulet-controller"])?;
    build(&["-p", "fleet", "--example", "hosts"])?;
    ground.progress.stage(&format!("row 11: {vms} VMs on {HOSTS} hosts"));
    let cloud = Cloud::start(ground, Base::Sqlite, "row11", HOSTS).await?;
    let limit = Limit { trips: vms, time: Duration::from_secs(900) };
    load(&cloud.aim(), LANES, limit).await?;
    let zone = format!("/zones/{}", cloud.site.zone);
    ground.progress.stage("row 11: previewing and deleting the zone");
    let began = Instant::now();
    let preview = cloud.api.delete(&format!("{zone}?preview=true")).await?;
    let previewed = began.elapsed();
    let counts = preview["preview"]["counts"].as_array().context("no counts")?;
    let counted = counts.iter().find(|count| count["kind"] == "VmInstance" && count["action"] == "delete");
    let counted = counted.and_then(|count| count["count"].as_u64()).context("no VMs in the preview")?;
    ensure!(counted == vms as u64, "the preview counts {counted} VMs of {vms}");
    let began = Instant::now();
    cloud.api.delete(&zone).await?;
    let deleted = began.elapsed();
    let left = cloud.api.get("/vm-instances?count=true").await?;
    ensure!(left["total"] == 0, "VMs are left: {}", left["total"]);
    let seconds = |time: Duration| Unit::Seconds.of(time.as_secs_f64());
    let lines = vec![
        Line::new(11, format!("preview of a zone with {vms} VMs"), seconds(previewed))
            .gate(Gate::AtMost(2.0)),
        Line::new(11, format!("deletion of a zone with {vms} VMs"), seconds(deleted))
            .peer(Some(Unit::Seconds.of(vms as f64 / NOVA).earlier()))
            .gate(Gate::AtMost(60.0)),
    ];
    Ok(Report { lines, ..Report::default() })
}
