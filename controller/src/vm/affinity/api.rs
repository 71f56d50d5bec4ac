use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Any, ErrorCode, Id, Result, api, codes, tag};
use serde_json::{Value, json};

use super::{GROUP, check_owner, neighbours, store};
use crate::affinity_group::{self, AffinityGroup, AffinityGroupInventory, Policy};
use crate::host::{Host, HostInventory};
use crate::vm::{VmInstance, VmInstanceInventory};

api! {
    /// It stays where it is: what the group forbids there is refused.
    AddVmToAffinityGroup: POST "/affinity-groups/{affinityGroupUuid}/vm-instances/{uuid}" "params"
        changes ["affinityGroupUuid"] {
        affinity_group_uuid: Id<AffinityGroup>,
        uuid: Id<VmInstance>,
    }
}

impl Api for AddVmToAffinityGroup {
    const ROUTE: Route = AddVmToAffinityGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| Box::pin(async move { self.join(tx).await })).await
    }
}

impl AddVmToAffinityGroup {
    async fn join(&self, tx: &mut Tx) -> Result<Value> {
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        let owner = affinity_group::owner(tx, vm.uuid.cast()).await?;
        if let Some(owner) = owner {
            check_owner(tx, &[self.affinity_group_uuid], owner).await?;
        }
        refuse_misfit(tx, &vm, self.affinity_group_uuid).await?;
        if affinity_group::enter(tx, self.affinity_group_uuid, vm.uuid.cast()).await? {
            say(tx, vm.uuid).await?;
            let payload = json!({ "vmInstanceUuid": vm.uuid });
            tx.emit("/affinity-group/joined", self.affinity_group_uuid.cast(), payload).await?;
        }
        show::<AffinityGroupInventory>(tx, self.affinity_group_uuid).await
    }
}

/// The VM's tags name the groups that it is in.
async fn say(tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
    let groups = affinity_group::of_member(tx, vm.cast()).await?;
    let texts: Vec<_> = groups.iter().map(|group| GROUP.text(&[&group.to_string()])).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    tag::replace_all(tx, &GROUP, vm.cast(), &texts).await
}

/// Refuses a VM that stands where the group would not have put it.
async fn refuse_misfit(tx: &mut Tx, vm: &VmInstanceInventory, group: Id<AffinityGroup>) -> Result<()> {
    let near = neighbours(tx, group, Some(vm.uuid)).await?;
    let (wrong, why): (fn(bool) -> bool, _) = match near.group.asks() {
        Some(Policy::AntiHard) => (|shared| shared, "is there too"),
        Some(Policy::ProHard) if !near.hosts.is_empty() => (|shared| !shared, "is on another one"),
        _ => return Ok(()),
    };
    let stands = store::stands(tx, vm.uuid).await?;
    match stands.into_iter().find(|host| wrong(near.hosts.contains_key(host))) {
        Some(host) => Err(misfit(tx, vm, &near.group, host, why).await?),
        None => Ok(()),
    }
}

async fn misfit(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    group: &AffinityGroupInventory,
    host: Id<Host>,
    why: &str,
) -> Result<ErrorCode> {
    let host: HostInventory = find(tx, host).await?;
    let (vm, policy, group, host) = (&vm.name, &group.policy, &group.name, host.name);
    let details = format!(
        "vm \"{vm}\" is on host \"{host}\", and a vm of the {policy} affinity group \"{group}\" {why}: migrate \
         one of them first"
    );
    Ok(codes::STATE.because(details))
}

api! {
    RemoveVmFromAffinityGroup: DELETE "/affinity-groups/{affinityGroupUuid}/vm-instances/{uuid}"
        changes ["affinityGroupUuid"] {
        affinity_group_uuid: Id<AffinityGroup>,
        uuid: Id<VmInstance>,
    }
}

impl Api for RemoveVmFromAffinityGroup {
    const ROUTE: Route = RemoveVmFromAffinityGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| Box::pin(async move { self.leave(tx).await })).await
    }
}

impl RemoveVmFromAffinityGroup {
    async fn leave(&self, tx: &mut Tx) -> Result<Value> {
        let group: AffinityGroupInventory = find(tx, self.affinity_group_uuid).await?;
        let vm: VmInstanceInventory = find(tx, self.uuid).await?;
        if !affinity_group::leave(tx, group.uuid, vm.uuid.cast()).await? {
            let details = format!("vm \"{}\" is not in affinity group \"{}\"", vm.name, group.name);
            return Err(codes::NOT_FOUND.because(details));
        }
        say(tx, vm.uuid).await?;
        let resource: Id<Any> = group.uuid.cast();
        tx.emit("/affinity-group/left", resource, json!({ "vmInstanceUuid": vm.uuid })).await?;
        show::<AffinityGroupInventory>(tx, group.uuid).await
    }
}
