//! Outcomes find whoever listens.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use wire::TaskId;

use crate::kit::{Node, assert_ok, post, send_act};
use crate::receiver::Mood::{Answer, HangUp, Slow};
use crate::receiver::Receiver;

#[tokio::test]
async fn only_a_2xx_ends_reporting() {
    let node = Node::start().await;
    let moods = [Answer(404), Answer(503), Answer(301), HangUp, Answer(204)];
    let receiver = Receiver::start(&moods).await;
    let task = TaskId::random();
    assert_ok(&send_act(&node.url(), &task, None, &receiver.url, "a").await);
    let reports = receiver.wait_reports(5).await;
    assert_eq!(reports.iter().map(|r| r.mood).collect::<Vec<_>>(), moods);
    let same = |r: &crate::receiver::Report| r.task == task.as_str() && r.body["word"] == "A";
    assert!(reports.iter().all(same), "{reports:?}");
    sleep(Duration::from_millis(300)).await;
    assert_eq!((receiver.reports().len(), node.world.begun().len()), (5, 1));
}

#[tokio::test]
async fn a_slow_receiver_is_waited_for() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[Slow(Duration::from_millis(700))]).await);
    assert_ok(&send_act(&node.url(), &TaskId::random(), None, &receiver.url, "a").await);
    receiver.wait_reports(1).await;
    sleep(Duration::from_millis(1000)).await;
    let reports = receiver.reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(matches!(reports[0].mood, Slow(_)));
}

#[tokio::test]
async fn an_outcome_waits_until_somebody_listens() {
    let node = Node::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let task = TaskId::random();
    let url = format!("http://{address}/asyncrest/callback");
    assert_ok(&send_act(&node.url(), &task, None, &url, "a").await);
    node.wait_state(&task, "done").await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens yet");
    sleep(Duration::from_millis(150)).await;
    let receiver = Receiver::start_at(address, &[]).await;
    assert_eq!(receiver.wait_reports(1).await[0].body, json!({"success": true, "word": "A"}));
}

#[tokio::test]
async fn an_outcome_is_reported_after_a_restart_too() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[HangUp, HangUp]).await);
    let task = TaskId::random();
    assert_ok(&send_act(&node.url(), &task, None, &receiver.url, "a").await);
    receiver.wait_reports(1).await;
    let node = node.kill().restart().await;
    let reports = receiver.wait_reports(3).await;
    assert_eq!(reports.iter().filter(|r| r.mood == HangUp).count(), 2);
    assert_eq!(reports[2].task, task.as_str());
    assert_eq!((node.world.begun().len(), node.asked(&task).await.0.as_str()), (1, "done"));
}

#[tokio::test]
async fn a_taken_outcome_is_not_reported_after_a_restart() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let task = TaskId::random();
    assert_ok(&send_act(&node.url(), &task, None, &receiver.url, "a").await);
    receiver.wait_reports(1).await;
    let node = node.stop().await.restart().await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!((receiver.reports().len(), node.asked(&task).await.0.as_str()), (1, "done"));
}

/// Sends a command whose sender names a second address, too.
async fn send_with_other(node: &Node, task: &TaskId, first: &str, other: &str) {
    let headers = [("taskuuid", task.as_str()), ("callbackurl", first), ("x-cumulet-callbacks", other)];
    assert_ok(&post(&node.url(), "/test/act", &headers, r#"{"word":"a"}"#).await);
}

#[tokio::test]
async fn while_the_sender_is_silent_another_hears() {
    let (node, task) = (Node::start().await, TaskId::random());
    let silent = Receiver::start(&[Slow(Duration::from_secs(60))]).await;
    let other = Receiver::start(&[]).await;
    let began = Instant::now();
    send_with_other(&node, &task, &silent.url, &other.url).await;
    let reports = other.wait_reports(1).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((reports[0].task.as_str(), silent.reports().len()), (task.as_str(), 1), "first the sender");
    sleep(Duration::from_millis(300)).await;
    assert_eq!((silent.reports().len(), other.reports().len()), (1, 1), "one who hears is enough");
}

#[tokio::test]
async fn the_other_addresses_outlive_the_agent() {
    let (node, task) = (Node::start().await, TaskId::random());
    let (first, other) = (free_url(), Receiver::start(&[HangUp, HangUp]).await);
    send_with_other(&node, &task, &first, &other.url).await;
    other.wait_reports(1).await;
    let _node = node.kill().restart().await;
    let reports = other.wait_reports(3).await;
    assert_eq!(reports[2].task, task.as_str());
}

/// Nobody listens there.
fn free_url() -> String {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/asyncrest/callback", closed.local_addr().unwrap())
}
