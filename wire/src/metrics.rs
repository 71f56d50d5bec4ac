//! What programs measure of themselves, in Prometheus' text form at `GET /metrics`.

use std::fmt::Write;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A registry that answers a scrape.
#[derive(Default)]
pub struct Metrics {
    registry: Registry,
}

/// How often something ended, and how long it took, by what it was.
#[derive(Clone)]
pub struct Ends {
    counts: Family<End, Counter>,
    seconds: Family<Kind, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// From a millisecond to about nine minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 3.0, 13))
}

impl Metrics {
    /// `name` such as `cumulet_tasks`: counted as `name_total`, timed as `name_seconds`.
    pub fn ends(&mut self, name: &str, help: &str) -> Ends {
        let seconds: fn() -> Histogram = durations;
        let ends = Ends { counts: Family::default(), seconds: Family::new_with_constructor(seconds) };
        self.registry.register(name, help, ends.counts.clone());
        self.registry.register(format!("{name}_seconds"), format!("{help}: how long"), ends.seconds.clone());
        ends
    }

    /// All of it now, with what the kernel says of the process, and `more` lines of the same form.
    pub fn scrape(&self, more: &str) -> Response {
        let mut text = String::new();
        process(&mut text);
        text.push_str(more);
        if encode(&mut text, &self.registry).is_err() {
            text.push_str("# the metrics could not be written\n");
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    }
}

impl Ends {
    pub fn ended(&self, kind: &'static str, well: bool, took: Duration) {
        let outcome = if well { "success" } else { "failure" };
        self.counts.get_or_create(&End { kind, outcome }).inc();
        self.seconds.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }
}

/// One gauge as a line; `labels` is empty or `{name="value"}`.
pub fn gauge(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "# TYPE {name} gauge\n{name}{labels} {value}");
}

fn process(text: &mut String) {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    if let Some(pages) = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()) {
        gauge(text, "process_resident_memory_bytes", "", pages * PAGE);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge(text, "process_open_fds", "", open.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scrape_tells_what_ended_and_how() {
        let mut metrics = Metrics::default();
        let ends = metrics.ends("cumulet_tasks", "Tasks that ended");
        ends.ended("/vm/start", true, Duration::from_millis(20));
        ends.ended("/vm/start", false, Duration::from_millis(2));
        let body = axum::body::to_bytes(metrics.scrape("").into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("cumulet_tasks_total{kind=\"/vm/start\",outcome=\"success\"} 1"), "{text}");
        assert!(text.contains("cumulet_tasks_total{kind=\"/vm/start\",outcome=\"failure\"} 1"), "{text}");
        assert!(text.contains("cumulet_tasks_seconds_count{kind=\"/vm/start\"} 2"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
