mod told;

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use axum::http::Method;
use engine::flow::{Cx, Flow, Steps};
use engine::{Any, Id, Result, args, codes};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::Call;
use wire::calls::dhcp::{BatchApply, BatchPrepare, DeleteNamespace};

use super::service::NETWORK_SERVICES;
use super::{Address, L3Network, Lease, allocate, release};
use crate::host::Host;
use crate::host::simulated::{Fleet, uuid};
use crate::testing::{Refused, until};

/// What a VM's start does for its networks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Serve {
    host: Id<Host>,
    l3: Id<L3Network>,
    lease: Lease,
    end: bool,
}

impl Serve {
    async fn serve(&mut self, cx: &Cx) -> Result<()> {
        let host = crate::host::usable(&mut cx.read().await?, self.host).await?;
        let leases = std::slice::from_ref(&self.lease);
        match self.end {
            false => super::serve(cx, &host, self.l3, leases).await,
            true => super::unserve(cx, &host, self.l3, leases).await,
        }
    }
}

impl Flow for Serve {
    const NAME: &'static str = "test.serve";

    fn resource(&self) -> Id<Any> {
        Id::derived(&[&self.lease.mac])
    }

    fn title(&self) -> String {
        "serve".into()
    }

    fn steps() -> Steps<Self> {
        Steps::new().act("serve", Self::serve)
    }
}

/// Hosts with a network on them.
struct Net {
    fleet: Fleet,
    l2: String,
    l3: String,
    vm: Id<Any>,
}

/// A VM that an L3 network serves.
struct Guest {
    nic: Id<Any>,
    host: usize,
    lease: Lease,
}

impl Net {
    async fn start(hosts: u8) -> Net {
        let fleet = Fleet::start(hosts).await;
        let l2 = fleet.l2("lan", "eth0").await;
        fleet.attach_l2(&l2).await.unwrap();
        let params = json!({ "name": "net", "l2NetworkUuid": l2, "dnsDomain": "cloud.local" });
        let l3 = uuid(&fleet.cloud.create("/l3-networks", params).await.unwrap());
        let vm = fleet.vm("web", &fleet.hosts[0]).await;
        Net { fleet, l2, l3, vm }
    }

    /// With a range, a DNS server, and both services.
    async fn served(hosts: u8) -> Net {
        let net = Net::start(hosts).await;
        net.range("10.1.0.10", "10.1.0.99").await.unwrap();
        net.fleet.cloud.create(&net.path("/dns"), json!({ "dns": "9.9.9.9" })).await.unwrap();
        let services = json!({ "networkServices": { "Flat": ["DHCP", "DNS"] } });
        net.fleet.cloud.create(&net.path("/network-services"), services).await.unwrap();
        net
    }

    fn path(&self, tail: &str) -> String {
        format!("/l3-networks/{}{tail}", self.l3)
    }

    fn id(&self) -> Id<L3Network> {
        self.l3.parse().unwrap()
    }

    async fn shown(&self) -> Value {
        self.fleet.cloud.list(&format!("/l3-networks?q=uuid={}", self.l3)).await.remove(0)
    }

    async fn range(&self, start: &str, end: &str) -> Result<Value, Refused> {
        let params = json!({ "name": start, "startIp": start, "endIp": end, "netmask": "255.255.255.0" });
        self.fleet.cloud.create(&self.path("/ip-ranges"), params).await
    }

    async fn cidr(&self, cidr: &str) -> Result<Value, Refused> {
        let params = json!({ "name": cidr, "networkCidr": cidr });
        self.fleet.cloud.create(&self.path("/ip-ranges/by-cidr"), params).await
    }

    async fn nics(&self, count: usize) -> Vec<Id<Any>> {
        let mut nics = Vec::new();
        for number in 0..count {
            let mac = format!("fa:01:00:00:{:02x}:{:02x}", number >> 8, number & 255);
            nics.push(self.fleet.nic(self.vm, &self.l3, &mac).await);
        }
        nics
    }

    async fn allocate(&self, nic: Id<Any>, wanted: Option<&str>) -> Result<Address> {
        let (l3, wanted) = (self.id(), wanted.map(|ip| ip.parse::<Ipv4Addr>().unwrap()));
        let db = self.fleet.cloud.engine.db();
        db.write(move |tx| Box::pin(async move { allocate(tx, l3, nic, wanted).await })).await
    }

