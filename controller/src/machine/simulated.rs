//! Machines that enrol for real and run nothing.

use std::net::Ipv4Addr;

use serde_json::json;
use tempfile::TempDir;
use wire::tls::{Directory, Enrol, Http, Keeper, Live, MachineId, Token, name};

use crate::testing::{Cloud, Refused};

pub async fn token(cloud: &Cloud, roles: &[&str], ttl: i64) -> Result<Token, Refused> {
    let params = json!({ "name": "t", "roles": roles, "ttl": ttl });
    let made = cloud.create("/enrolment-tokens", params).await?;
    Ok(made["token"].as_str().unwrap().parse().unwrap())
}

fn order(cloud: &Cloud, token: &Token, address: Ipv4Addr, dir: &TempDir) -> Enrol {
    Enrol {
        controller: format!("https://{}", cloud.agents),
        token: token.to_string(),
        address: Some(address.into()),
        name: Some(format!("at {address}")),
        tls_dir: Some(dir.path().join("tls")),
        again: false,
    }
}

/// A machine that has enrolled: who it is, and its directory.
pub async fn machine(cloud: &Cloud, roles: &[&str], address: Ipv4Addr) -> (MachineId, Keeper, TempDir) {
    let (dir, token) = (tempfile::tempdir().unwrap(), token(cloud, roles, 60).await.unwrap());
    let id = order(cloud, &token, address, &dir).run().await.unwrap();
    (id, Keeper::open(Directory::new(dir.path().join("tls"))).unwrap(), dir)
}

/// A client that shows who it is.
pub fn client(live: &Live) -> reqwest::Client {
    let make = || reqwest::Client::builder().no_proxy().tls_certs_only([]).dns_resolver(name::Names);
    Http::new(Some(live.clone()), make).unwrap().client()
}
