//! What was measured, as a table for people and as JSON for programs.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "µs")]
    Microseconds,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "jobs")]
    Jobs,
    #[serde(rename = "hosts")]
    Hosts,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub value: f64,
    pub unit: Unit,
    /// Not of this run: measured before, on such a machine.
    pub earlier: bool,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    None,
    /// So many times better than the peer.
    TimesPeer(f64),
    /// In the figure's unit.
    AtMost(f64),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// The number of the goal.
    pub row: u8,
    pub metric: String,
    pub ours: Figure,
    pub floor: Option<Figure>,
    pub peer: Option<Figure>,
    pub gate: Gate,
}

/// All that was measured, what is to be known about it, and what could not be measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
    pub notes: Vec<String>,
    pub failures: Vec<String>,
}

impl Unit {
    pub fn of(self, value: f64) -> Figure {
        Figure { value, unit: self, earlier: false }
    }

    fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }

    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Seconds => " s",
            Self::Milliseconds => " ms",
            Self::Microseconds => " µs",
            Self::Megabytes => " MB",
            Self::Percent => " %",
            Self::Jobs => " jobs",
            Self::Hosts => " hosts",
        }
    }
}

impl Figure {
    pub fn earlier(self) -> Self {
        Self { earlier: true, ..self }
    }

    /// How many times better this is than `other`.
    fn times(self, other: Figure) -> Option<f64> {
        let (better, worse) = match self.unit.more_is_better() {
            true => (self.value, other.value),
            false => (other.value, self.value),
        };
        (worse > 0.0).then_some(better / worse)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", number(self.value), self.unit.name())?;
        if self.earlier { f.write_str("*") } else { Ok(()) }
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        ..1.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl Line {
    pub fn new(row: u8, metric: impl Into<String>, ours: Figure) -> Self {
        Self { row, metric: metric.into(), ours, floor: None, peer: None, gate: Gate::None }
    }

    pub fn floor(self, floor: Figure) -> Self {
        Self { floor: Some(floor), ..self }
    }

    pub fn peer(self, peer: Option<Figure>) -> Self {
        Self { peer, ..self }
    }

    pub fn gate(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Whether the gate holds; `None` without a gate, or without the peer that it asks for.
    fn held(&self) -> Option<bool> {
        match self.gate {
            Gate::None => None,
            Gate::AtMost(limit) => Some(self.ours.value <= limit),
            Gate::TimesPeer(times) => Some(self.ours.times(self.peer?)? >= times),
        }
    }

    fn ratio(&self) -> String {
        let times = |other: Option<Figure>, name| {
            let times = self.ours.times(other?)?;
            Some(format!("{}x {name}", number(times)))
        };
        let both = [times(self.peer, "peer"), times(self.floor, "floor")];
        both.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn verdict(&self) -> String {
        let asked = match self.gate {
            Gate::None => return String::new(),
            Gate::TimesPeer(times) => format!("{}x peer", number(times)),
            Gate::AtMost(limit) => format!("{}{}", number(limit), self.ours.unit.name()),
        };
        let verdict = match self.held() {
            Some(true) => "held",
            Some(false) => "missed",
            None => "no peer",
        };
        format!("{verdict} ({asked})")
    }

    fn cells(&self) -> [String; 7] {
        let shown = |figure: Option<Figure>| figure.map_or_else(|| "-".into(), |figure| figure.to_string());
        [
            self.row.to_string(),
            self.metric.clone(),
            self.ours.to_string(),
            shown(self.floor),
            shown(self.peer),
            self.ratio(),
            self.verdict(),
        ]
    }

    fn json(&self) -> Value {
        let gate = match self.gate {
            Gate::None => Value::Null,
            Gate::TimesPeer(times) => json!({ "timesPeer": times, "held": self.held() }),
            Gate::AtMost(limit) => json!({ "atMost": limit, "held": self.held() }),
        };
        json!({ "row": self.row, "metric": self.metric, "ours": self.ours, "floor": self.floor,
            "peer": self.peer, "gate": gate })
    }
}

impl Report {
    pub fn add(&mut self, other: Report) {
        self.lines.extend(other.lines);
        self.notes.extend(other.notes);
        self.failures.extend(other.failures);
    }

    pub fn json(&self) -> Value {
        let lines: Vec<_> = self.lines.iter().map(Line::json).collect();
        json!({ "lines": lines, "notes": self.notes, "failures": self.failures })
    }

    fn table(&self) -> String {
        let head = ["row", "metric", "ours", "floor", "peer", "ratio", "gate"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.lines.iter().map(Line::cells)).collect();
        let widths: [usize; 7] =
            std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
        let mut table = String::new();
        for row in &rows {
            let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at {
                2..=4 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            });
            table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            table.push('\n');
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())?;
        if self.lines.iter().any(|line| line.peer.is_some_and(|peer| peer.earlier)) {
            writeln!(f, "* not measured in this run: see docs/benchmarks.md")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "NOT MEASURED: {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ours: Figure, peer: Figure, gate: Gate) -> Line {
        Line::new(1, "m", ours).peer(Some(peer)).gate(gate)
    }

    #[test]
    fn of_rates_the_higher_is_better_and_of_costs_the_lower() {
        let rate = |value| Unit::PerSecond.of(value);
        assert_eq!(line(rate(300.0), rate(20.0), Gate::TimesPeer(15.0)).held(), Some(true));
        assert_eq!(line(rate(299.0), rate(20.0), Gate::TimesPeer(15.0)).held(), Some(false));
        let cost = |value| Unit::Microseconds.of(value);
        assert_eq!(line(cost(10.0), cost(100.0), Gate::TimesPeer(10.0)).held(), Some(true));
        assert_eq!(line(cost(11.0), cost(100.0), Gate::TimesPeer(10.0)).held(), Some(false));
    }

    #[test]
    fn a_gate_that_asks_for_a_peer_is_not_judged_without_one() {
        let line = Line::new(1, "m", Unit::PerSecond.of(1.0)).gate(Gate::TimesPeer(2.0));
        assert_eq!((line.held(), line.verdict()), (None, "no peer (2.0x peer)".into()));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut report = Report::default();
        report.lines.push(Line::new(3, "short", Unit::Megabytes.of(9.5)).gate(Gate::AtMost(15.0)));
        report.lines.push(line(Unit::Microseconds.of(1234.0), Unit::Microseconds.of(9000.0), Gate::None));
        let expected = "\
row  metric     ours  floor     peer  ratio      gate
3    short    9.5 MB      -        -             held (15.0 MB)
1    m       1234 µs      -  9000 µs  7.3x peer
";
        assert_eq!(report.to_string(), expected);
    }
}