    /// How addresses are chosen.
    async fn choose(&self, strategy: &str) -> Result<Value, Refused> {
        let path = "/global-configurations/l3Network/ipAllocatorStrategy/actions";
        self.fleet.cloud.act(path, "updateGlobalConfig", json!({ "value": strategy })).await
    }

    async fn release(&self, nic: Id<Any>) {
        let db = self.fleet.cloud.engine.db();
        db.write(move |tx| Box::pin(async move { release(tx, nic).await })).await.unwrap();
    }

    /// A VM that runs on the host and is served there.
    async fn guest(&self, name: &str, mac: &str, host: usize) -> Guest {
        let vm = self.fleet.vm(name, &self.fleet.hosts[host]).await;
        let nic = self.fleet.nic(vm, &self.l3, mac).await;
        let Address { ip, netmask, gateway } = self.allocate(nic, None).await.unwrap();
        const SET: &str = "UPDATE vm_nic SET ip = $2, netmask = $3, gateway = $4 WHERE uuid = $1";
        self.fleet.sql(SET, args![nic, &ip, &netmask, &gateway]).await;
        let lease = Lease {
            mac: mac.into(),
            ip,
            netmask,
            gateway: Some(gateway),
            hostname: Some(name.into()),
            is_default: false,
        };
        let guest = Guest { nic, host, lease };
        self.serve(&guest, false).await.unwrap();
        guest
    }

    async fn serve(&self, guest: &Guest, end: bool) -> Result<Value> {
        let (host, lease) = (self.fleet.hosts[guest.host].parse().unwrap(), guest.lease.clone());
        self.fleet.cloud.engine.run(Serve { host, l3: self.id(), lease, end }).await
    }

    /// The names that each host's DHCP knows, by MAC.
    fn known(&self, host: usize) -> BTreeMap<String, Option<String>> {
        let namespaces = self.fleet.world(host).namespaces();
        let leases = namespaces.into_values().flat_map(|namespace| namespace.leases.into_values());
        leases.map(|lease| (lease.mac, lease.hostname)).collect()
    }

    fn namespace(&self) -> String {
        format!("br_eth0_{}", self.l3)
    }

