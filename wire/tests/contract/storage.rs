//! The journal's file and disk.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};

use serde_json::json;
use wire::TaskId;

use crate::kit::{
    Controller, Dead, Faults, Node, Start, assert_ok, fence, get, post, send_act, status_and_body,
};
use crate::receiver::Receiver;

async fn with_three_tasks() -> (Dead, Controller, TaskId) {
    let (node, controller, task) = (Node::start().await, Controller::start().await, TaskId::random());
    controller.act(&node.url(), &task, "kept").await.unwrap();
    for word in ["b", "c"] {
        controller.fenced(&node.url(), &fence("vm1", 1, 1), word).await.unwrap();
    }
    (node.stop().await, controller, task)
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    for torn in ["1", "deadbeef {\"done\":{\"task\":\"x\"", "00000000 {}\n\0\0\0\0\0\0"] {
        let (dead, controller, task) = with_three_tasks().await;
        let whole = fs::read(dead.journal()).unwrap();
        let mut journal = OpenOptions::new().append(true).open(dead.journal()).unwrap();
        journal.write_all(torn.as_bytes()).unwrap();
        let node = dead.restart().await;
        assert_eq!(fs::read(node.journal()).unwrap(), whole, "{torn:?}");
        assert_eq!(node.asked(&task).await.0, "done");
        controller.act(&node.url(), &TaskId::random(), "goes on").await.unwrap();
        let node = node.stop().await.restart().await;
        assert_eq!(node.world.begun().len(), 4);
    }
}

#[tokio::test]
async fn every_cut_of_the_journal_can_be_opened() {
    let (dead, ..) = with_three_tasks().await;
    let whole = fs::read(dead.journal()).unwrap();
    let mut dead = dead;
    for cut in (1..=8).map(|eighth| whole.len() * eighth / 8) {
        fs::write(dead.journal(), &whole[..cut]).unwrap();
        dead = dead.restart().await.stop().await;
    }
}

#[tokio::test]
async fn a_damaged_record_in_the_middle_stops_the_agent() {
    let (dead, ..) = with_three_tasks().await;
    let mut bytes = fs::read(dead.journal()).unwrap();
    let starts: Vec<_> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    let at = starts[2];
    bytes[at + 30] ^= 0x20;
    fs::write(dead.journal(), &bytes).unwrap();
    let (journal, _dir) = (dead.journal(), dead.dir.clone());
    let error = dead.restart_with(Start::default()).await.err().expect("it must not start");
    let text = error.to_string();
    assert!(text.contains(&format!("at byte {at}:")) && text.contains(journal.to_str().unwrap()), "{text}");
    assert_eq!(fs::read(journal).unwrap(), bytes, "nothing is dropped");
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_refused() {
    let (dead, ..) = with_three_tasks().await;
    let json = r#"{"of_tomorrow":{}}"#;
    let mut journal = OpenOptions::new().append(true).open(dead.journal()).unwrap();
    writeln!(journal, "{:08x} {json}", crc32fast::hash(json.as_bytes())).unwrap();
    let error = dead.restart_with(Start::default()).await.err().expect("it must not start");
    assert!(error.to_string().contains("of_tomorrow"), "{error}");
}

#[tokio::test]
async fn a_second_agent_does_not_start_on_the_same_state() {
    let node = Node::start().await;
    let agent = wire::agent::Agent { name: "second", state_dir: node.state_dir().to_owned(), again: false };
    let door = wire::tls::Door::Plain(([127, 0, 0, 1], 0).into());
    let served =
        agent.serve(&door, wire::agent::Routes::new(std::sync::Arc::new(())), Default::default()).await;
    let error = served.unwrap_err();
    assert!(error.to_string().contains("in use by another agent"), "{error}");
}

#[tokio::test]
async fn on_a_full_disk_commands_are_refused_and_the_agent_goes_on() {
    let faults = Faults::default();
    let node = Node::start_with(Start { faults: faults.clone(), ..Start::default() }).await;
    let (receiver, task) = (Receiver::start(&[]).await, TaskId::random());
    let token = fence("vm1", 1, 1);
    faults.fail_appends(Some(ErrorKind::StorageFull));
    let refused = send_act(&node.url(), &task, Some(&token), &receiver.url, "a").await;
    let (status, body) = status_and_body(refused).await;
    assert_eq!((status, &body["success"], faults.fired()), (507, &json!(false), 1));
    assert!(body["error"].as_str().unwrap().contains("journal"), "{body}");
    assert_eq!(node.asked(&task).await.0, "unknown");
    assert_ok(&get(&node.url(), "/inventory").await.unwrap());
    assert_ok(&post(&node.url(), "/test/direct", &[], r#"{"word":"d"}"#).await);
    faults.fail_appends(None);
    assert_ok(&send_act(&node.url(), &task, Some(&token), &receiver.url, "a").await);
    receiver.wait_reports(1).await;
    let node = node.stop().await.restart().await;
    assert_eq!(
        (node.world.begun(), node.asked(&task).await.0),
        (vec!["d".into(), "a".into()], "done".into())
    );
}

#[tokio::test]
async fn after_a_failed_sync_the_journal_is_made_anew() {
    let faults = Faults::default();
    let node = Node::start_with(Start { faults: faults.clone(), ..Start::default() }).await;
    let (controller, receiver) = (Controller::start().await, Receiver::start(&[]).await);
    let (before, lost, after) = (TaskId::random(), TaskId::random(), TaskId::random());
    controller.act(&node.url(), &before, "before").await.unwrap();
    faults.fail_syncs(Some(ErrorKind::Other));
    assert_eq!(send_act(&node.url(), &lost, None, &receiver.url, "lost").await.status(), 500);
    assert_eq!(faults.fired(), 1);
    faults.fail_syncs(None);
    controller.act(&node.url(), &after, "after").await.unwrap();
    let node = node.kill().restart().await;
    assert_eq!(node.asked(&before).await.0, "done");
    assert_eq!(node.asked(&after).await.0, "done");
    assert_eq!(node.asked(&lost).await.0, "unknown");
    assert_eq!(node.world.begun(), ["before", "after"]);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_journalled_is_not_reported_before_it_is() {
    let faults = Faults::default();
    let node = Node::start_with(Start { faults: faults.clone(), ..Start::default() }).await;
    let (receiver, task) = (Receiver::start(&[]).await, TaskId::random());
    node.world.close_gate();
    assert_ok(&send_act(&node.url(), &task, None, &receiver.url, "a").await);
    node.world.wait_begun(1).await;
    faults.fail_appends(Some(ErrorKind::StorageFull));
    node.world.open_gate();
    crate::kit::eventually("it was tried", async || faults.fired() >= 2).await;
    assert_eq!((receiver.reports().len(), node.asked(&task).await.0.as_str()), (0, "running"));
    faults.fail_appends(None);
    assert_eq!(receiver.wait_reports(1).await[0].body["word"], "A");
    assert_eq!(node.world.begun().len(), 1);
}

#[tokio::test]
async fn concurrent_commands_share_their_syncs() {
    let faults = Faults::default();
    let node = Node::start_with(Start { faults: faults.clone(), ..Start::default() }).await;
    let (controller, url) = (Controller::start().await, node.url());
    let calls = (0..200).map(|number| {
        let (caller, url) = (controller.caller.clone(), url.clone());
        async move {
            let command = crate::kit::act(&number.to_string());
            caller.call(&url, &TaskId::random(), None, crate::kit::soon(), &command).await
        }
    });
    let replies = futures::future::join_all(calls).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert!(faults.appends() < 400, "{} appends for 600 records", faults.appends());
}
