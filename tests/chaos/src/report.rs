//! What a run says at its end: findings with what belongs to them, figures, and one line for all of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;

use crate::check::Finding;
use crate::ground::Ground;
use crate::load::history::{Entry, History};
use crate::load::prober::{Tick, availability, silences};
use crate::load::request::Door;
use crate::nemesis::Fired;
use crate::plan::KINDS;
use crate::takeover::TakeOver;

/// The API is to answer in so many of a hundred moments at which the database is there.
const AVAILABLE: f64 = 99.0;
/// Beyond the lease a take-over may last so long.
const GRACE: Duration = Duration::from_secs(5);
const GRACE_OF_SHORT_LEASES: Duration = Duration::from_secs(2);
/// So many findings are shown with all that belongs to them.
const SHOWN: usize = 12;
const LINES: usize = 12;

pub struct Report {
    findings: Vec<Finding>,
    history: Vec<Entry>,
    logs: Vec<PathBuf>,
    summary: String,
}

impl Report {
    pub fn new(
        seed: u64,
        minutes: f64,
        ground: &Ground,
        (fired, ticks): (Fired, Vec<Tick>),
        (history, door): (Arc<History>, Arc<Door>),
        (settled, mut findings): (Duration, Vec<Finding>),
    ) -> Result<Self> {
        let (share, asked) = availability(&ticks, ground);
        let share = share * 100.0;
        if share < AVAILABLE {
            let when = silences(&ticks, ground);
            let what =
                format!("some controller answered only {share:.2} % of the time; nobody at {when:.1?} s");
            findings.push(Finding::new(what, &[]));
        }
        findings.extend(late(&fired, ground));
        let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let summary = format!(
            "chaos: seed {seed}, {minutes} min, lease {:?}; faults fired/planned: {}; calls: {} acknowledged, {} done, \
             {} failed, {} logins; available {share:.2} % of {asked} moments ({:.1} s of database outages left out); \
             {}; at rest {:.1} s after the last call; findings: {}",
            ground.lease,
            faults(&fired),
            count(&history.acknowledged),
            count(&history.done),
            count(&history.failed),
            door.logins(),
            ground.outage_time().as_secs_f64(),
            take_overs(&fired, ground),
            settled.as_secs_f64(),
            findings.len(),
        );
        fs::write(ground.dir().join("summary"), &summary)?;
        let logs = ground.controller_logs().to_vec();
        Ok(Report { findings, history: history.entries(), logs, summary })
    }

    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub fn print(&self) {
        for (number, finding) in self.findings.iter().enumerate() {
            println!("finding {}: {}", number + 1, finding.what);
            if number < SHOWN {
                self.print_what_belongs_to(finding);
            }
        }
        println!("{}", self.summary);
    }

    fn print_what_belongs_to(&self, finding: &Finding) {
        let about =
            |text: &str| finding.about.iter().any(|one| !one.is_empty() && text.contains(one.as_str()));
        let mine = self.history.iter().filter(|entry| about(&entry.object) || about(&entry.job));
        for entry in mine {
            let Entry { at, call, step, job, said, .. } = entry;
            println!("    {:9.3} s  {call} {step:?} (job {job}) {said}", *at as f64 / 1000.0);
        }
        for log in &self.logs {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter(|line| about(line)).collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                println!("    {}: {line}", log.display());
            }
        }
    }
}

fn faults(fired: &Fired) -> String {
    let counts = KINDS.iter().filter_map(|kind| {
        let (planned, fired) = fired.counts.get(kind)?;
        Some(format!("{kind} {fired}/{planned}"))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Those during which the database was there and nothing else was broken.
fn fair<'a>(fired: &'a Fired, ground: &Ground) -> Vec<&'a TakeOver> {
    let alone = |one: &&TakeOver| {
        let until = one.died + one.moved;
        !ground.outage_in(one.died, until) && fired.undisturbed(one.died, until)
    };
    fired.take_overs.iter().filter(alone).collect()
}

fn bound(lease: Duration) -> Duration {
    lease + if lease > Duration::from_secs(5) { GRACE } else { GRACE_OF_SHORT_LEASES }
}

fn late(fired: &Fired, ground: &Ground) -> Vec<Finding> {
    let bound = bound(ground.lease);
    let late = fair(fired, ground).into_iter().filter(|one| one.moved > bound);
    late.map(|one| {
        let (adopted, moved) = (one.adopted.as_secs_f64(), one.moved.as_secs_f64());
        let what = format!(
            "the take-over of flow {} lasted {moved:.1} s (adopted after {adopted:.1} s), {bound:?} is the most",
            one.flow
        );
        Finding::new(what, &[&one.flow])
    })
    .collect()
}

fn take_overs(fired: &Fired, ground: &Ground) -> String {
    let mut alone: Vec<_> = fair(fired, ground).iter().map(|one| one.moved.as_secs_f64()).collect();
    alone.sort_by(f64::total_cmp);
    let all = fired.take_overs.iter().map(|one| one.moved.as_secs_f64()).fold(0.0, f64::max);
    match alone.last() {
        Some(longest) => format!(
            "take-over of {} flows undisturbed: p50 {:.1} s, max {longest:.1} s; of {} in all: max {all:.1} s",
            alone.len(),
            alone[alone.len() / 2],
            fired.take_overs.len()
        ),
        None => format!("no take-over undisturbed; of {} in all: max {all:.1} s", fired.take_overs.len()),
    }
}
