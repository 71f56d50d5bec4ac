use crate::lab::{Lab, noise};
use crate::site::{Reply, Site};

#[tokio::test]
async fn a_redirect_is_followed() {
    let lab = Lab::new().await;
    let end = Site::with(noise(1000)).await;
    let to = end.url("/end");
    let start = Site::new(move |_| Reply::redirect(&to)).await;
    assert_eq!(lab.peer.import(&start.url("/")).await.unwrap().actual_size, 1000);
}

#[tokio::test]
async fn a_relative_redirect_is_followed() {
    let lab = Lab::new().await;
    let site = Site::new(|head| match head.contains("get /end") {
        true => Reply::ok(&noise(1000)),
        false => Reply::redirect("/end"),
    })
    .await;
    assert_eq!(lab.peer.import(&site.url("/")).await.unwrap().actual_size, 1000);
}

/// The target is real and answers: only the judgement keeps the agent from it.
#[tokio::test]
async fn a_redirect_into_a_network_that_is_not_allowed_reaches_nobody() {
    let lab = Lab::new().await;
    let inside = Site::at("127.0.0.2", |_| Reply::ok(&noise(1000))).await;
    let port = inside.port();
    for host in ["127.0.0.2", "2130706434", "[::ffff:127.0.0.2]"] {
        let to = format!("http://{host}:{port}/secret");
        let direct = lab.peer.import(&to).await.unwrap_err();
        assert!(direct.contains("is not a public address"), "{direct}");
        let start = Site::new(move |_| Reply::redirect(&to)).await;
        let refused = lab.peer.import(&start.url("/")).await.unwrap_err();
        assert!(refused.contains("is not a public address"), "{refused}");
        assert_eq!(start.heads().len(), 1);
    }
    assert_eq!(inside.heads(), Vec::<String>::new());
    assert!(lab.is_empty());
}

#[tokio::test]
async fn the_metadata_service_is_out_of_reach() {
    let lab = Lab::new().await;
    for host in ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[::1]", "10.0.0.1", "0.0.0.0"] {
        let to = format!("http://{host}/latest/meta-data");
        let start = Site::new(move |_| Reply::redirect(&to)).await;
        let refused = lab.peer.import(&start.url("/")).await.unwrap_err();
        assert!(refused.contains("is not a public address"), "{host}: {refused}");
    }
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let lab = Lab::with(|config, _| config.allow_private.clear()).await;
    let site = Site::with(noise(1000)).await;
    let refused = lab.peer.import(&format!("http://localhost:{}/", site.port())).await.unwrap_err();
    assert!(refused.contains("localhost (") && refused.contains("is not a public address"), "{refused}");
    assert_eq!(site.heads().len(), 0);
}

#[tokio::test]
async fn a_name_that_is_allowed_is_reached() {
    let (lab, site) = (Lab::new().await, Site::with(noise(1000)).await);
    let found = lab.peer.import(&format!("http://localhost:{}/", site.port())).await;
    assert_eq!(found.unwrap().actual_size, 1000);
}

#[tokio::test]
async fn redirects_end_and_stay_with_http() {
    let lab = Lab::new().await;
    for (to, sentence) in [
        ("/again", "more than 10 redirects"),
        ("file:///etc/passwd", "neither http nor https"),
        ("gopher://127.0.0.1/", "neither http nor https"),
        ("http://", "a redirect to nowhere"),
    ] {
        let start = Site::new(move |_| Reply::redirect(to)).await;
        let refused = lab.peer.import(&start.url("/")).await.unwrap_err();
        assert!(refused.contains(sentence), "{refused}");
    }
}
