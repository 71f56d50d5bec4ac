//! The whole cloud: its life through the public API, on two hosts.

use std::path::Path;
use std::sync::Arc;

use cumulet_tests::cloud::{Cloud, Plan, Shape};
use cumulet_tests::{guest, guest_cache, target};

/// A cloud of its own for the test of this name.
pub async fn cloud(name: &str, hosts: u8) -> Cloud {
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

#[tokio::test]
async fn vms_on_two_hosts_answer_over_their_network_and_go_with_their_zone() {
    let cloud = cloud("vms", 2).await;
    let (one, two) = tokio::try_join!(cloud.create_vm("one"), cloud.create_vm("two")).unwrap();
    assert_ne!(one.ip, two.ip);
    assert_ne!(one.host, two.host, "the emptier host takes the second one");
    let (first, second) = tokio::try_join!(cloud.guest_answers(&one), cloud.guest_answers(&two)).unwrap();
    assert_eq!(first, format!("hello from one {} boots=1", one.ip));
    assert_eq!(second, format!("hello from two {} boots=1", two.ip));
    let page = cloud.console(&one).await.unwrap();
    assert!(page.starts_with("http://10.77.0.254:4900/"), "{page}");
    assert!(!cloud.others().unwrap().is_empty(), "guests run");
    cloud.tear_down().await.unwrap();
}
