//! The console proxy from outside: real sockets, a controller, viewers, screens that only echo.

mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::SinkExt;
use proxy::{Proxy, bytes, establish, farewell, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;
use wire::calls::console::{Check, Delete, Establish, Ping};

const TOKEN: &str = "0123456789abcdef-token";
const OTHER: &str = "fedcba9876543210-token";

/// A screen that says hello and repeats what it is told.
async fn echo() -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"RFB 003.008\n").await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_ticket_shows_the_screen_once() {
    let proxy = Proxy::start().await;
    let port = echo().await;
    proxy.ticket(TOKEN, port).await;
    assert!(proxy.call(Check { token: TOKEN.into() }).await.unwrap().available);
    let mut viewer = proxy.view(TOKEN).await;
    assert_eq!(bytes(&mut viewer).await, b"RFB 003.008\n");
    viewer.send(Message::Binary("keys".into())).await.unwrap();
    assert_eq!(bytes(&mut viewer).await, b"keys");
    assert!(!proxy.call(Check { token: TOKEN.into() }).await.unwrap().available);
    assert_eq!(proxy.view_from(TOKEN, None).await.unwrap_err(), 403);
    let page = proxy.get(&format!("/vnc.html?token={TOKEN}")).await;
    assert_eq!(page.status(), 403);
    assert!(page.text().await.unwrap().contains("used before"));
    // A late copy of the command revives nothing.
    proxy.ticket(TOKEN, port).await;
    assert_eq!(proxy.view_from(TOKEN, None).await.unwrap_err(), 403);
    let elsewhere = proxy.call(establish(TOKEN, "vnc", 1)).await.unwrap_err().to_string();
    assert!(elsewhere.contains("leads elsewhere"), "{elsewhere}");
}

#[tokio::test]
async fn who_has_no_good_ticket_is_told_so() {
    let proxy = Proxy::start().await;
    for path in ["/vnc.html", "/vnc.html?token=unknown", "/websockify?token=unknown"] {
        assert!([400, 403, 426].contains(&proxy.get(path).await.status().as_u16()), "{path}");
    }
    assert_eq!(proxy.view_from("unknown", None).await.unwrap_err(), 403);
    let soon = Establish { expired_date: 0, vnc_token_timeout: 1, ..establish(TOKEN, "vnc", echo().await) };
    proxy.call(soon).await.unwrap();
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(proxy.view_from(TOKEN, None).await.unwrap_err(), 403);
    let page = proxy.get(&format!("/vnc.html?token={TOKEN}")).await.text().await.unwrap();
    assert!(page.contains("expired"), "{page}");
    let refused = proxy.call(establish("short", "vnc", 1)).await.unwrap_err().to_string();
    assert!(refused.contains("16 to 256"), "{refused}");
}

#[tokio::test]
async fn a_screen_is_reached_through_its_agent() {
    #[expect(clippy::result_large_err, reason = "tungstenite's callback")]
    async fn agent(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let check = |request: &Request, mut answer: Response| {
            assert_eq!(request.uri().path(), format!("/vm/console/{TOKEN}"));
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            answer.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(answer)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap();
        socket.send(Message::Ping("x".into())).await.unwrap();
        socket.send(Message::Binary("RFB".into())).await.unwrap();
        socket.close(None).await.unwrap();
    }
    let proxy = Proxy::start().await;
    let (listener, port) = listen().await;
    let agent = tokio::spawn(agent(listener));
    proxy.call(establish(TOKEN, "ws", port)).await.unwrap();
    let mut viewer = proxy.view(TOKEN).await;
    assert_eq!(bytes(&mut viewer).await, b"RFB");
    assert!(farewell(&mut viewer).await.reason.contains("stopped"));
    agent.await.unwrap();
}

#[tokio::test]
async fn a_screen_that_is_not_there_is_explained() {
    let proxy = Proxy::start().await;
    let (listener, port) = listen().await;
    drop(listener);
    proxy.ticket(TOKEN, port).await;
    let goodbye = farewell(&mut proxy.view(TOKEN).await).await;
    assert!(goodbye.reason.contains("refused"), "{goodbye:?}");
    // An agent that knows no such ticket.
    proxy.call(establish(OTHER, "ws", proxy.port)).await.unwrap();
    let goodbye = farewell(&mut proxy.view(OTHER).await).await;
    assert!(goodbye.reason.contains("404"), "{goodbye:?}");
}

#[tokio::test]
async fn deleting_a_console_cuts_its_viewer_off() {
    let proxy = Proxy::start().await;
    let (listener, port) = listen().await;
    proxy.ticket(TOKEN, port).await;
    let mut viewer = proxy.view(TOKEN).await;
    let (mut screen, _) = listener.accept().await.unwrap();
    let delete = Delete { token: TOKEN.into(), ..Delete::default() };
    for _ in 0..2 {
        proxy.call(delete.clone()).await.unwrap();
    }
    let goodbye = farewell(&mut viewer).await;
    assert_eq!(u16::from(goodbye.code), 4001, "{goodbye:?}");
    let ended = timeout(Duration::from_secs(5), screen.read(&mut [0; 8]))
        .await
        .expect("the screen's side stays open");
    assert_eq!(ended.unwrap(), 0);
    assert_eq!(proxy.view_from(TOKEN, None).await.unwrap_err(), 403);
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_holds_the_screen_back() {
    const PIECE: usize = 64 * 1024;
    let proxy = Proxy::start().await;
    let (listener, port) = listen().await;
    proxy.ticket(TOKEN, port).await;
    let mut viewer = proxy.view(TOKEN).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        let (mut screen, _) = listener.accept().await.unwrap();
        while screen.write_all(&[7; PIECE]).await.is_ok() {
            count.fetch_add(PIECE, Ordering::Relaxed);
        }
    });
    let held = settled(&sent).await;
    assert!(held < 64 << 20, "{held} bytes went nowhere");
    let mut read = 0;
    while read < held + (8 << 20) {
        read += bytes(&mut viewer).await.len();
    }
    assert!(sent.load(Ordering::Relaxed) > held, "it did not go on");
}

