//! The plain contract, as a ZStack peer sees it.

use serde_json::json;
use wire::TaskId;
use wire::caller::CallError;

use crate::kit::{
    Controller, Direct, Look, Node, Start, assert_ok, eventually, get, post, send_act, soon, status_and_body,
};
use crate::receiver::Receiver;

#[tokio::test]
async fn a_command_is_acknowledged_with_an_empty_body_and_reported_with_its_task() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let task = TaskId::random();
    let answer = send_act(&node.url(), &task, None, &receiver.url, "hello").await;
    assert_ok(&answer);
    assert_eq!(answer.text().await.unwrap(), "");
    let report = receiver.wait_reports(1).await.remove(0);
    assert_eq!(report.task, task.as_str());
    assert_eq!(report.content_type, "application/json");
    assert_eq!(report.body, json!({"success": true, "word": "HELLO"}));
}

#[tokio::test]
async fn calls_of_every_kind_give_their_replies() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let (url, task) = (node.url(), TaskId::random());
    assert_eq!(controller.act(&url, &task, "act").await.unwrap().word, "ACT");
    let look = Look { word: "look".into(), number: 1 };
    let looked = controller.caller.call(&url, &TaskId::random(), None, soon(), &look).await;
    assert_eq!(looked.unwrap().word, "LOOK");
    let direct = Direct { word: "direct".into(), number: 1 };
    let answered = controller.caller.call(&url, &TaskId::random(), None, soon(), &direct).await;
    assert_eq!(answered.unwrap().word, "DIRECT");
}

#[tokio::test]
async fn a_failed_operation_is_an_outcome_with_its_members() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let failed = controller.act(&node.url(), &TaskId::random(), "fail").await;
    let Err(CallError::Failed(fault)) = failed else { panic!("{failed:?}") };
    assert_eq!((fault.error.as_str(), fault.is("NO")), ("as told", true));
    assert_eq!(fault.members["inUse"], true);
    let answer = post(&node.url(), "/test/direct", &[], r#"{"word":"fail"}"#).await;
    let (status, body) = status_and_body(answer).await;
    assert_eq!((status, &body["success"], &body["code"]), (200, &json!(false), &json!("NO")));
}

