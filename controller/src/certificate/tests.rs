use serde_json::json;

use crate::config::Ports;
use crate::testing::Cloud;

fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["example.org".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_is_kept_and_its_key_is_shown_to_nobody() {
    let cloud = Cloud::start(Ports::default()).await;
    let (chain, key) = pem();
    let params = json!({ "name": "web", "certificate": format!("{chain}{key}") });
    let made = cloud.create("/certificates", params).await.unwrap();
    let shown = made["certificate"].as_str().unwrap();
    assert_eq!(shown.replace('\r', "").trim(), chain.replace('\r', "").trim());
    let path = format!("/certificates/{}", made["uuid"].as_str().unwrap());
    let named =
        cloud.act(&format!("{path}/actions"), "updateCertificate", json!({ "description": "d" })).await;
    assert_eq!(named.unwrap()["description"], "d");
    for told in ["/certificates", "/audits"] {
        assert!(!cloud.get(told).await.unwrap().to_string().contains("PRIVATE KEY"), "{told}");
    }
    cloud.delete(&path).await.unwrap();
    assert!(cloud.list("/certificates").await.is_empty());

    for (text, why) in [
        (key.clone(), "there is no -----BEGIN CERTIFICATE-----"),
        ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----".into(), "no base64"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into(), "no certificate"),
    ] {
        let params = json!({ "name": "web", "certificate": text });
        let refused = cloud.create("/certificates", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
}
