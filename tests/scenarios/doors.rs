//! The controller's other doors: metrics, and what agents say of their own accord.

use std::time::Duration;

use cumulet_tests::http::Client;
use hyper::Method;
use hyper::body::Bytes;

use crate::site::Site;

const LIMIT: Duration = Duration::from_secs(30);

fn door(site: &Site, path: &str) -> String {
    site.api.base().replace("/zstack/v1", path)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_the_jobs_that_were_done() {
    let site = Site::start().await;
    let text = Client::default().get(&door(&site, "/metrics"), LIMIT).await.unwrap().text();
    assert!(text.contains("cumulet_jobs_total{kind=\"CreateZone\",outcome=\"success\"} 1"), "{text}");
    assert!(text.contains("cumulet_flows{state=\"running\"} 0"), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    let agent = format!("http://{}/metrics", site.host.kvm);
    let text = Client::default().get(&agent, LIMIT).await.unwrap().text();
    assert!(text.contains("cumulet_tasks_total{kind=\"/host/fact\",outcome=\"success\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_heard_and_a_stranger_is_told_why_not() {
    let site = Site::start().await;
    let url = door(&site, "/zstack/asyncrest/sendcommand");
    let say = async |subject: Option<&str>, body: String| {
        let headers: Vec<_> =
            subject.map(|subject| ("commandpath", subject.to_owned())).into_iter().collect();
        let answer = Client::default().send(Method::POST, &url, &headers, Bytes::from(body), LIMIT).await;
        answer.unwrap().status.as_u16()
    };
    let known = format!("{{\"hostUuid\":\"{}\",\"reason\":\"libvirt was restarted\"}}", site.hosts[0]);
    assert_eq!(say(None, known.clone()).await, 400);
    assert_eq!(say(Some("/kvm/weather"), known.clone()).await, 404);
    assert_eq!(say(Some("/kvm/reconnectme"), "{}".into()).await, 400);
    assert_eq!(say(Some("/kvm/reconnectme"), known).await, 200);
    let flows = async || site.list("/flows?q=name=host.reconnect&q=state=done").await.len();
    let started = std::time::Instant::now();
    while flows().await == 0 {
        assert!(started.elapsed() < LIMIT, "the host is not connected again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