#[tokio::test]
async fn a_panic_is_a_failed_outcome() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let (url, task) = (node.url(), TaskId::random());
    let failed = controller.act(&url, &task, "panic").await;
    let Err(CallError::Failed(fault)) = failed else { panic!("{failed:?}") };
    assert!(fault.error.contains("/test/act panicked: as told"), "{fault}");
    let (status, body) = status_and_body(post(&url, "/test/direct", &[], r#"{"word":"panic"}"#).await).await;
    assert_eq!((status, &body["success"]), (200, &json!(false)));
    assert_eq!(controller.act(&url, &TaskId::random(), "after").await.unwrap().word, "AFTER");
}

#[tokio::test]
async fn a_malformed_body_is_refused_before_it_is_acknowledged() {
    let node = Node::start().await;
    let task = TaskId::random();
    let headers = [("taskuuid", task.as_str()), ("callbackurl", "http://127.0.0.1:9/")];
    for (body, naming) in [
        (r#"{"number":"many"}"#, "member \"number\""),
        (r#"{"word":"#, "EOF"),
        (r#"{"word":"a"} x"#, "trailing"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
    ] {
        let answer = post(&node.url(), "/test/act", &headers, body).await;
        let (status, answer) = status_and_body(answer).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(status == 400 && answer["success"] == false && error.contains(naming), "{body}: {answer}");
    }
    assert_eq!(node.asked(&task).await.0, "unknown");
    assert!(node.world.begun().is_empty());
}

#[tokio::test]
async fn bodies_may_be_pretty_empty_large_and_of_any_type() {
    let (node, receiver) = (Node::start().await, Receiver::start(&[]).await);
    let long = "x".repeat(3 << 20);
    let bodies = ["{\n  \"word\":\r\n\t\"pretty\"\n}", "", &format!(r#"{{"word":"w","other":"{long}"}}"#)];
    for (count, body) in bodies.iter().enumerate() {
        let task = TaskId::random();
        let form = ("content-type", "application/x-www-form-urlencoded");
        let padding = "utf-8, ".repeat(1500);
        let headers =
            [("taskuuid", task.as_str()), ("callbackurl", &receiver.url), form, ("accept-charset", &padding)];
        assert_ok(&post(&node.url(), "/test/act", &headers, body).await);
        receiver.wait_reports(count + 1).await;
    }
    // What was journalled can be read again.
    let node = node.stop().await.restart().await;
    assert_eq!(node.world.ended().len(), 3);
}

#[tokio::test]
async fn the_kinds_of_paths_are_told_apart() {
    let node = Node::start().await;
    let url = node.url();
    let with_task = post(&url, "/test/direct", &[("taskuuid", "00ff")], "{}").await;
    assert_eq!(with_task.status(), 500);
    let (status, body) = status_and_body(post(&url, "/test/act", &[], "{}").await).await;
    assert_eq!((status, &body["error"]), (400, &json!("taskUuid missing in request header")));
    assert_eq!(post(&url, "/test/unknown", &[("taskuuid", "00ff")], "{}").await.status(), 404);
    assert!(node.world.begun().is_empty());
}

#[tokio::test]
async fn a_path_is_served_with_a_trailing_slash_and_by_any_method() {
    let node = Node::start().await;
    assert_ok(&post(&node.url(), "/test/direct/", &[], "").await);
    assert_ok(&get(&node.url(), "/test/direct").await.unwrap());
    assert_eq!(post(&node.url(), "/test/direct//", &[], "").await.status(), 404);
    assert_eq!(node.world.ended().len(), 2);
}

#[tokio::test]
async fn unreadable_headers_are_refused_and_not_ignored() {
    let node = Node::start().await;
    for header in [("x-cumulet-epoch", "many"), ("x-cumulet-resource", "vm1"), ("callbackurl", "nowhere")] {
        let answer = post(&node.url(), "/test/act", &[("taskuuid", "00ff"), header], "{}").await;
        assert_eq!(answer.status(), 400, "{header:?}");
    }
    assert!(node.world.begun().is_empty());
}

#[tokio::test]
async fn a_command_without_a_callback_runs_and_can_be_asked_for() {
    let node = Node::start().await;
    assert_ok(&post(&node.url(), "/test/act", &[("taskuuid", "00ff")], r#"{"word":"a"}"#).await);
    let task = TaskId::parse("00ff").unwrap();
    let body = node.wait_state(&task, "done").await;
    assert_eq!(body["path"], "/test/act");
    assert_eq!(body["outcome"], json!({"success": true, "word": "A"}));
}

#[tokio::test]
async fn the_inventory_is_listed() {
    let node = Node::start().await;
    let (status, body) = status_and_body(get(&node.url(), "/inventory").await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(body, json!({"owned": [{"kind": "tap", "name": "tap0", "resource": "vm1"}]}));
}

#[tokio::test]
async fn a_task_sent_again_while_it_runs_is_attached() {
    let node = Node::start().await;
    let (first, second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let task = TaskId::random();
    node.world.close_gate();
    assert_ok(&send_act(&node.url(), &task, None, &first.url, "once").await);
    node.world.wait_begun(1).await;
    assert_ok(&send_act(&node.url(), &task, None, &second.url, "once").await);
    assert_eq!(node.asked(&task).await.0, "running");
    node.world.open_gate();
    let report = second.wait_reports(1).await.remove(0);
    assert_eq!(report.body["word"], "ONCE");
    assert_eq!((first.reports().len(), node.world.begun().len()), (0, 1));
}

#[tokio::test]
async fn a_task_sent_again_after_its_end_is_answered_again_and_not_run_again() {
    let node = Node::start().await;
    let (first, second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let task = TaskId::random();
    assert_ok(&send_act(&node.url(), &task, None, &first.url, "once").await);
    first.wait_reports(1).await;
    assert_ok(&send_act(&node.url(), &task, None, &second.url, "once").await);
    let report = second.wait_reports(1).await.remove(0);
    assert_eq!((report.task.as_str(), &report.body["word"]), (task.as_str(), &json!("ONCE")));
    let node = node.stop().await.restart().await;
    assert_ok(&send_act(&node.url(), &task, None, &second.url, "once").await);
    second.wait_reports(2).await;
    assert_eq!((first.reports().len(), node.world.begun().len()), (1, 1));
}

#[tokio::test]
async fn as_zstack_does_it_a_finished_task_runs_again() {
    let node = Node::start_with(Start { again: true, ..Start::default() }).await;
    let (receiver, task) = (Receiver::start(&[]).await, TaskId::random());
    for count in 1..=3 {
        assert_ok(&send_act(&node.url(), &task, None, &receiver.url, "again").await);
        receiver.wait_reports(count).await;
        assert_eq!(node.world.ended().len(), count);
    }
    let node = node.stop().await.restart().await;
    assert_eq!((node.world.begun().len(), node.asked(&task).await.0.as_str()), (3, "done"));
}

#[tokio::test]
async fn calls_that_only_look_leave_no_trace_in_the_journal() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let before = std::fs::read(node.journal()).unwrap();
    let task = TaskId::random();
    let look = Look { word: "look".into(), number: 0 };
    controller.caller.call(&node.url(), &task, None, soon(), &look).await.unwrap();
    assert_eq!(node.asked(&task).await.0, "done");
    assert_eq!(std::fs::read(node.journal()).unwrap(), before);
    controller.act(&node.url(), &TaskId::random(), "act").await.unwrap();
    eventually("acting is journalled", async || std::fs::read(node.journal()).unwrap() > before).await;
}

#[tokio::test]
async fn an_operation_goes_on_when_its_caller_hangs_up() {
    let node = Node::start().await;
    node.world.close_gate();
    let url = node.url();
    let impatient = tokio::spawn(async move { post(&url, "/test/direct", &[], r#"{"word":"d"}"#).await });
    node.world.wait_begun(1).await;
    impatient.abort();
    node.world.open_gate();
    eventually("it ends", async || node.world.ended().len() == 1).await;
}