/// What a counter stops at.
async fn settled(count: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    for _ in 0..100 {
        sleep(Duration::from_millis(200)).await;
        let now = count.load(Ordering::Relaxed);
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
    panic!("it never stops: {last}")
}

#[tokio::test]
async fn nothing_for_a_while_ends_the_console() {
    let proxy = Proxy::start().await;
    let idle = Establish { idle_timeout: 1, ..establish(TOKEN, "vnc", echo().await) };
    proxy.call(idle).await.unwrap();
    let goodbye = farewell(&mut proxy.view(TOKEN).await).await;
    assert_eq!(u16::from(goodbye.code), 4002, "{goodbye:?}");
}

#[tokio::test]
async fn viewers_are_told_when_the_proxy_stops() {
    let proxy = Proxy::start().await;
    proxy.ticket(TOKEN, echo().await).await;
    let mut viewer = proxy.view(TOKEN).await;
    bytes(&mut viewer).await;
    proxy.shutdown.cancel();
    assert!(farewell(&mut viewer).await.reason.contains("restarting"));
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_console() {
    let proxy = Proxy::start().await;
    proxy.ticket(TOKEN, echo().await).await;
    let mut viewer = proxy.view(TOKEN).await;
    let _ = viewer.send(Message::Binary(vec![0; 2 << 20].into())).await;
    let rest = async {
        loop {
            match futures::StreamExt::next(&mut viewer).await {
                Some(Ok(Message::Binary(piece))) => assert!(piece.len() < 100, "it was relayed"),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    };
    timeout(Duration::from_secs(10), rest).await.expect("the console goes on");
}

#[tokio::test]
async fn pages_of_other_sites_open_no_console() {
    let proxy = Proxy::start().await;
    proxy.ticket(TOKEN, echo().await).await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(proxy.view_from(TOKEN, Some(origin)).await.unwrap_err(), 403, "{origin}");
    }
    let own = format!("http://127.0.0.1:{}", proxy.port);
    proxy.view_from(TOKEN, Some(&own)).await.expect("a refused page used the ticket up");
    proxy.ticket(OTHER, echo().await).await;
    proxy.view_from(OTHER, Some("https://ui.example")).await.unwrap();
}

#[tokio::test]
async fn the_page_loads_everything_from_here() {
    let proxy = Proxy::start().await;
    proxy.call(Ping {}).await.unwrap();
    let health: serde_json::Value = proxy.get("/health").await.json().await.unwrap();
    assert_eq!(health["status"], "ok");
    proxy.ticket(TOKEN, 1).await;
    let page = proxy.get(&format!("/vnc.html?token={TOKEN}")).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    assert_eq!(page.headers()["cache-control"], "no-store");
    let status = page.status();
    let text = page.text().await.unwrap();
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("{{"), "{text}");
    let assets: Vec<_> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(!assets.is_empty());
    if health["viewerBuilt"] == false {
        assert_eq!(status, 503);
        assert!(text.contains("without its web assets"), "{text}");
        return;
    }
    assert_eq!((status.as_u16(), assets.len()), (200, 2));
    for path in assets {
        let asset = proxy.get(path).await;
        assert_eq!(asset.status(), 200, "{path}");
        assert!(asset.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        let tag = asset.headers()["etag"].clone();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let again = client.get(proxy.url(path)).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
    for path in ["/assets/0/vnc.js", "/nothing", "/assets/../Cargo.toml"] {
        assert_eq!(proxy.get(path).await.status(), 404, "{path}");
    }
}
