//! Keeps a network's DHCP on this host. Every host serves the same network from the same address, so
//! between the bridge's own ports and those that lead to other hosts nothing may pass of: questions and
//! answers about the server's address, DHCP to or from the server, DHCP questions of the NICs it serves.
//!
//! One bridge-family table per network, replaced as a whole in one batch.

use host::process::{self, program};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use wire::Fault;

use crate::dhcp::name::Name;
use crate::dhcp::network::Network;

/// Behind br_netfilter's own hook at 0, which hides IP traffic from chains at or before it.
const PRIORITY: i32 = 100;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// Puts the rules in force.
pub async fn apply(network: &Network, uplinks: &[String]) -> Result<(), Fault> {
    load(&batch(network, uplinks)).await
}

/// Takes the rules away; succeeds when there are none.
pub async fn remove(name: &Name) -> Result<(), Fault> {
    load(&json!({ "nftables": cleared(name) })).await
}

async fn load(batch: &Value) -> Result<(), Fault> {
    let mut file = NamedTempFile::new()?;
    serde_json::to_writer(&mut file, batch)?;
    let loaded = program("nft").args(["-j", "-f"]).arg(file.path()).run().await;
    loaded.map(drop).map_err(|error| match error {
        process::Error::Start { .. } => Fault::new(format!("{error}: install nftables")),
        error => error.into(),
    })
}

/// Adding before deleting makes the deletion succeed when there was none.
fn cleared(name: &Name) -> [Value; 2] {
    let table = json!({ "table": { "family": "bridge", "name": name.table() } });
    [json!({ "add": table }), json!({ "delete": table })]
}

fn batch(network: &Network, uplinks: &[String]) -> Value {
    let name = network.name.table();
    let mut commands = cleared(&network.name).to_vec();
    if uplinks.is_empty() {
        return json!({ "nftables": commands });
    }
    commands.push(json!({ "add": { "table": { "family": "bridge", "name": name } } }));
    commands.push(json!({ "add": { "chain": {
        "family": "bridge", "table": name, "name": "forward",
        "type": "filter", "hook": "forward", "prio": PRIORITY, "policy": "accept",
    } } }));
    for mut matches in rules(network, uplinks) {
        matches.push(json!({ "drop": null }));
        let rule = json!({ "family": "bridge", "table": name, "chain": "forward", "expr": matches });
        commands.push(json!({ "add": { "rule": rule } }));
    }
    json!({ "nftables": commands })
}

/// Each a list of matches; what meets all of one list is dropped.
fn rules(network: &Network, uplinks: &[String]) -> Vec<Vec<Value>> {
    let server = json!(network.server.addr().to_string());
    let outer = json!(network.name.outer());
    let uplinks = json!({ "set": uplinks });
    let from = |ports: &Value| equal(json!({ "meta": { "key": "iifname" } }), ports);
    let to = |ports: &Value| equal(json!({ "meta": { "key": "oifname" } }), ports);
    let mut rules = vec![
        // To everybody only: whom the server itself has asked may make sure of it again.
        vec![from(&uplinks), equal(field("arp", "daddr ip"), &server), to_everybody()],
        vec![from(&uplinks), equal(field("arp", "saddr ip"), &server)],
        vec![to(&uplinks), equal(field("arp", "daddr ip"), &server)],
        vec![from(&uplinks), to(&outer), equal(field("udp", "dport"), &json!(DHCP_SERVER))],
        vec![from(&outer), to(&uplinks), equal(field("udp", "dport"), &json!(DHCP_CLIENT))],
    ];
    let macs: Vec<_> = network.leases.keys().collect();
    if !macs.is_empty() {
        let served = equal(field("ether", "saddr"), &json!({ "set": macs }));
        rules.push(vec![to(&uplinks), served, equal(field("udp", "dport"), &json!(DHCP_SERVER))]);
    }
    rules
}

fn to_everybody() -> Value {
    equal(field("ether", "daddr"), &json!("ff:ff:ff:ff:ff:ff"))
}

fn field(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn equal(left: Value, right: &Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_without_uplink_has_no_rules() {
        let name = Name::parse("br0_0189aabbccdd7eeeafff112233445566").unwrap();
        let server = "10.4.0.1/24".parse().unwrap();
        let network = Network { name, server, leases: Default::default() };
        assert_eq!(batch(&network, &[])["nftables"].as_array().unwrap().len(), 2);
        assert_eq!(batch(&network, &["eth0".into()])["nftables"].as_array().unwrap().len(), 9);
    }
}
