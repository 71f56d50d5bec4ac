//! Row 12: how evenly the ring shares work, and how little moves when a controller joins.

use anyhow::{Context, Result};
use cumulet_tests::lab::program::command;
use serde::Deserialize;

use super::ground::{Ground, build, example};
use super::table::{Gate, Line, Report, Unit};

#[derive(Deserialize)]
struct Figures {
    /// The share of keys that changed their owner when an eleventh controller came.
    moved: f64,
    ideal: f64,
    /// The largest share of ten, of the mean.
    largest: f64,
    /// Nanoseconds.
    lookup: f64,
}

pub fn measure(ground: &Ground) -> Result<Report> {
    build(&["-p", "engine", "--example", "ring"])?;
    ground.progress.stage("row 12: the ring");
    let said = command(&example("ring").to_string_lossy(), [""; 0]).output()?;
    let Figures { moved, ideal, largest, lookup } =
        serde_json::from_slice(&said.stdout).context("the example says nothing")?;
    let lines = vec![
        Line::new(12, "keys moved when an 11th controller joins", Unit::Percent.of(moved * 100.0))
            .floor(Unit::Percent.of(ideal * 100.0))
            .gate(Gate::AtMost(ideal * 120.0)),
        Line::new(12, "largest share of ten, of the mean", Unit::Percent.of(largest * 100.0))
            .gate(Gate::AtMost(115.0)),
        Line::new(12, "finding an owner", Unit::Microseconds.of(lookup / 1e3)),
    ];
    Ok(Report { lines, ..Report::default() })
}
