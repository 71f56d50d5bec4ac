use serde_json::Value;
use sha2::{Digest, Sha256};
use wire::agent::Owned;

use crate::lab::{IMAGE, Lab, STORE, noise};
use crate::site::Site;

async fn with(image: &[u8]) -> (Lab, String) {
    let (lab, site) = (Lab::new().await, Site::with(image.to_vec()).await);
    lab.peer.import(&site.url("/x")).await.unwrap();
    let url = format!("{}/images/{IMAGE}", lab.peer.base);
    (lab, url)
}

#[tokio::test]
async fn an_image_is_sent_whole_with_its_sum_as_etag() {
    let image = noise(3_000_000);
    let (lab, url) = with(&image).await;
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(&image)));
    let head = lab.peer.http.head(&url).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"3000000".parse().unwrap())
    );
    let answer = lab.peer.http.get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(3_000_000)));
    assert_eq!(answer.headers()["etag"], tag);
    assert!(answer.bytes().await.unwrap() == image);
    let known = lab.peer.http.get(&url).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(known.status(), 304);
}

#[tokio::test]
async fn ranges_are_served_and_checked() {
    let image = noise(100_000);
    let (lab, url) = with(&image).await;
    let get = async |range: &str, if_range: &str| {
        let request = lab.peer.http.get(&url).header("range", range).header("if-range", if_range);
        request.send().await.unwrap()
    };
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(&image)));
    let part = get("bytes=99000-", &tag).await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 99000-99999/100000");
    assert!(part.bytes().await.unwrap() == image[99_000..]);
    let other = get("bytes=99000-", "\"another\"").await;
    assert_eq!((other.status().as_u16(), other.content_length()), (200, Some(100_000)));
    let beyond = get("bytes=100000-", &tag).await;
    assert_eq!(
        (beyond.status().as_u16(), &beyond.headers()["content-range"]),
        (416, &"bytes */100000".parse().unwrap())
    );
}

#[tokio::test]
async fn an_image_being_read_is_read_to_its_end_though_it_is_deleted() {
    let image = noise(40_000_000);
    let (lab, url) = with(&image).await;
    let answer = lab.peer.http.get(&url).send().await.unwrap();
    lab.peer.delete().await.unwrap();
    assert!(lab.is_empty());
    assert!(answer.bytes().await.unwrap() == image);
    assert_eq!(lab.peer.http.get(&url).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn images_are_listed_and_owned() {
    let image = noise(1000);
    let (lab, _) = with(&image).await;
    let get = async |path: &str| -> Value {
        lab.peer.http.get(format!("{}{path}", lab.peer.base)).send().await.unwrap().json().await.unwrap()
    };
    let listed = &get("/images").await["images"];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["uuid"], &listed[0]["backupStorageUuid"]), (&IMAGE.into(), &STORE.into()));
    assert_eq!((&listed[0]["size"], &listed[0]["actualSize"]), (&1024.into(), &1000.into()));
    let owned: Vec<Owned> = serde_json::from_value(get("/inventory").await["owned"].clone()).unwrap();
    assert_eq!(
        (owned.len(), owned[0].kind.as_str(), owned[0].resource.as_deref()),
        (1, "image", Some(IMAGE))
    );
    lab.peer.delete().await.unwrap();
    assert_eq!(get("/inventory").await["owned"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn no_path_leads_out_of_the_store() {
    let (lab, _) = with(&noise(10)).await;
    for uuid in ["..", "%2e%2e%2f%2e%2e", "..%2Fstate", ".cumulet-store"] {
        let answer = lab.peer.http.get(format!("{}/images/{uuid}", lab.peer.base)).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{uuid}: {}", answer.status());
    }
}
