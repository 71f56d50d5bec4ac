//! No stale or late command acts, and the tasks of a resource run in order.

use serde_json::json;
use tokio::time::Duration;
use wire::caller::CallError;
use wire::{Fence, TaskId};

use crate::kit::{
    Controller, Floor, Look, Node, assert_ok, eventually, fence, send_act, send_in_line, soon,
    status_and_body, unix_millis,
};
use crate::receiver::Receiver;

#[tokio::test]
async fn a_lower_epoch_is_refused_on_arrival() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let (url, callback) = (node.url(), &receiver.url);
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 2, 5)), callback, "new").await);
    receiver.wait_reports(1).await;
    for late in [fence("vm1", 1, 4), fence("vm1", 2, 4), fence("vm1", 9, 4), fence("vm1", 3, 5)] {
        let (task, token) = (TaskId::random(), late.clone());
        let (status, body) =
            status_and_body(send_act(&url, &task, Some(&token), callback, "late").await).await;
        assert_eq!(
            (status, &body["success"], &body["code"]),
            (409, &json!(false), &json!("STALE")),
            "{late:?}"
        );
        assert_eq!(node.asked(&task).await.0, "unknown");
    }
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm2", 1, 1)), callback, "other").await);
    receiver.wait_reports(2).await;
    assert_eq!(node.world.begun(), ["new", "other"]);
}

#[tokio::test]
async fn the_highest_epoch_survives_a_crash() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    controller.fenced(&node.url(), &fence("vm1", 2, 5), "new").await.unwrap();
    let node = node.kill().restart().await;
    let late = controller.fenced(&node.url(), &fence("vm1", 1, 4), "late").await;
    assert!(matches!(late, Err(CallError::Stale(_))), "{late:?}");
    assert_eq!(node.world.begun(), ["new"]);
}

#[tokio::test]
async fn an_expired_command_is_refused_on_arrival() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let deadline = Some(unix_millis() - 1);
    let late = controller.fenced(&node.url(), &Fence { deadline, ..fence("vm1", 1, 1) }, "late").await;
    assert!(matches!(&late, Err(CallError::Expired(f)) if f.error.contains("deadline")), "{late:?}");
    let deadline = Some(unix_millis() + 60_000);
    controller.fenced(&node.url(), &Fence { deadline, ..fence("vm1", 1, 1) }, "in time").await.unwrap();
    assert_eq!(node.world.begun(), ["in time"]);
}

#[tokio::test]
async fn tasks_of_one_resource_run_one_after_another_and_others_beside_them() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    send_in_line(&node, &receiver.url, &["1", "2", "3"]).await;
    for resource in ["vm2", "vm3"] {
        let token = fence(resource, 1, 1);
        assert_ok(&send_act(&node.url(), &TaskId::random(), Some(&token), &receiver.url, resource).await);
    }
    node.world.wait_begun(3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut begun = node.world.begun();
    begun.sort();
    assert_eq!(begun, ["1", "vm2", "vm3"]);
    node.world.open_gate();
    receiver.wait_reports(5).await;
    let in_line: Vec<_> = node.world.begun().into_iter().filter(|word| word.len() == 1).collect();
    assert_eq!(in_line, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_task_that_is_superseded_before_its_turn_ends_stale_without_effect() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    let (url, waiting) = (node.url(), TaskId::random());
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 1, 1)), &receiver.url, "first").await);
    assert_ok(&send_act(&url, &waiting, Some(&fence("vm1", 1, 1)), &receiver.url, "waits").await);
    assert_eq!(node.asked(&waiting).await.0, "queued");
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 1, 2)), &receiver.url, "undo").await);
    node.world.open_gate();
    receiver.wait_reports(3).await;
    assert_eq!(node.world.begun(), ["first", "undo"]);
    assert_eq!(node.asked(&waiting).await.1["outcome"]["code"], "STALE");
    // Its owner proves its ownership, takes a new epoch and repeats: then it runs.
    assert_ok(&send_act(&url, &waiting, Some(&fence("vm1", 1, 3)), &receiver.url, "waits").await);
    let reports = receiver.wait_reports(4).await;
    assert_eq!(reports[3].body, json!({"success": true, "word": "WAITS"}));
}

