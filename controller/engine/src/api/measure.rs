//! `GET /metrics`: what Prometheus is told of the controller.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use wire::metrics::gauge;

use crate::engine::Engine;
use crate::flow;

/// The route, outside the API: it tells numbers, no names and no uuids.
pub fn metrics(engine: &Engine) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(engine.clone())
}

async fn scrape(State(engine): State<Engine>) -> Response {
    let mut more = String::new();
    let queues = engine.queues().views();
    gauge(&mut more, "cumulet_queues", "", queues.len());
    gauge(
        &mut more,
        "cumulet_queue_waiting",
        "",
        queues.iter().map(|queue| queue.waiting.len()).sum::<usize>(),
    );
    match flow::count(&engine).await {
        Ok(counts) => {
            more.push_str("# TYPE cumulet_flows gauge\n");
            for (state, count) in counts {
                let _ = writeln!(more, "cumulet_flows{{state=\"{state}\"}} {count}");
            }
        }
        Err(error) => tracing::warn!(%error, "the flows could not be counted"),
    }
    engine.metrics().scrape(&more)
}
