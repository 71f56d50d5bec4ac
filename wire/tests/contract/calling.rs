//! The caller half against faulty networks and peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use wire::TaskId;
use wire::caller::{CallError, Caller};

use crate::kit::{Controller, Direct, Look, Node, act, eventually, post, soon};
use crate::receiver::read_request;

/// Answers every request with what the closure says; counts them.
async fn peer<F>(answer: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(usize, &str) -> Option<String> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let theirs = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (count, answer) = (theirs.clone(), answer.clone());
            tokio::spawn(async move {
                let (head, _) = read_request(&mut stream).await?;
                let number = count.fetch_add(1, Ordering::SeqCst);
                let line = head.lines().next().unwrap_or_default();
                let text = answer(number, line)?;
                stream.write_all(text.as_bytes()).await.ok()
            });
        }
    });
    (url, count)
}

fn http(status: u16, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

/// Forwards requests to `to`, but swallows the first `lost` answers.
async fn loses_answers(to: SocketAddr, lost: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let swallowed = Arc::new(AtomicUsize::new(0));
    let theirs = swallowed.clone();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let swallowed = theirs.clone();
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                if swallowed.load(Ordering::SeqCst) >= lost {
                    return tokio::io::copy_bidirectional(&mut here, &mut there).await.ok().map(|_| ());
                }
                let (head, body) = read_request(&mut here).await?;
                there.write_all(format!("{head}\r\n\r\n").as_bytes()).await.ok()?;
                there.write_all(&body).await.ok()?;
                there.readable().await.ok()?;
                swallowed.fetch_add(1, Ordering::SeqCst);
                Some(())
            });
        }
    });
    (url, swallowed)
}

