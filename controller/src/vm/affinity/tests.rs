use engine::db::Tx;
use engine::{Any, Id, codes};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::affinity_group::AffinityGroup;
use crate::host::simulated::{Fleet, uuid};
use crate::host::{self, Host};
use crate::vm::allocate::{self, Demand, LEAST_VM};

const GIB: i64 = 1 << 30;

/// Hosts of 8 GiB each, and a group.
struct Town {
    fleet: Fleet,
    group: String,
}

impl Town {
    async fn build(hosts: u8, policy: &str) -> Town {
        const FACTS: &str = "UPDATE host SET cpu_num = 4, total_memory = 8589934592";
        let fleet = Fleet::start(hosts).await;
        fleet.sql(FACTS, Vec::new()).await;
        let params = json!({ "name": "front", "policy": policy });
        let group = uuid(&fleet.cloud.create("/affinity-groups", params).await.unwrap());
        Town { fleet, group }
    }

    /// A VM that runs on the host, by its number, as far as claims go.
    async fn runs(&self, name: &str, host: usize) -> Id<Any> {
        let vm = self.fleet.vm(name, &self.fleet.hosts[host]).await;
        let host: Id<Host> = self.fleet.hosts[host].parse().unwrap();
        self.write(move |tx| Box::pin(host::claim_as_it_is(tx, vm, host, 1, GIB))).await.unwrap();
        vm
    }

    async fn write<T, F>(&self, unit: F) -> engine::Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> futures::future::BoxFuture<'t, engine::Result<T>> + Send + 'static,
    {
        self.fleet.cloud.engine.db().write(unit).await
    }

    async fn add(&self, vm: Id<Any>) -> Result<Value, crate::testing::Refused> {
        self.fleet
            .cloud
            .create(&format!("/affinity-groups/{}/vm-instances/{vm}", self.group), json!({}))
            .await
    }

    /// Where a new VM of the group comes to; its row is there, as a creation would have entered it.
    async fn place(&self, vm: Id<Any>, memory: i64) -> Result<String, String> {
        let group: Id<AffinityGroup> = self.group.parse().unwrap();
        let demand =
            Demand { hypervisor: "KVM".into(), cpu: 1, memory, groups: vec![group], ..Demand::default() };
        let placed = self.write(move |tx| {
            Box::pin(async move {
                let place = allocate::choose(tx, &demand, LEAST_VM).await?;
                super::join(tx, &demand.groups, vm.cast()).await?;
                allocate::claim(tx, vm.cast(), &demand, &place.host, &[]).await?;
                Ok(place.host.uuid.to_string())
            })
        });
        placed.await.map_err(|error| error.details().to_owned())
    }

    /// A row without a place.
    async fn row(&self, name: &str) -> Id<Any> {
        const LOOSE: &str = "UPDATE vm_instance SET host_uuid = NULL";
        let vm = self.fleet.vm(name, &self.fleet.hosts[0]).await;
        self.fleet.sql(LOOSE, Vec::new()).await;
        vm
    }
}

#[tokio::test]
async fn two_of_a_hard_group_that_come_at_once_do_not_share_a_host() {
    let town = Town::build(2, "antiHard").await;
    let vms = [town.row("a").await, town.row("b").await, town.row("c").await];
    let placed = join_all(vms.map(|vm| town.place(vm, GIB))).await;
    let (there, refused): (Vec<_>, Vec<_>) = placed.into_iter().partition(Result::is_ok);
    let mut hosts: Vec<_> = there.into_iter().map(Result::unwrap).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 2);
    let refused = refused[0].as_ref().unwrap_err();
    let words = "has 1 VMs of the antiHard affinity group \"front\" already";
    assert!(refused.contains(words), "{refused}");
    let group = &town.fleet.cloud.list("/affinity-groups").await[0];
    assert_eq!(group["usages"].as_array().unwrap().len(), 2, "who found no place is in no group");
    let disable = json!({ "stateEvent": "disable" });
    let path = format!("/affinity-groups/{}/actions", town.group);
    town.fleet.cloud.act(&path, "changeAffinityGroupState", disable).await.unwrap();
    for vm in vms {
        if !group["usages"].to_string().contains(&vm.to_string()) {
            town.place(vm, GIB).await.unwrap();
        }
    }
}

