use std::collections::HashMap;

use engine::db::{Tx, Value};
use engine::{Id, args};
use serde_json::json;

use super::{Demand, LEAST_VM, choose, claim};
use crate::config::Ports;
use crate::host::Host;
use crate::testing::Cloud;
use crate::vm::VmInstance;

const HOST: &str = "INSERT INTO host (uuid, name, zone_uuid, cluster_uuid, management_ip, hypervisor_type, state, \
     status, username, ssh_port, cpu_num, cpu_sockets, cpu_speed, total_memory, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, 'KVM', $6, 'Connected', 'root', 22, 16, 1, 0, $7, 0, 0)";
const VM: &str = "INSERT INTO vm_instance (uuid, internal_id, name, platform, type, hypervisor_type, cpu_num, \
     cpu_speed, memory_size, reserved_memory_size, allocator_strategy, virtio, state, create_date, \
     last_op_date) VALUES ($1, $2, 'v', 'Linux', 'UserVm', 'KVM', 1, 0, 1, 0, 's', TRUE, 'Running', 0, 0)";
const GIB: i64 = 1 << 30;

/// A cloud of hosts that nobody asks, and that have this much memory each and this state.
struct Crowd {
    cloud: Cloud,
    hosts: Vec<Id<Host>>,
}

impl Crowd {
    async fn of(hosts: &[(i64, &'static str)]) -> Crowd {
        let cloud = Cloud::start(Ports::default()).await;
        let zone = cloud.create("/zones", json!({ "name": "z" })).await.unwrap()["uuid"].clone();
        let cluster = json!({ "name": "c", "zoneUuid": zone, "hypervisorType": "KVM" });
        let cluster = cloud.create("/clusters", cluster).await.unwrap()["uuid"].clone();
        let (zone, cluster) = (zone.as_str().unwrap().to_owned(), cluster.as_str().unwrap().to_owned());
        let ids: Vec<Id<Host>> = hosts.iter().map(|_| Id::random()).collect();
        let rows: Vec<Vec<Value>> = ids
            .iter()
            .zip(hosts)
            .enumerate()
            .map(|(n, (id, (memory, state)))| {
                let (name, ip) = (format!("hv{n}"), format!("10.1.{}.{}", n >> 8, n & 255));
                args![*id, name, &zone, &cluster, ip, *state, *memory]
            })
            .collect();
        let entered = cloud.engine.db().write(move |tx| {
            Box::pin(async move {
                for row in rows {
                    tx.exec(HOST, row).await?;
                }
                Ok(())
            })
        });
        entered.await.unwrap();
        Crowd { cloud, hosts: ids }
    }

    /// So many VMs find their hosts one after another: how many each has.
    async fn fill(&self, vms: i64, strategy: &'static str) -> HashMap<Id<Host>, i64> {
        let filled = self.cloud.engine.db().write(move |tx| {
            Box::pin(async move {
                let mut taken = HashMap::new();
                for number in 0..vms {
                    *taken.entry(place(tx, number, &wish(), strategy).await?).or_default() += 1;
                }
                Ok(taken)
            })
        });
        filled.await.unwrap()
    }

    /// Where one VM of this demand comes to, or why nowhere.
    async fn one(&self, number: i64, demand: Demand, strategy: &'static str) -> Result<Id<Host>, String> {
        let db = self.cloud.engine.db();
        let placed =
            db.write(move |tx| Box::pin(async move { place(tx, number, &demand, strategy).await })).await;
        placed.map_err(|error| error.details().to_owned())
    }
}

fn wish() -> Demand {
    Demand { hypervisor: "KVM".into(), cpu: 1, memory: 128 << 20, ..Demand::default() }
}

async fn place(tx: &mut Tx, number: i64, demand: &Demand, strategy: &str) -> engine::Result<Id<Host>> {
    let vm = Id::<VmInstance>::random();
    let place = choose(tx, demand, strategy).await?;
    tx.exec(VM, args![vm, 1000 + number]).await?;
    claim(tx, vm, demand, &place.host, &[]).await?;
    Ok(place.host.uuid)
}

#[tokio::test]
async fn the_load_is_spread() {
    let crowd = Crowd::of(&[(64 * GIB, "Enabled"); 100]).await;
    let taken = crowd.fill(1000, LEAST_VM).await;
    assert_eq!(taken.len(), 100);
    assert!(taken.values().all(|vms| *vms == 10), "{taken:?}");
    let crowd = Crowd::of(&[(64 * GIB, "Enabled"); 100]).await;
    let taken = crowd.fill(1000, "DefaultHostAllocatorStrategy").await;
    let most = taken.values().max().unwrap();
    assert!(taken.len() > 90 && (11..=35).contains(most), "{} hosts, {most} at most", taken.len());
}

/// What SQLite would sort it would have to read wholly, however many hosts there are.
#[tokio::test]
async fn a_few_hosts_are_read_in_the_order_of_an_index() {
    let crowd = Crowd::of(&[(64 * GIB, "Enabled"); 10]).await;
    let plan: &'static str = format!("EXPLAIN QUERY PLAN {}", super::store::FIRST).leak();
    let none = || None::<&str>;
    let mut tx = crowd.cloud.engine.db().read().await.unwrap();
    let values = args![none(), none(), "KVM", 1_i64, GIB];
    let steps: Vec<(i64, i64, i64, String)> = tx.all(plan, values).await.unwrap();
    let steps: Vec<_> = steps.into_iter().map(|step| step.3).collect();
    assert!(steps.iter().any(|step| step.contains("host_usage_vms")), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("ORDER BY")), "{steps:?}");
}

#[tokio::test]
async fn the_last_host_is_preferred_as_long_as_it_has_the_room() {
    let crowd = Crowd::of(&[(3 * GIB, "Enabled"); 4]).await;
    let last = Demand { last: Some(crowd.hosts[2]), memory: GIB, ..wish() };
    for number in 0..2 {
        let host = crowd.one(number, last.clone(), "LastHostPreferredAllocatorStrategy").await;
        assert_eq!(host, Ok(crowd.hosts[2]), "2 GiB are left after the reservation");
    }
    let other = crowd.one(2, last.clone(), "LastHostPreferredAllocatorStrategy").await.unwrap();
    assert_ne!(other, crowd.hosts[2]);
    let elsewhere = Demand { avoid: Some(other), ..last };
    let moved = crowd.one(3, elsewhere, super::MIGRATE_VM).await.unwrap();
    assert!(![other, crowd.hosts[2]].contains(&moved));
}

#[tokio::test]
async fn a_named_host_is_the_only_one() {
    let crowd = Crowd::of(&[(3 * GIB, "Enabled"); 4]).await;
    let named = Demand { host: Some(crowd.hosts[3]), memory: 2 * GIB, ..wish() };
    assert_eq!(crowd.one(0, named.clone(), LEAST_VM).await, Ok(crowd.hosts[3]));
    let refused = crowd.one(1, named, "DesignatedHostAllocatorStrategy").await.unwrap_err();
    let words =
        "host \"hv3\" has 0 MiB of 3 GiB of memory left for VMs (1 GiB are reserved), 2 GiB are needed";
    assert!(refused.ends_with(words), "{refused}");
    let refused = crowd.one(2, wish(), "DesignatedHostAllocatorStrategy").await.unwrap_err();
    assert!(refused.contains("hostUuid"), "{refused}");
}

#[tokio::test]
async fn when_there_is_no_host_the_reasons_are_counted() {
    let mut hosts = vec![(2 * GIB, "Enabled"); 8];
    hosts.extend([(64 * GIB, "Disabled"); 3]);
    let crowd = Crowd::of(&hosts).await;
    let refused = crowd.one(0, Demand { memory: 4 * GIB, cpu: 200, ..wish() }, LEAST_VM).await.unwrap_err();
    assert!(refused.contains("of 11 hosts 11 fail 8 at HostCapacity, 3 at HostState"), "{refused}");
    assert_eq!(refused.matches("host \"").count(), 5, "{refused}");
    let words = "has 160 of 160 CPUs left, 200 are needed, and has 1 GiB of 2 GiB of memory left";
    assert!(refused.contains(words) || refused.contains("is Disabled"), "{refused}");
}

#[tokio::test]
async fn a_vm_that_wants_a_host_tag_comes_only_where_it_is() {
    let crowd = Crowd::of(&[(3 * GIB, "Enabled"); 30]).await;
    let gpu = Demand { host_tags: vec!["gpu".into()], memory: GIB, ..wish() };
    let refused = crowd.one(0, gpu.clone(), LEAST_VM).await.unwrap_err();
    assert!(refused.contains("has no user tag \"gpu\""), "{refused}");
    assert!(refused.contains("of 30 hosts 30 fail 30 at Tag"), "{refused}");
    let tag = json!({ "resourceType": "HostVO", "resourceUuid": crowd.hosts[17], "tag": "gpu" });
    crowd.cloud.create("/user-tags", tag).await.unwrap();
    for number in 0..2 {
        assert_eq!(crowd.one(number, gpu.clone(), LEAST_VM).await, Ok(crowd.hosts[17]));
    }
    let refused = crowd.one(2, gpu, LEAST_VM).await.unwrap_err();
    assert!(refused.contains("29 at Tag, 1 at HostCapacity"), "{refused}");
}

#[tokio::test]
async fn offerings_carry_any_strategy_that_there_is() {
    let crowd = Crowd::of(&[]).await;
    let there = crowd.cloud.get("/hosts/allocators/strategies").await.unwrap();
    let there: Vec<String> = serde_json::from_value(there["strategies"].clone()).unwrap();
    assert!(there.len() >= 5);
    for strategy in there {
        let offering = json!({ "name": "o", "cpuNum": 1, "memorySize": GIB, "allocatorStrategy": strategy });
        let made = crowd.cloud.create("/instance-offerings", offering).await.unwrap();
        assert_eq!(made["allocatorStrategy"], strategy);
    }
    let offering = json!({ "name": "o", "cpuNum": 1, "memorySize": GIB, "allocatorStrategy": "Mine" });
    let refused = crowd.cloud.create("/instance-offerings", offering).await.unwrap_err();
    assert!(refused.details.contains("there are LeastVm"), "{}", refused.details);
}