#[tokio::test]
async fn a_task_that_runs_stops_for_a_later_owner_and_may_begin_anew() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let (url, long) = (node.url(), TaskId::random());
    assert_ok(&send_act(&url, &long, Some(&fence("vm1", 1, 1)), &receiver.url, "long").await);
    node.world.wait_begun(1).await;
    let (other, undo) = (fence("vm2", 1, 9), fence("vm1", 1, 2));
    assert_ok(&send_act(&url, &TaskId::random(), Some(&other), &receiver.url, "other").await);
    receiver.wait_reports(1).await;
    assert_eq!(node.asked(&long).await.0, "running", "another resource's owner");
    assert_ok(&send_act(&url, &TaskId::random(), Some(&undo), &receiver.url, "undo").await);
    let reports = receiver.wait_reports(3).await;
    assert_eq!((&reports[1].body["code"], &reports[2].body["word"]), (&json!("STALE"), &json!("UNDO")));
    let node = node.kill().restart().await;
    assert_eq!(node.asked(&long).await.1["outcome"]["code"], "STALE");
    assert_ok(&send_act(&node.url(), &long, Some(&fence("vm1", 1, 3)), &receiver.url, "long").await);
    node.world.wait_begun(4).await;
    assert_eq!(node.world.begun(), ["long", "other", "undo", "long"]);
}

#[tokio::test]
async fn whoever_adopts_a_task_that_runs_does_not_stop_it() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let (url, long) = (node.url(), TaskId::random());
    for epoch in 1..=2 {
        assert_ok(&send_act(&url, &long, Some(&fence("vm1", 1, epoch)), &receiver.url, "long").await);
        node.world.wait_begun(1).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((node.asked(&long).await.0.as_str(), receiver.reports().len()), ("running", 0));
}

/// It could only hear that it is stale, which it is not.
#[tokio::test]
async fn nobody_adopts_a_task_that_is_being_stopped() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    let (url, first, next) = (node.url(), TaskId::random(), fence("vm1", 1, 2));
    assert_ok(&send_act(&url, &first, Some(&fence("vm1", 1, 1)), &receiver.url, "first").await);
    node.world.wait_begun(1).await;
    assert_ok(&send_act(&url, &TaskId::random(), Some(&next), &receiver.url, "second").await);
    let again = async || send_act(&url, &first, Some(&next), &receiver.url, "first").await;
    assert_eq!(again().await.status(), 503);
    node.world.open_gate();
    receiver.wait_reports(2).await;
    assert_ok(&again().await);
    let mut words: Vec<_> =
        receiver.wait_reports(3).await.into_iter().map(|r| r.body["word"].to_string()).collect();
    // Each task tells its own outcome: which of the two comes first is nobody's promise.
    words[..2].sort();
    assert_eq!(words, ["\"FIRST\"", "\"SECOND\"", "\"FIRST\""]);
    assert_eq!(node.world.begun(), ["first", "second"], "it does not heed the signal, and has ended");
}

#[tokio::test]
async fn a_task_whose_deadline_passes_in_the_line_ends_expired_without_effect() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    node.world.close_gate();
    let token = fence("vm1", 1, 1);
    assert_ok(&send_act(&node.url(), &TaskId::random(), Some(&token), &receiver.url, "first").await);
    let (task, deadline) = (TaskId::random(), unix_millis() + 500);
    let brief = Fence { deadline: Some(deadline), ..token };
    assert_ok(&send_act(&node.url(), &task, Some(&brief), &receiver.url, "waits").await);
    eventually("the deadline passes", async || unix_millis() > deadline).await;
    node.world.open_gate();
    receiver.wait_reports(2).await;
    assert_eq!(node.world.begun(), ["first"]);
    assert_eq!(node.asked(&task).await.1["outcome"]["code"], "EXPIRED");
}