    async fn used(&self) -> Vec<Value> {
        self.fleet.cloud.list("/l3-networks/ip-address").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_get_different_addresses_or_are_told_that_there_are_no_more() {
    let net = Net::start(1).await;
    net.cidr("10.1.0.0/26").await.unwrap();
    let nics = net.nics(100).await;
    let outcomes = join_all(nics.iter().map(|nic| net.allocate(*nic, None))).await;
    let (given, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let distinct: HashSet<_> = given.iter().map(|given| given.as_ref().unwrap().ip.clone()).collect();
    assert_eq!((given.len(), distinct.len(), refused.len()), (61, 61, 39));
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert!(error.details().contains("no free address left: 61 of 61 are in use"), "{error}");
    }
    let taken = nics.len() - 39;
    assert_eq!(net.used().await.len(), taken);

    let lucky = net.used().await[0]["vmNicUuid"].as_str().unwrap().parse::<Id<Any>>().unwrap();
    let had = net.allocate(lucky, None).await.unwrap();
    assert!(distinct.contains(&had.ip), "a nic keeps what it has");
    net.release(lucky).await;
    let next = net.fleet.nic(net.vm, &net.l3, "fa:02:00:00:00:01").await;
    assert_eq!(net.allocate(next, None).await.unwrap(), had, "the only one that is free");
}

#[tokio::test]
async fn the_last_address_of_a_large_range_is_found_at_once() {
    let net = Net::start(1).await;
    let range = uuid(&net.cidr("10.1.0.0/16").await.unwrap());
    const FILL: &str = "INSERT INTO used_ip (uuid, ip_range_uuid, l3_network_uuid, ip_version, ip, ip_in_long, \
         netmask, gateway, create_date, last_op_date) \
         WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 65534) \
         SELECT printf('%032x', i), $1, $2, 4, printf('10.1.%d.%d', i / 256, i % 256), 167837696 + i, '', '', 0, 0 \
         FROM n WHERE i <> 40000";
    net.fleet.sql(FILL, args![range, net.l3.clone()]).await;
    let nics = net.nics(2).await;
    let begun = Instant::now();
    assert_eq!(net.allocate(nics[0], None).await.unwrap().ip, "10.1.156.64");
    let error = net.allocate(nics[1], None).await.unwrap_err();
    assert!(error.details().contains("65533 of 65533"), "{error}");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_wanted_address_is_given_when_it_is_free() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.20").await.unwrap();
    let nics = net.nics(2).await;
    let address = net.allocate(nics[0], Some("10.1.0.15")).await.unwrap();
    let expected = ["10.1.0.15", "255.255.255.0", "10.1.0.1"].map(str::to_owned);
    assert_eq!([address.ip, address.netmask, address.gateway], expected);
    assert_eq!(net.allocate(nics[0], Some("10.1.0.15")).await.unwrap().ip, "10.1.0.15", "asked again");
    for (wanted, why) in
        [("10.1.0.15", "is in use"), ("10.1.0.1", "lies in none"), ("10.9.0.1", "lies in none")]
    {
        let error = net.allocate(nics[1], Some(wanted)).await.unwrap_err();
        assert!(error.details().contains(why), "{error}");
    }
    let error = net.allocate(nics[0], Some("10.1.0.16")).await.unwrap_err();
    assert!(error.details().contains("a nic that has 10.1.0.15"), "{error}");

    net.fleet
        .cloud
        .act(&net.path("/actions"), "changeL3NetworkState", json!({ "stateEvent": "disable" }))
        .await
        .unwrap();
    let error = net.allocate(nics[1], None).await.unwrap_err();
    assert!(error.is(codes::STATE) && error.details().contains("is Disabled"), "{error}");
}

#[tokio::test]
async fn the_first_address_is_given_when_that_strategy_is_set() {
    let net = Net::start(1).await;
    net.choose("FirstAvailableIpAllocatorStrategy").await.unwrap();
    net.range("10.1.0.30", "10.1.0.31").await.unwrap();
    net.range("10.1.0.10", "10.1.0.11").await.unwrap();
    let mut given = Vec::new();
    for nic in net.nics(4).await {
        given.push(net.allocate(nic, None).await.unwrap().ip);
    }
    assert_eq!(given, ["10.1.0.10", "10.1.0.11", "10.1.0.30", "10.1.0.31"]);
    let wrong = net.choose("Best").await.unwrap_err();
    assert!(wrong.details.contains("RandomIpAllocatorStrategy"), "{}", wrong.details);
}

#[tokio::test]
async fn ranges_of_one_wire_do_not_overlap_and_those_of_one_network_belong_together() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.20").await.unwrap();
    for (start, end) in [("10.1.0.20", "10.1.0.30"), ("10.1.0.5", "10.1.0.10"), ("10.1.0.12", "10.1.0.13")] {
        let refused = net.range(start, end).await.unwrap_err();
        assert!(refused.details.contains("overlaps the range \"10.1.0.10\""), "{}", refused.details);
    }
    let refused = net.cidr("10.2.0.0/24").await.unwrap_err();
    assert!(refused.details.contains("must have the same network and gateway"), "{}", refused.details);
    let other = json!({ "name": "other", "l2NetworkUuid": net.l2 });
    let other = uuid(&net.fleet.cloud.create("/l3-networks", other).await.unwrap());
    let params = json!({ "name": "r", "networkCidr": "10.1.0.0/24" });
    let path = format!("/l3-networks/{other}/ip-ranges/by-cidr");
    let refused = net.fleet.cloud.create(&path, params).await.unwrap_err();
    assert!(refused.details.contains("of l3 network \"net\""), "{}", refused.details);
    net.range("10.1.0.21", "10.1.0.30").await.unwrap();
    let shown = net.shown().await;
    let ranges: Vec<_> = shown["ipRanges"].as_array().unwrap().iter().map(|r| &r["startIp"]).collect();
    assert_eq!(ranges, [&json!("10.1.0.10"), &json!("10.1.0.21")]);
    assert_eq!(shown["ipRanges"][0]["networkCidr"], "10.1.0.0/24");
    assert_eq!(shown["ipRanges"][0]["prefixLen"], 24);
}

#[tokio::test]
async fn free_addresses_and_capacity_are_told() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.14").await.unwrap();
    let nics = net.nics(1).await;
    net.allocate(nics[0], Some("10.1.0.11")).await.unwrap();
    let cloud = &net.fleet.cloud;
    let free = cloud.list(&format!("/l3-networks/ip/free?l3NetworkUuid={}&limit=2", net.l3)).await;
    let free: Vec<_> = free.iter().map(|free| free["ip"].as_str().unwrap()).collect();
    assert_eq!(free, ["10.1.0.10", "10.1.0.12"]);
    let free = cloud.list(&format!("/l3-networks/ip/free?l3NetworkUuid={}&start=10.1.0.13", net.l3)).await;
    assert_eq!(free.len(), 2);
    for (ip, available) in
        [("10.1.0.11", false), ("10.1.0.10", true), ("10.1.0.1", false), ("10.1.0.99", false)]
    {
        let answer = cloud.get(&net.path(&format!("/ip/{ip}/availability"))).await.unwrap();
        assert_eq!(answer["available"], available, "{ip}");
    }
    let capacity = cloud.get(&format!("/ip-capacity?l3NetworkUuids={}", net.l3)).await.unwrap();
    assert_eq!((&capacity["totalCapacity"], &capacity["availableCapacity"]), (&json!(5), &json!(4)));
    assert_eq!(capacity["ipv4UsedIpAddressNumber"], 1);
    assert_eq!(capacity["capacityData"][0]["resourceUuid"], json!(net.l3));
    let other = cloud.get(&format!("/ip-capacity?zoneUuids={}", "0".repeat(32))).await.unwrap();
    assert_eq!(other["totalCapacity"], 0);
}

