//! Who asks through a proxy that is trusted is who the proxy says he is: in the audit, and when passwords are
//! guessed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

const FORWARDED: &str = "x-forwarded-for";

/// What is asked by one of `proxies` comes from where its `X-Forwarded-For` says.
pub(crate) fn believing(router: axum::Router, proxies: &[IpAddr]) -> axum::Router {
    match proxies {
        [] => router,
        _ => router.layer(from_fn_with_state(Arc::<[IpAddr]>::from(proxies), believe)),
    }
}

async fn believe(State(proxies): State<Arc<[IpAddr]>>, mut request: Request, next: Next) -> Response {
    if let Some(&ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let from = sender(peer.ip(), request.headers(), &proxies);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from, peer.port())));
    }
    next.run(request).await
}

/// Each proxy appends whom it was asked by; the last who is no proxy of ours is believed to be the sender, for
/// what stands before him he may have made up.
fn sender(peer: IpAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> IpAddr {
    let told: Vec<_> = headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok()).collect();
    let told = told.iter().flat_map(|value| value.split(',')).rev();
    let mut from = peer;
    for before in told.map(|address| address.trim().parse()) {
        let Ok(before) = before else { break };
        if !proxies.contains(&from) {
            break;
        }
        from = before;
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, told: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in told {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        let proxies = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        sender(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn the_last_who_is_no_proxy_is_the_sender() {
        assert_eq!(asked("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(asked("10.0.0.1", &["192.0.2.7, 10.0.0.2"]), "192.0.2.7");
        assert_eq!(asked("10.0.0.1", &["192.0.2.7", "10.0.0.2"]), "192.0.2.7", "in two headers");
        assert_eq!(asked("10.0.0.1", &["192.0.2.7, 198.51.100.9"]), "198.51.100.9", "the rest is his word");
        assert_eq!(asked("198.51.100.9", &["192.0.2.7"]), "198.51.100.9", "he is no proxy");
        assert_eq!(asked("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(asked("10.0.0.1", &["192.0.2.7, nonsense"]), "10.0.0.1");
    }
}
