use bytes::Bytes;
use futures::StreamExt;
use reqwest::Body;
use sha2::{Digest, Sha256};
use wire::calls::imagestore::{Download, Downloaded};

use crate::lab::{IMAGE, Lab, Peer, TOKEN, error, noise, overlay, qcow2, told, upload};

#[tokio::test]
async fn an_upload_ends_its_task_with_what_the_uploader_is_told() {
    let (lab, image) = (Lab::new().await, qcow2().await);
    let task = lab.peer.await_upload().await;
    let (status, body) = lab.peer.put(TOKEN, None, image.clone()).await;
    assert_eq!((status, &body["sha256"]), (201, &hex::encode(Sha256::digest(&image)).into()));
    let outcome = lab.peer.outcome::<Download>(&task).await.unwrap();
    let outcome = Downloaded { total_capacity: None, available_capacity: None, ..outcome };
    assert_eq!(told(outcome), body);
    let (status, body) = lab.peer.put(TOKEN, None, image).await;
    assert_eq!((status, error(&body).contains("its token is spent")), (409, true));
}

/// Clients have no certificates: where the agent asks for them, uploads have a door of their own, through
/// which nothing else goes.
#[tokio::test]
async fn uploads_have_a_door_of_their_own() {
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lab = Lab::with(|config, _| config.upload_listen = Some(door)).await;
    let client = Peer::of(format!("http://{door}"));
    let task = lab.peer.await_upload().await;
    assert_eq!(client.put("0123456789abcdef0123456789abcdeX", None, noise(1000)).await.0, 403);
    for path in ["/images", &format!("/images/{IMAGE}"), "/inventory", "/metrics", "/imagestore/connect"] {
        let answer = client.http.get(format!("{}{path}", client.base)).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
    assert_eq!(client.put(TOKEN, None, noise(1000)).await.0, 201);
    assert_eq!(lab.peer.outcome::<Download>(&task).await.unwrap().actual_size, 1000);
}

#[tokio::test]
async fn a_wrong_token_changes_nothing() {
    let lab = Lab::new().await;
    let task = lab.peer.await_upload().await;
    for token in ["", "0123456789abcdef0123456789abcdeX"] {
        let (status, body) = lab.peer.put(token, None, noise(1000)).await;
        assert_eq!((status, error(&body).contains("the token is not the one")), (403, true));
    }
    assert_eq!(lab.peer.progress().await.unwrap().done, 0);
    assert_eq!(lab.peer.put(TOKEN, None, noise(1000)).await.0, 201);
    assert_eq!(lab.peer.outcome::<Download>(&task).await.unwrap().actual_size, 1000);
}

#[tokio::test]
async fn an_upload_that_nobody_awaits_is_refused() {
    let lab = Lab::new().await;
    let (status, body) = lab.peer.put(TOKEN, None, noise(1000)).await;
    assert_eq!((status, error(&body).contains("no upload")), (404, true));
    assert!(lab.is_empty());
}

#[tokio::test]
async fn a_hostile_upload_is_refused_to_both_and_leaves_nothing() {
    let lab = Lab::new().await;
    let task = lab.peer.await_upload().await;
    let mut image = overlay().await;
    image.resize(40 << 20, 0);
    let (status, body) = lab.peer.put(TOKEN, None, image).await;
    assert_eq!((status, error(&body).contains("needs the backing file")), (422, true), "{body}");
    let outcome = lab.peer.outcome::<Download>(&task).await.unwrap_err().error;
    assert_eq!(outcome, error(&body));
    assert!(lab.is_empty());
    assert_eq!(lab.peer.put(TOKEN, None, qcow2().await).await.0, 404, "the token is spent");
}

#[tokio::test]
async fn an_upload_comes_in_parts_that_must_fit() {
    let (lab, image) = (Lab::new().await, noise(250_000));
    let task = lab.peer.await_upload().await;
    let part = async |from: usize, to: usize| {
        let range = format!("bytes {from}-{}/250000", to - 1);
        lab.peer.put(TOKEN, Some(&range), image[from..to].to_vec()).await
    };
    let (status, body) = part(0, 100_000).await;
    assert_eq!((status, &body["received"]), (200, &100_000.into()));
    for from in [50_000, 150_000] {
        let (status, body) = part(from, 200_000).await;
        assert_eq!((status, &body["received"]), (409, &100_000.into()), "{body}");
    }
    let progress = lab.peer.progress().await.unwrap();
    assert_eq!((progress.done, progress.total), (100_000, Some(250_000)));
    let (status, body) = part(100_000, 250_000).await;
    assert_eq!((status, &body["sha256"]), (201, &hex::encode(Sha256::digest(&image)).into()));
    assert_eq!(lab.peer.outcome::<Download>(&task).await.unwrap().actual_size, 250_000);
}

/// A body that brings these bytes and then no more, without an end.
fn unfinished(bytes: Vec<u8>) -> Body {
    let start = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
    Body::wrap_stream(start.chain(futures::stream::pending()))
}

#[tokio::test]
async fn an_upload_that_breaks_off_begins_anew_or_goes_on() {
    for anew in [true, false] {
        let (lab, image) = (Lab::new().await, noise(250_000));
        let task = lab.peer.await_upload().await;
        let url = format!("{}/images/{IMAGE}?token={TOKEN}", lab.peer.base);
        let broken = tokio::spawn(lab.peer.http.put(url).body(unfinished(image[..100_000].to_vec())).send());
        lab.peer.received(100_000).await;
        broken.abort();
        assert!(broken.await.unwrap_err().is_cancelled(), "the fault must happen");
        let answered = async || match anew {
            true => lab.peer.put(TOKEN, None, image.clone()).await,
            false => {
                let rest = image[100_000..].to_vec();
                lab.peer.put(TOKEN, Some("bytes 100000-249999/250000"), rest).await
            }
        };
        // The agent may learn of the break a moment later than we did.
        let mut answer = answered().await;
        for _ in 0..100 {
            if answer.0 != 409 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            answer = answered().await;
        }
        assert_eq!((answer.0, &answer.1["sha256"]), (201, &hex::encode(Sha256::digest(&image)).into()));
        assert_eq!(lab.peer.outcome::<Download>(&task).await.unwrap().actual_size, 250_000);
    }
}

#[tokio::test]
async fn a_second_upload_waits_its_turn() {
    let lab = Lab::new().await;
    let _task = lab.peer.await_upload().await;
    let url = format!("{}/images/{IMAGE}?token={TOKEN}", lab.peer.base);
    let first = tokio::spawn(lab.peer.http.put(url).body(unfinished(noise(1000))).send());
    lab.peer.received(1000).await;
    let (status, body) = lab.peer.put(TOKEN, None, noise(1000)).await;
    assert_eq!((status, error(&body).contains("being uploaded already")), (409, true));
    first.abort();
}

#[tokio::test]
async fn an_upload_too_large_is_refused_by_its_length() {
    let lab = Lab::with(|config, _| config.max_image_size.0 = 1000).await;
    let task = lab.peer.await_upload().await;
    let (status, body) = lab.peer.put(TOKEN, None, noise(1001)).await;
    assert_eq!((status, error(&body).contains("larger than 1000 bytes")), (413, true));
    assert!(lab.peer.outcome::<Download>(&task).await.is_err());
    assert!(lab.is_empty());
}

#[tokio::test]
async fn an_upload_that_never_comes_ends_at_its_limit() {
    let lab = Lab::new().await;
    let outcome = lab.peer.run(Download { timeout: 1, ..upload() }).await.unwrap_err().error;
    assert_eq!(outcome, "the import took longer than 1 s");
    assert!(lab.is_empty());
    let refused = lab.peer.run(Download { upload_token: None, ..upload() }).await.unwrap_err().error;
    assert!(refused.contains("upload token"), "{refused}");
}