#[tokio::test]
async fn an_unsound_network_is_refused() {
    let net = Net::start(1).await;
    for (name, value, why) in [
        ("ipVersion", json!(6), "not supported yet"),
        ("ipVersion", json!(5), "must be 4 or 6"),
        ("enableIPAM", json!(false), "not supported yet"),
        ("type", json!("L3VpcNetwork"), "there is L3BasicNetwork"),
        ("dnsDomain", json!("no domain"), "a domain name"),
        ("category", json!("Secret"), "Public"),
        ("l2NetworkUuid", json!("0".repeat(32)), "there is no l2 network"),
    ] {
        let mut params = json!({ "name": "x", "l2NetworkUuid": net.l2 });
        params[name] = value;
        let refused = net.fleet.cloud.create("/l3-networks", params).await.unwrap_err();
        assert!(refused.details.contains(why), "{name}: {}", refused.details);
    }
    let shown = net.shown().await;
    assert_eq!((&shown["category"], &shown["enableIPAM"]), (&json!("Private"), &json!(true)));
    for list in ["dns", "ipRanges", "networkServices", "hostRoute", "reservedIpRanges"] {
        assert_eq!(shown[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn services_are_attached_and_detached() {
    let net = Net::start(1).await;
    let providers = net.fleet.cloud.list("/network-services/providers").await;
    let known: Vec<_> = providers.iter().map(|p| p["type"].as_str().unwrap()).collect();
    assert_eq!(known, NETWORK_SERVICES.types(), "each driver has its row");
    assert_eq!(providers[0]["networkServiceTypes"], json!(["DHCP", "DNS"]));
    let services = json!({ "networkServices": { uuid(&providers[0]): ["DHCP", "DNS"] } });
    let path = net.path("/network-services");
    let shown = net.fleet.cloud.create(&path, services.clone()).await.unwrap();
    assert_eq!(shown["networkServices"][0]["networkServiceType"], "DHCP");
    assert_eq!(shown["networkServices"][1]["networkServiceProviderUuid"], providers[0]["uuid"]);
    let again = net.fleet.cloud.create(&path, services).await.unwrap_err();
    assert!(again.details.contains("has a provider of DHCP already"), "{}", again.details);
    for (services, why) in [
        (json!({ "Flat": ["SNAT"] }), "does not provide SNAT"),
        (json!({ "Nobody": ["DHCP"] }), "there is no network service provider"),
        (json!({}), "names no service"),
    ] {
        let refused =
            net.fleet.cloud.create(&path, json!({ "networkServices": services })).await.unwrap_err();
        assert!(refused.details.contains(why), "{}", refused.details);
    }
    net.fleet.cloud.delete(&format!("{path}?service=DNS")).await.unwrap();
    let body = json!({ "params": { "networkServices": { "Flat": ["DHCP"] } } });
    net.fleet.cloud.call(Method::DELETE, &path, body).await.unwrap();
    assert_eq!(net.shown().await["networkServices"], json!([]));
}

#[tokio::test]
async fn a_guest_is_served_on_its_host_until_it_goes() {
    let net = Net::served(2).await;
    let guest = net.guest("web", "fa:00:00:00:00:01", 0).await;
    let namespace = net.fleet.world(0).namespaces().remove(&net.namespace()).unwrap();
    let server = net.used().await.into_iter().find(|used| used["usedFor"] == "DHCP").unwrap();
    assert_eq!(namespace.server, server["ip"].as_str().unwrap());
    let lease = &namespace.leases["fa:00:00:00:00:01"];
    assert_eq!((lease.ip.as_str(), lease.gateway.as_deref()), (guest.lease.ip.as_str(), Some("10.1.0.1")));
    assert_eq!(
        (lease.dns.as_slice(), lease.dns_domain.as_deref()),
        (["9.9.9.9".to_owned()].as_slice(), Some("cloud.local"))
    );
    assert!(net.fleet.world(1).namespaces().is_empty(), "the other host has no guest of it");

    net.guest("db", "fa:00:00:00:00:02", 1).await;
    assert_eq!(
        net.fleet.world(1).namespaces()[&net.namespace()].server,
        namespace.server,
        "one for all hosts"
    );
    net.serve(&guest, true).await.unwrap();
    assert!(net.known(0).is_empty());
    assert_eq!(net.known(1).len(), 1);
}

#[tokio::test]
async fn a_network_without_dhcp_leaves_the_hosts_alone() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.99").await.unwrap();
    net.guest("web", "fa:00:00:00:00:01", 0).await;
    assert_eq!(net.fleet.world(0).count(BatchPrepare::PATH), 0);
    assert_eq!(net.used().await.len(), 1);

    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    net.fleet.cloud.create(&net.path("/network-services"), services).await.unwrap();
    assert_eq!(net.known(0).len(), 1, "guests that run already are served too");
    net.fleet.cloud.delete(&net.path("/network-services?service=DHCP")).await.unwrap();
    assert!(net.fleet.world(0).namespaces().is_empty());
}

#[tokio::test]
async fn what_guests_are_told_changes_at_once_or_not_at_all() {
    let net = Net::served(2).await;
    net.guest("web", "fa:00:00:00:00:01", 0).await;
    net.guest("db", "fa:00:00:00:00:02", 1).await;
    let told = |host: usize| {
        let namespace = net.fleet.world(host).namespaces().remove(&net.namespace()).unwrap();
        let lease = namespace.leases.into_values().next().unwrap();
        (lease.dns, lease.dns_domain.unwrap())
    };
    let dns = |list: &[&str]| list.iter().map(|dns| (*dns).to_owned()).collect::<Vec<_>>();
    net.fleet.cloud.create(&net.path("/dns"), json!({ "dns": "1.1.1.1" })).await.unwrap();
    assert_eq!(told(0), (dns(&["9.9.9.9", "1.1.1.1"]), "cloud.local".into()));

    net.fleet.world(1).refuses(BatchApply::PATH, "no space left");
    let refused = net.fleet.cloud.delete(&net.path("/dns/9.9.9.9")).await.unwrap_err();
    assert!(refused.details.contains("no space left"), "{}", refused.details);
    assert_eq!(net.shown().await["dns"], json!(["9.9.9.9", "1.1.1.1"]));

    assert_eq!(net.fleet.cloud.list("/flows?q=state=parked").await.len(), 1, "the undo failed too");
    net.fleet.world(1).obeys();
    let settled = || async { net.fleet.cloud.list("/flows?q=state=parked").await.is_empty() };
    until("the undo that failed too has succeeded", settled).await;
    assert_eq!((told(0).0, told(1).0), (dns(&["9.9.9.9", "1.1.1.1"]), dns(&["9.9.9.9", "1.1.1.1"])));
    net.fleet.cloud.delete(&net.path("/dns/9.9.9.9")).await.unwrap();
    let domain = json!({ "dnsDomain": "new.local" });
    let shown = net.fleet.cloud.act(&net.path("/actions"), "updateL3Network", domain).await.unwrap();
    assert_eq!((&shown["dnsDomain"], &shown["name"]), (&json!("new.local"), &json!("net")));
    for host in 0..2 {
        assert_eq!(told(host), (dns(&["1.1.1.1"]), "new.local".into()));
    }
    let unknown = net.fleet.cloud.delete(&net.path("/dns/9.9.9.9")).await.unwrap_err();
    assert!(unknown.details.contains("has no dns server 9.9.9.9"), "{}", unknown.details);
}

#[tokio::test]
async fn guests_leave_an_address_to_the_server() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.11").await.unwrap();
    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    net.fleet.cloud.create(&net.path("/network-services"), services).await.unwrap();
    let guest = net.guest("web", "fa:00:00:00:00:01", 0).await;
    let nics = net.nics(1).await;
    let error = net.allocate(nics[0], None).await.unwrap_err();
    assert!(error.details().contains("2 of 2 are in use"), "{error}");
    let server = net.fleet.world(0).namespaces().remove(&net.namespace()).unwrap().server;
    assert_eq!((&*server, &*guest.lease.ip), ("10.1.0.11", "10.1.0.10"), "the server stands at the end");
}

#[tokio::test]
async fn the_server_leaves_an_address_to_the_guest_that_wants_it() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.11").await.unwrap();
    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    net.fleet.cloud.create(&net.path("/network-services"), services).await.unwrap();
    net.choose("FirstAvailableIpAllocatorStrategy").await.unwrap();
    let nics = net.nics(1).await;
    assert_eq!(net.allocate(nics[0], Some("10.1.0.11")).await.unwrap().ip, "10.1.0.11");
    let server = net.fleet.cloud.get(&net.path("/dhcp-ip")).await.unwrap();
    assert_eq!(server["ip"], "10.1.0.10");
}

#[tokio::test]
async fn a_host_that_comes_back_serves_exactly_the_guests_that_it_has() {
    let net = Net::served(1).await;
    net.guest("web", "fa:00:00:00:00:01", 0).await;
    let gone = net.guest("db", "fa:00:00:00:00:02", 0).await;
    net.release(gone.nic).await;
    net.fleet.sql("DELETE FROM vm_nic WHERE uuid = $1", args![gone.nic]).await;
    let path = format!("/hosts/{}/actions", net.fleet.hosts[0]);
    net.fleet.cloud.act(&path, "reconnectHost", json!({})).await.unwrap();
    let expected = BTreeMap::from([("fa:00:00:00:00:01".to_owned(), Some("web".to_owned()))]);
    assert_eq!(net.known(0), expected);

    net.fleet.world(0).namespaces.lock().unwrap().clear();
    net.fleet.cloud.act(&path, "reconnectHost", json!({})).await.unwrap();
    assert_eq!(net.known(0), expected, "also after it was reinstalled");
}

#[tokio::test]
async fn the_server_moves_when_its_range_goes_and_goes_with_the_last_one() {
    let net = Net::start(1).await;
    let first = uuid(&net.range("10.1.0.10", "10.1.0.10").await.unwrap());
    let services = json!({ "networkServices": { "Flat": ["DHCP"] } });
    net.fleet.cloud.create(&net.path("/network-services"), services).await.unwrap();
    let guest = Guest {
        nic: Id::random(),
        host: 0,
        lease: Lease { mac: "fa:00:00:00:00:01".into(), ip: "10.1.0.60".into(), ..Lease::default() },
    };
    net.serve(&guest, false).await.unwrap();
    let server =
        || net.fleet.world(0).namespaces().remove(&net.namespace()).map(|namespace| namespace.server);
    assert_eq!(server().as_deref(), Some("10.1.0.10"));
    let second = uuid(&net.range("10.1.0.20", "10.1.0.20").await.unwrap());
    net.fleet.cloud.delete(&format!("/l3-networks/ip-ranges/{first}")).await.unwrap();
    assert_eq!(server().as_deref(), Some("10.1.0.20"));
    net.fleet.cloud.delete(&format!("/l3-networks/ip-ranges/{second}")).await.unwrap();
    assert_eq!(server(), None);
    assert!(net.used().await.is_empty());
}

#[tokio::test]
async fn a_deleted_zone_leaves_nothing_of_its_networks() {
    let net = Net::served(2).await;
    for (name, mac, host) in [("web", "fa:00:00:00:00:01", 0), ("db", "fa:00:00:00:00:02", 1)] {
        let guest = net.guest(name, mac, host).await;
        net.release(guest.nic).await;
        net.fleet.sql("DELETE FROM vm_nic WHERE uuid = $1", args![guest.nic]).await;
    }
    net.fleet.sql("DELETE FROM vm_instance", args![]).await;
    net.fleet.world(1).refuses(DeleteNamespace::PATH, "busy");
    let refused = net.fleet.cloud.delete(&net.path("")).await.unwrap_err();
    assert!(refused.details.contains("busy"), "{}", refused.details);
    assert_eq!(net.shown().await["name"], "net");

    net.fleet.world(1).obeys();
    let settled = async || net.fleet.cloud.list("/flows?q=state?=running,parked").await.is_empty();
    until("what had begun to go has gone", settled).await;
    net.fleet.cloud.delete(&format!("/zones/{}", net.fleet.zone)).await.unwrap();
    for host in 0..2 {
        assert!(net.fleet.world(host).namespaces().is_empty());
        assert!(net.fleet.world(host).bridges().is_empty());
    }
    for list in
        ["/l2-networks", "/l3-networks", "/l3-networks/ip-ranges", "/l3-networks/ip-address", "/hosts"]
    {
        assert!(net.fleet.cloud.list(list).await.is_empty(), "{list}");
    }
}

#[tokio::test]
async fn what_is_reserved_is_given_to_nobody() {
    let net = Net::start(1).await;
    net.range("10.1.0.10", "10.1.0.15").await.unwrap();
    let cloud = &net.fleet.cloud;
    let reserve = async |start: &str, end: &str| {
        cloud.create(&net.path("/reserved-ip-ranges"), json!({ "startIp": start, "endIp": end })).await
    };
    let reserved = reserve("10.1.0.12", "10.1.0.14").await.unwrap();
    assert!(reserve("10.1.0.14", "10.1.0.20").await.unwrap_err().details.contains("is reserved already"));
    assert!(reserve("10.1.0.9", "10.1.0.8").await.unwrap_err().details.contains("must not come after"));
    assert_eq!(net.shown().await["reservedIpRanges"][0]["uuid"], reserved["uuid"]);
    let free = async || -> Vec<String> {
        let free = cloud.list(&format!("/l3-networks/ip/free?l3NetworkUuid={}", net.l3)).await;
        free.iter().map(|one| one["ip"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(free().await, ["10.1.0.10", "10.1.0.11", "10.1.0.15"]);
    let take = async |nic: Id<Any>, wanted: Option<&str>| {
        let (l3, wanted) = (net.id(), wanted.map(|ip| ip.parse().unwrap()));
        cloud.engine.db().write(move |tx| Box::pin(allocate(tx, l3, nic, wanted))).await
    };
    let nics = net.nics(4).await;
    let refused = take(nics[3], Some("10.1.0.13")).await.unwrap_err();
    assert!(refused.details().contains("or is reserved"), "{refused}");
    let mut taken = Vec::new();
    for nic in &nics[..3] {
        taken.push(take(*nic, None).await.unwrap().ip);
    }
    taken.sort();
    assert_eq!(taken, ["10.1.0.10", "10.1.0.11", "10.1.0.15"]);
    let full = take(nics[3], None).await.unwrap_err();
    assert!(full.details().contains("3 of 3 are in use"), "{full}");
    let (_, tenant) = cloud.tenant("t").await;
    let path = format!("/l3-networks/reserved-ip-ranges/{}", uuid(&reserved));
    assert_eq!(tenant.delete(&path).await.unwrap_err().status, 404);
    cloud.delete(&path).await.unwrap();
    assert_eq!(free().await, ["10.1.0.12", "10.1.0.13", "10.1.0.14"]);
    assert_eq!(take(nics[3], Some("10.1.0.13")).await.unwrap().ip, "10.1.0.13");
}
