//! The agent dies between any two writes of its journal.

use std::time::Duration;

use tokio::time::timeout;
use wire::TaskId;
use wire::caller::CallError;

use crate::kit::{
    Controller, Crash, Faults, Node, Start, act, assert_ok, eventually, fence, send_act, send_in_line, soon,
};
use crate::receiver::Receiver;

/// More than one task writes.
const MOST: usize = 20;

#[tokio::test]
async fn whenever_the_agent_dies_the_call_is_answered_and_its_task_never_runs_after_its_outcome() {
    // accepted, done, reported
    assert_eq!(tokio::join!(sweep(Crash::Before), sweep(Crash::Torn), sweep(Crash::After)), (3, 3, 3));
}

async fn sweep(crash: Crash) -> usize {
    for append in 0..MOST {
        if !dies_at(append, crash).await {
            return append;
        }
    }
    panic!("{crash:?} still fires at append {MOST}");
}

/// Says whether the fault fired.
async fn dies_at(append: usize, crash: Crash) -> bool {
    let faults = Faults::crash_at(append, crash);
    let node = Node::start_with(Start { faults: faults.clone(), ..Start::default() }).await;
    let controller = Controller::start().await;
    let (task, token, url) = (TaskId::random(), fence("vm1", 1, 7), node.url());
    let (caller, ours) = (controller.caller.clone(), task.clone());
    let theirs = token.clone();
    let call =
        tokio::spawn(async move { caller.call(&url, &ours, Some(&theirs), soon(), &act("once")).await });
    if timeout(Duration::from_secs(2), faults.crashed()).await.is_err() {
        assert_eq!(faults.fired(), 0);
        assert_eq!(call.await.unwrap().unwrap().word, "ONCE");
        return false;
    }
    let begun_before = node.world.begun().len();
    let node = node.kill().restart().await;
    assert_eq!(call.await.unwrap().unwrap().word, "ONCE", "append {append} {crash:?}");
    // It may run twice only if it died between the operation and its durable outcome.
    let outcome_durable = append > 1 || (append, crash) == (1, Crash::After);
    let runs = node.world.begun().len();
    assert_eq!(runs, if outcome_durable { 1 } else { begun_before + 1 }, "append {append} {crash:?}");
    let again = controller.caller.call(&node.url(), &task, Some(&token), soon(), &act("once")).await;
    assert_eq!(again.unwrap().word, "ONCE");
    assert_eq!(node.world.begun().len(), runs, "append {append} {crash:?}");
    let late = controller.fenced(&node.url(), &fence("vm1", 1, 6), "late").await;
    assert!(matches!(late, Err(CallError::Stale(_))), "{late:?}");
    true
}

#[tokio::test]
async fn tasks_that_were_accepted_run_after_a_restart_in_their_order() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    send_in_line(&node, &receiver.url, &["a", "b", "c", "d"]).await;
    node.world.wait_begun(1).await;
    let dead = node.kill();
    dead.world.open_gate();
    let node = dead.restart().await;
    receiver.wait_reports(4).await;
    assert_eq!(node.world.begun(), ["a", "a", "b", "c", "d"]);
}

#[tokio::test]
async fn after_a_reboot_accepted_tasks_end_and_do_not_run() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    let (task, other) = (TaskId::random(), TaskId::random());
    assert_ok(&send_act(&node.url(), &task, Some(&fence("vm1", 1, 1)), &receiver.url, "a").await);
    assert_ok(&send_act(&node.url(), &other, Some(&fence("vm1", 1, 1)), &receiver.url, "b").await);
    node.world.wait_begun(1).await;
    let dead = node.kill();
    dead.world.open_gate();
    let begun = dead.world.begun();
    let rebooted = Start { boot_id: "boot-2".into(), ..Start::default() };
    let node = dead.restart_with(rebooted).await.unwrap();
    for report in receiver.wait_reports(2).await {
        assert_eq!((&report.body["success"], &report.body["code"]), (&false.into(), &"REBOOTED".into()));
        assert_eq!(report.body["error"], "host rebooted");
    }
    assert_eq!(node.world.begun(), begun);
}

#[tokio::test]
async fn an_orderly_stop_lets_what_runs_end_and_begins_nothing() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    send_in_line(&node, &receiver.url, &["a", "b"]).await;
    node.world.wait_begun(1).await;
    let world = node.world.clone();
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.let_through(1);
    });
    let dead = node.stop().await;
    release.await.unwrap();
    assert_eq!((dead.world.begun(), dead.world.ended()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    dead.world.open_gate();
    let node = dead.restart().await;
    eventually("the other runs", async || node.world.ended() == ["a", "b"]).await;
    receiver.wait_reports(2).await;
}