#[tokio::test]
async fn a_lost_acknowledgement_does_not_run_the_command_twice() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    node.world.close_gate();
    let (url, swallowed) = loses_answers(node.address, 2).await;
    let (caller, task) = (controller.caller.clone(), TaskId::random());
    let call = tokio::spawn(async move { caller.call(&url, &task, None, soon(), &act("once")).await });
    eventually("answers are lost", async || swallowed.load(Ordering::SeqCst) == 2).await;
    node.world.open_gate();
    assert_eq!(call.await.unwrap().unwrap().word, "ONCE");
    assert_eq!((node.world.begun().len(), swallowed.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn an_outcome_whose_callback_stays_out_is_asked_for() {
    let node = Node::start().await;
    // Nobody listens there.
    let caller = Caller::new("http://127.0.0.1:9/asyncrest/callback");
    let reply = caller.call(&node.url(), &TaskId::random(), None, soon(), &act("asked")).await;
    assert_eq!(reply.unwrap().word, "ASKED");
}

#[tokio::test]
async fn an_agent_that_comes_late_is_waited_for() {
    let (node, controller) = (Node::start().await, Controller::start().await);
    let (url, task) = (node.url(), TaskId::random());
    let dead = node.kill();
    let caller = controller.caller.clone();
    let call = tokio::spawn(async move { caller.call(&url, &task, None, soon(), &act("late")).await });
    sleep(Duration::from_millis(250)).await;
    assert!(!call.is_finished());
    let _node = dead.restart().await;
    assert_eq!(call.await.unwrap().unwrap().word, "LATE");
}

#[tokio::test]
async fn what_was_never_sent_is_unreachable_and_what_may_have_been_is_unknown() {
    let controller = Controller::start().await;
    let shortly = || Instant::now() + Duration::from_secs(1);
    let nobody = async || {
        let (task, agent) = (TaskId::random(), "http://127.0.0.1:9");
        controller.caller.call(agent, &task, None, shortly(), &act("a")).await
    };
    // An attempt that is under way just at the deadline counts as sent: not three times in a row.
    let nobody = [nobody().await, nobody().await, nobody().await];
    assert!(nobody.iter().any(|n| matches!(n, Err(CallError::Unreachable { .. }))), "{nobody:?}");
    let (url, count) = peer(|_, _| None).await;
    let silent = controller.caller.call(&url, &TaskId::random(), None, shortly(), &act("a")).await;
    assert!(matches!(&silent, Err(CallError::Unknown { .. })), "{silent:?}");
    assert!(count.load(Ordering::SeqCst) >= 2, "it was repeated");
    let node = Node::start().await;
    node.world.close_gate();
    let waiting = controller.caller.call(&node.url(), &TaskId::random(), None, shortly(), &act("a")).await;
    assert!(matches!(&waiting, Err(CallError::Unknown { .. })), "{waiting:?}");
}

#[tokio::test]
async fn server_errors_are_repeated_and_client_errors_are_not() {
    let controller = Controller::start().await;
    let (url, count) = peer(|number, _| http(if number < 2 { 503 } else { 400 }, r#"{"error":"no"}"#)).await;
    let refused = controller.caller.call(&url, &TaskId::random(), None, soon(), &act("a")).await;
    assert!(
        matches!(&refused, Err(CallError::Refused { status: 400, error }) if error == "no"),
        "{refused:?}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let bad = controller.caller.call("not a url", &TaskId::random(), None, soon(), &act("a")).await;
    assert!(matches!(&bad, Err(CallError::Refused { status: 0, .. })), "{bad:?}");
}

#[tokio::test]
async fn a_synchronous_call_that_acts_is_not_repeated_when_it_may_have_arrived() {
    let controller = Controller::start().await;
    let (url, count) = peer(|number, _| if number == 0 { None } else { http(200, "{}") }).await;
    let direct = Direct::default();
    let unknown = controller.caller.call(&url, &TaskId::random(), None, soon(), &direct).await;
    assert!(matches!(&unknown, Err(CallError::Unknown { .. })), "{unknown:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_task_that_the_agent_forgot_is_sent_again() {
    let controller = Controller::start().await;
    let (url, count) = peer(|number, line| match (number, line.split(' ').next()) {
        (0 | 2, Some("post")) => http(200, ""),
        (1, Some("get")) => http(404, r#"{"state":"unknown"}"#),
        unexpected => panic!("{unexpected:?}"),
    })
    .await;
    let caller = controller.caller.clone();
    let call =
        tokio::spawn(
            async move { caller.call(&url, &TaskId::random(), None, soon(), &Look::default()).await },
        );
    eventually("sent, asked, sent again", async || count.load(Ordering::SeqCst) == 3).await;
    assert!(!call.is_finished());
    call.abort();
}

#[tokio::test]
async fn a_peer_without_the_question_is_not_sent_the_command_again() {
    let controller = Controller::start().await;
    let callback = controller.callback.clone();
    let (url, count) = peer(|_, line| match line.split(' ').next() {
        Some("post") => http(200, ""),
        _ => http(404, "<html>not found</html>"),
    })
    .await;
    let (caller, task) = (controller.caller.clone(), TaskId::random());
    let ours = task.clone();
    let call = tokio::spawn(async move { caller.call(&url, &ours, None, soon(), &act("a")).await });
    eventually("it was asked", async || count.load(Ordering::SeqCst) == 2).await;
    let base = callback.strip_suffix("/asyncrest/callback").unwrap();
    let body = json!({"success": true, "word": "by callback"}).to_string();
    post(base, "/asyncrest/callback", &[("taskuuid", task.as_str())], &body).await;
    assert_eq!(call.await.unwrap().unwrap().word, "by callback");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn callbacks_are_answered_as_the_contract_says() {
    let (controller, node) = (Controller::start().await, Node::start().await);
    let base = controller.callback.strip_suffix("/asyncrest/callback").unwrap();
    let path = "/asyncrest/callback";
    assert_eq!(post(base, path, &[], "{}").await.status(), 400);
    assert_eq!(post(base, path, &[("taskuuid", "00ff")], "{}").await.status(), 200);
    node.world.close_gate();
    let (caller, task, url) = (controller.caller.clone(), TaskId::random(), node.url());
    let ours = task.clone();
    let call = tokio::spawn(async move { caller.call(&url, &ours, None, soon(), &act("a")).await });
    node.world.wait_begun(1).await;
    assert_eq!(post(base, path, &[("taskuuid", task.as_str())], "<html>").await.status(), 200);
    let garbled = call.await.unwrap();
    assert!(matches!(&garbled, Err(CallError::Failed(f)) if f.error.contains("not JSON")), "{garbled:?}");
}
