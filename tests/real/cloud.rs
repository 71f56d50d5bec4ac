//! The whole cloud: its life through the public API, on two hosts.

use std::path::Path;
use std::sync::Arc;

use cumulet_tests::cloud::{Cloud, Plan, Shape};
use cumulet_tests::{guest, guest_cache, target};

/// A cloud of its own for the test of this name.
async fn cloud(name: &str, hosts: u8) -> Cloud {
    let image = tokio::task::spawn_blocking(|| guest::image(&guest_cache())).await.unwrap().unwrap();
    let plan = Plan {
        dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cloud-{name}")),
        prefix: format!("c{:x}", std::process::id()),
        shape: Shape::Apart { hosts },
        programs: target().join("debug"),
        image,
        narrator: Arc::new(|text| eprintln!("{text}")),
    };
    Cloud::start(plan).await.unwrap()
}

#[tokio::test]
async fn a_cloud_that_is_deleted_leaves_nothing_on_its_hosts() {
    cloud("deleted", 2).await.tear_down().await.unwrap();
}
