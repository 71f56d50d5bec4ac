//! VXLANs: networks of their own between hosts, over one that is there.

use std::collections::BTreeSet;

use fleet::Host;
use hyper::Method;
use serde_json::{Value, json};

use crate::site::Site;

struct Tunnelled {
    site: Site,
    other: Host,
    pool: String,
}

fn uuid(made: &Value) -> String {
    made["uuid"].as_str().unwrap().to_owned()
}

impl Tunnelled {
    /// Two hosts, and a pool of the numbers 100 to 102 that they do not have yet.
    async fn start(number: u8) -> Tunnelled {
        let (site, other) = Site::of_two(number).await;
        let pool = json!({ "name": "overlay", "zoneUuid": site.zone });
        let pool = uuid(&site.api.create("/l2-networks/vxlan-pool", pool).await.unwrap());
        let range = json!({ "name": "low", "startVni": 100, "endVni": 102 });
        site.api.create(&format!("/l2-networks/vxlan-pool/{pool}/vni-ranges"), range).await.unwrap();
        Tunnelled { site, other, pool }
    }

    fn place(&self) -> String {
        format!("/l2-networks/{}/clusters/{}", self.pool, self.site.cluster)
    }

    async fn attach(&self) {
        let (pool, cluster) = (&self.pool, &self.site.cluster);
        let tag = format!("l2NetworkUuid::{pool}::clusterUuid::{cluster}::cidr::{{127.0.0.0/8}}");
        let body = json!({ "params": {}, "systemTags": [tag] });
        self.site.api.call(Method::POST, &self.place(), body).await.unwrap();
    }

    async fn network(&self, name: &str) -> Value {
        let params = json!({ "name": name, "poolUuid": self.pool });
        self.site.api.create("/l2-networks/vxlan", params).await.unwrap()
    }

    /// The ends that each host knows of the other's, by way of this network.
    fn peers(&self, network: &str) -> [Option<BTreeSet<String>>; 2] {
        [self.site.world(), &self.other.world]
            .map(|world| world.state().tunnels.get(network).map(|tunnel| tunnel.peers.clone()))
    }