#[tokio::test]
async fn whoever_adopts_a_waiting_task_under_a_new_epoch_gets_it_done() {
    let (node, old, new) = (Node::start().await, Receiver::start(&[]).await, Receiver::start(&[]).await);
    node.world.close_gate();
    let (url, task) = (node.url(), TaskId::random());
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 1, 1)), &old.url, "first").await);
    assert_ok(&send_act(&url, &task, Some(&fence("vm1", 1, 1)), &old.url, "step").await);
    assert_ok(&send_act(&url, &task, Some(&fence("vm1", 1, 2)), &new.url, "step").await);
    // The old owner does not know yet.
    let late = send_act(&url, &task, Some(&fence("vm1", 1, 1)), &old.url, "step").await;
    assert_eq!(late.status(), 409);
    let node = {
        let dead = node.kill();
        dead.world.open_gate();
        dead.restart().await
    };
    let report = new.wait_reports(1).await.remove(0);
    assert_eq!((report.task.as_str(), &report.body["word"]), (task.as_str(), &json!("STEP")));
    assert_eq!(node.world.ended().iter().filter(|word| *word == "step").count(), 1);
}

#[tokio::test]
async fn a_finished_task_is_forgotten_only_after_a_higher_generation() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let (url, task) = (node.url(), TaskId::random());
    assert_ok(&send_act(&url, &task, Some(&fence("vm1", 1, 1)), &receiver.url, "old").await);
    receiver.wait_reports(1).await;
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 1, 2)), &receiver.url, "undo").await);
    receiver.wait_reports(2).await;
    assert_eq!(node.asked(&task).await.0, "done");
    assert_ok(&send_act(&url, &TaskId::random(), Some(&fence("vm1", 2, 3)), &receiver.url, "next").await);
    receiver.wait_reports(3).await;
    eventually("it is forgotten", async || node.asked(&task).await.0 == "unknown").await;
    assert_eq!(send_act(&url, &task, Some(&fence("vm1", 1, 1)), &receiver.url, "old").await.status(), 409);
    assert_eq!(node.world.begun(), ["old", "undo", "next"]);
}

#[tokio::test]
async fn the_floor_refuses_everything_below_it_also_after_a_crash() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    controller.fenced(&node.url(), &fence("vm1", 1, 3), "before").await.unwrap();
    let floor = Floor { number: 10, ..Floor::default() };
    controller.caller.call(&node.url(), &TaskId::random(), None, soon(), &floor).await.unwrap();
    let node = node.kill().restart().await;
    for resource in ["vm1", "vm2"] {
        let late = controller.fenced(&node.url(), &fence(resource, 2, 9), "late").await;
        assert!(matches!(&late, Err(CallError::Stale(f)) if f.error.contains("floor 10")), "{late:?}");
        controller.fenced(&node.url(), &fence(resource, 2, 10), resource).await.unwrap();
    }
    assert_eq!(node.world.begun(), ["before", "vm1", "vm2"]);
}

#[tokio::test]
async fn the_floor_waits_for_what_runs_below_it() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let receiver = Receiver::start(&[]).await;
    node.world.close_gate();
    for (begun, epoch, resource) in [(1, 3, "vm1"), (2, 10, "vm2")] {
        let token = fence(resource, 1, epoch);
        assert_ok(&send_act(&node.url(), &TaskId::random(), Some(&token), &receiver.url, resource).await);
        node.world.wait_begun(begun).await;
    }
    let floor = Floor { number: 10, ..Floor::default() };
    let (url, task) = (node.url(), TaskId::random());
    let mut raised = std::pin::pin!(controller.caller.call(&url, &task, None, soon(), &floor));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut raised).await;
    assert!(early.is_err(), "{early:?} while {:?} act", node.world.begun());
    let late = controller.fenced(&url, &fence("vm3", 1, 9), "late").await;
    assert!(matches!(late, Err(CallError::Stale(_))), "{late:?}");
    node.world.let_through(1);
    raised.await.unwrap();
    assert_eq!(node.world.ended(), ["vm1"]);
    node.world.open_gate();
    receiver.wait_reports(2).await;
}

#[tokio::test]
async fn calls_that_only_look_are_fenced_but_raise_nothing() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let look = Look { word: "look".into(), number: 0 };
    let looked = |token: Fence| {
        let (caller, url, look) = (controller.caller.clone(), node.url(), look.clone());
        async move { caller.call(&url, &TaskId::random(), Some(&token), soon(), &look).await }
    };
    looked(fence("vm1", 9, 9)).await.unwrap();
    controller.fenced(&node.url(), &fence("vm1", 1, 5), "act").await.unwrap();
    assert!(matches!(looked(fence("vm1", 1, 4)).await, Err(CallError::Stale(_))));
}