#[tokio::test]
async fn soft_groups_are_kept_as_long_as_there_is_a_host() {
    let town = Town::build(3, "antiSoft").await;
    let mut hosts = Vec::new();
    for name in ["a", "b", "c"] {
        hosts.push(town.place(town.row(name).await, GIB).await.unwrap());
    }
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 3);
    town.place(town.row("d").await, GIB).await.unwrap();
    let town = Town::build(3, "proSoft").await;
    let first = town.place(town.row("a").await, 4 * GIB).await.unwrap();
    assert_eq!(town.place(town.row("b").await, 3 * GIB).await.unwrap(), first);
    assert_ne!(town.place(town.row("c").await, GIB).await.unwrap(), first, "it is full");
}

#[tokio::test]
async fn all_of_a_hard_group_are_where_the_first_one_is() {
    let town = Town::build(3, "proHard").await;
    let first = town.place(town.row("a").await, 4 * GIB).await.unwrap();
    assert_eq!(town.place(town.row("b").await, 3 * GIB).await.unwrap(), first);
    let refused = town.place(town.row("c").await, GIB).await.unwrap_err();
    assert!(refused.contains("has no VM of the proHard affinity group \"front\""), "{refused}");
    assert!(refused.contains("memory left"), "{refused}");
}

#[tokio::test]
async fn a_vm_joins_where_the_group_would_have_put_it() {
    let town = Town::build(2, "antiHard").await;
    let (a, b, c) = (town.runs("a", 0).await, town.runs("b", 0).await, town.runs("c", 1).await);
    town.add(a).await.unwrap();
    town.add(a).await.unwrap();
    let refused = town.add(b).await.unwrap_err();
    assert_eq!(refused.code, codes::STATE.0);
    assert!(refused.details.contains("vm \"b\" is on host \"hv1\""), "{}", refused.details);
    town.add(c).await.unwrap();
    let cloud = &town.fleet.cloud;
    let found = cloud.list("/vm-instances?q=affinityGroup.name=front&sort=+name").await;
    assert_eq!(found.iter().map(|vm| vm["name"].clone()).collect::<Vec<_>>(), ["a", "c"]);
    let tags = cloud.list(&format!("/system-tags?q=resourceUuid={a}")).await;
    assert_eq!(tags[0]["tag"], format!("affinityGroupUuid::{}", town.group));
    cloud.delete(&format!("/affinity-groups/{}/vm-instances/{a}", town.group)).await.unwrap();
    town.add(b).await.unwrap();
    assert!(cloud.list(&format!("/system-tags?q=resourceUuid={a}")).await.is_empty());
    cloud.delete(&format!("/affinity-groups/{}", town.group)).await.unwrap();
    assert!(cloud.list(&format!("/system-tags?q=resourceUuid={b}")).await.is_empty());
    assert_eq!(cloud.list("/vm-instances").await.len(), 3);
}

#[tokio::test]
async fn a_group_is_its_owners_and_goes_with_it() {
    let town = Town::build(1, "antiSoft").await;
    let cloud = &town.fleet.cloud;
    let (account, tenant) = cloud.tenant("t").await;
    let mine =
        uuid(&tenant.create("/affinity-groups", json!({ "name": "m", "policy": "proHard" })).await.unwrap());
    assert_eq!(tenant.list("/affinity-groups").await.len(), 1);
    let vm = town.runs("v", 0).await;
    let foreign = cloud.create(&format!("/affinity-groups/{mine}/vm-instances/{vm}"), json!({})).await;
    assert_eq!(foreign.unwrap_err().code, codes::NOT_FOUND.0, "it is the administrator's vm");
    let quota = json!({ "identityUuid": account, "name": "affinitygroup.num", "value": 1 });
    cloud.act("/accounts/quotas/actions", "updateQuota", quota).await.unwrap();
    let refused = tenant.create("/affinity-groups", json!({ "name": "n", "policy": "proHard" })).await;
    assert_eq!(refused.unwrap_err().code, codes::QUOTA.0);
    let zoned = json!({ "name": "z", "policy": "antiHard", "zoneUuid": town.fleet.zone });
    let zoned = uuid(&cloud.create("/affinity-groups", zoned).await.unwrap());
    let preview = cloud.delete(&format!("/zones/{}?preview=true", town.fleet.zone)).await.unwrap();
    assert!(preview.to_string().contains(&zoned), "{preview}");
    cloud.delete(&format!("/accounts/{account}")).await.unwrap();
    assert_eq!(cloud.list("/affinity-groups?q=name=m").await.len(), 0);
}