    /// What they should know: each the other.
    async fn ends(&self) -> [Option<BTreeSet<String>>; 2] {
        let found = self.site.list("/l2-networks/vteps").await;
        let of = |host: &str| {
            let end = found.iter().find(|end| end["hostUuid"] == host);
            Some([end.unwrap()["vtepIp"].as_str().unwrap().to_owned()].into())
        };
        [of(&self.site.hosts[1]), of(&self.site.hosts[0])]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vxlan_is_on_all_hosts_of_its_pool_and_each_knows_the_others() {
    let there = Tunnelled::start(61).await;
    let site = &there.site;
    let early = there.network("early").await;
    assert_eq!((&early["vni"], &early["type"]), (&json!(100), &json!("VxlanNetwork")));
    assert_eq!(there.peers(&uuid(&early)), [None, None], "no cluster has the pool");
    there.attach().await;
    let ends = there.ends().await;
    assert_eq!(there.peers(&uuid(&early)), ends);
    let late = there.network("late").await;
    assert_eq!(late["vni"], 101);
    assert_eq!(there.peers(&uuid(&late)), ends);
    assert_eq!(late["attachedClusterUuids"], json!([site.cluster]));

    let pool = &site.list(&format!("/l2-networks/vxlan-pool?q=uuid={}", there.pool)).await[0];
    assert_eq!(pool["attachedCidrs"], json!({ &*site.cluster: "127.0.0.0/8" }));
    assert_eq!(pool["attachedVtepRefs"].as_array().unwrap().len(), 2);
    let networks = pool["attachedVxlanNetworkRefs"].as_array().unwrap();
    assert_eq!(networks.len(), 2);
    assert_eq!(networks[1]["attachedClusterUuids"], json!([site.cluster]));
    assert_eq!(pool["attachedVniRanges"][0]["endVni"], 102);

    let l3 = json!({ "name": "inside", "l2NetworkUuid": late["uuid"] });
    let l3 = uuid(&site.api.create("/l3-networks", l3).await.unwrap());
    let range = json!({ "name": "r", "startIp": "192.168.7.10", "endIp": "192.168.7.20",
        "netmask": "255.255.255.0", "gateway": "192.168.7.1" });
    site.api.create(&format!("/l3-networks/{l3}/ip-ranges"), range).await.unwrap();
    let mut vm = site.vm("web");
    vm["l3NetworkUuids"] = json!([l3]);
    let vm = site.api.create("/vm-instances", vm).await.unwrap();
    assert_eq!(vm["state"], "Running");
    let plugged = [site.world(), &there.other.world].map(|world| world.state().plugs.clone());
    assert!(
        plugged.iter().flat_map(|plugs| plugs.values()).any(|bridge| bridge == "br_vx_101"),
        "{plugged:?}"
    );

    site.api.call(Method::DELETE, &there.place(), Value::Null).await.unwrap();
    assert_eq!(there.peers(&uuid(&late)), [None, None]);
    assert!(site.list("/l2-networks/vteps").await.is_empty());
    let stopped = &site.list(&format!("/vm-instances?q=uuid={}", uuid(&vm))).await[0];
    assert_eq!(stopped["state"], "Stopped", "it was stopped before its network went");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_is_known_to_those_that_are_there() {
    let there = Tunnelled::start(62).await;
    let (site, path) = (&there.site, format!("/hosts/{}", there.site.hosts[1]));
    there.attach().await;
    let network = uuid(&there.network("one").await);
    let ends = there.ends().await;
    site.api.call(Method::DELETE, &path, Value::Null).await.unwrap();
    assert_eq!(there.peers(&network), [Some(BTreeSet::new()), None]);
    let back = json!({ "name": "hv2", "managementIp": ends[0].as_ref().unwrap().first(),
        "clusterUuid": site.cluster, "username": "root", "password": "unused", "resourceUuid": site.hosts[1] });
    site.api.create("/hosts/kvm", back).await.unwrap();
    assert_eq!(there.peers(&network), there.ends().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pools_numbers_are_taken_once_and_what_cannot_be_is_refused() {
    let there = Tunnelled::start(63).await;
    let (site, ranges) = (&there.site, format!("/l2-networks/vxlan-pool/{}/vni-ranges", there.pool));
    let vxlans = "/l2-networks/vxlan";
    let refused = async |path: &str, params: Value| {
        site.refused(Method::POST, path, json!({ "params": params })).await.details
    };
    let overlapping = refused(&ranges, json!({ "name": "x", "startVni": 102, "endVni": 200 })).await;
    assert!(overlapping.contains("overlaps the range \"low\" (100 to 102)"), "{overlapping}");
    let one = |vni: i64| json!({ "name": "one", "poolUuid": there.pool, "vni": vni });
    site.api.create(vxlans, one(101)).await.unwrap();
    for vni in [101, 103] {
        let told = refused(vxlans, one(vni)).await;
        assert!(told.contains(&format!("number {vni} is taken in pool \"overlay\", or in none")), "{told}");
    }
    assert_eq!(
        [there.network("a").await["vni"].clone(), there.network("b").await["vni"].clone()],
        [100, 102]
    );
    let full = refused(vxlans, json!({ "name": "c", "poolUuid": there.pool })).await;
    assert!(full.contains("has no number left"), "{full}");

    let bare = refused(&there.place(), json!({})).await;
    assert!(bare.contains("cidr::10.10.0.0/16"), "{bare}");
    let plugged = refused("/l3-networks", json!({ "name": "no", "l2NetworkUuid": there.pool })).await;
    assert!(plugged.contains("only carries others"), "{plugged}");
    let pool = format!("/l2-networks/{}", there.pool);
    let kept = site.refused(Method::DELETE, &pool, Value::Null).await.details;
    assert!(kept.contains("it has 3 networks"), "{kept}");
    there.attach().await;
    let tunnels = || [site.world(), &there.other.world].map(|world| world.state().tunnels.len());
    assert_eq!(tunnels(), [3, 3]);
    site.api.call(Method::DELETE, &format!("/zones/{}", site.zone), Value::Null).await.unwrap();
    assert!(site.list(vxlans).await.is_empty(), "a zone takes both along");
    assert_eq!(tunnels(), [0, 0]);
}
