//! The HTTP client that both halves use between controller and agents.

use std::time::Duration;

use reqwest::{ClientBuilder, redirect};

use crate::tls::name::Names;

/// Whose machine does not even acknowledge for so long is not there; an answer may take longer.
const SILENCE: Duration = Duration::from_secs(4);

/// Goes straight to its peer: no proxy, no redirect. It trusts no certificate authority of the operating
/// system: peers are certified by the controller's own, or speak plain HTTP.
///
/// At most `idle` unused connections are kept per peer, for `idle_age`.
pub fn client(connect: Duration, idle: usize, idle_age: Duration) -> ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tls_certs_only([])
        .dns_resolver(Names)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(2))
        .tcp_keepalive_interval(Duration::from_secs(1))
        .tcp_keepalive_retries(2)
        .tcp_user_timeout(SILENCE)
        .connect_timeout(connect)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(idle_age)
}
