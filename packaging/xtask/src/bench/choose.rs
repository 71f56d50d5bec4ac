//! Row 17: finding hosts for ten thousand VMs among a thousand, one after another.

use anyhow::{Context, Result};
use cumulet_tests::lab::program::command;
use cumulet_tests::postgres::Postgres;
use serde::Deserialize;

use super::ground::{Ground, build, example};
use super::table::{Gate, Line, Report, Unit};

const HOSTS: &str = "1000";
const VMS: &str = "10000";

#[derive(Deserialize)]
struct Figures {
    strategy: String,
    /// Milliseconds.
    p50: f64,
    p99: f64,
    /// VMs on the fullest host.
    most: u64,
}

pub async fn measure(ground: &Ground) -> Result<Report> {
    build(&["-p", "cumulet-controller", "--example", "choose"])?;
    ground.progress.stage("row 17: hosts for 10,000 VMs");
    let mut lines = chosen("", None)?;
    let server = Postgres::start(&ground.state("row17")?).await?;
    lines.extend(chosen(" on PostgreSQL", Some(server.database("choose").context("no database")?))?);
    Ok(Report { lines, ..Report::default() })
}

fn chosen(base: &str, url: Option<String>) -> Result<Vec<Line>> {
    let words = [HOSTS.to_owned(), VMS.to_owned()].into_iter().chain(url);
    let said = command(&example("choose").to_string_lossy(), words).output()?;
    let all: Vec<Figures> = serde_json::from_slice(&said.stdout).context("the example says nothing")?;
    let lines = all.iter().flat_map(|Figures { strategy, p50, p99, most }| {
        let what = format!("a host of 1,000 by {strategy}{base}");
        [
            Line::new(17, format!("{what}, p50 (at most {most} VMs on one)"), Unit::Milliseconds.of(*p50)),
            Line::new(17, format!("{what}, p99"), Unit::Milliseconds.of(*p99)).gate(Gate::AtMost(20.0)),
        ]
    });
    Ok(lines.collect())
}
