use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{find, show};
use engine::{Id, Result, api, codes};
use serde::{Deserialize, Serialize};

use super::size::Resize;
use crate::l3::L3Network;
use crate::nic;
use crate::validate::{self, Platform};
use crate::vm::{VmInstance, VmInstanceInventory, allocate, store};

api! {
    /// CPUs and memory: a VM that runs is given more when it was started with room for that (`vm.numa`);
    /// otherwise it has them once it was stopped.
    UpdateVmInstance: PUT "/vm-instances/{uuid}/actions" "updateVmInstance" {
        uuid: Id<VmInstance>,
        name: Option<String>,
        description: Option<String>,
        state: Option<String>,
        default_l3_network_uuid: Option<Id<L3Network>>,
        platform: Option<Platform>,
        cpu_num: Option<i64>,
        memory_size: Option<i64>,
        reserved_memory_size: Option<i64>,
        guest_os_type: Option<String>,
    }
}

/// What is only said of a VM.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::vm) struct Words {
    pub name: Option<String>,
    pub description: Option<String>,
    pub guest_os_type: Option<String>,
    pub platform: Option<String>,
    pub default_l3: Option<Id<L3Network>>,
}

impl Words {
    pub(super) async fn say(&self, tx: &mut Tx, vm: Id<VmInstance>) -> Result<()> {
        if let Some(l3) = self.default_l3 {
            if !nic::of_vm(tx, vm.cast()).await?.iter().any(|nic| nic.l3_network_uuid == l3) {
                let details = format!("the VM has no nic in l3 network {l3}, which is to be its default one");
                return Err(codes::INVALID_ARGUMENT.because(details));
            }
            store::set_default_l3(tx, vm, Some(l3)).await?;
        }
        store::update(tx, vm, self).await
    }
}

impl Api for UpdateVmInstance {
    const ROUTE: Route = UpdateVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("state", &self.state)?;
        validate::unsupported("reservedMemorySize", &self.reserved_memory_size)?;
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        let words = Words {
            name: self.name,
            description: self.description,
            guest_os_type: self.guest_os_type,
            platform: self.platform.map(|platform| platform.name().to_owned()),
            default_l3: self.default_l3_network_uuid,
        };
        let uuid = self.uuid;
        if self.cpu_num.is_some() || self.memory_size.is_some() {
            let vm: VmInstanceInventory = find(&mut job.engine().db().read().await?, uuid).await?;
            let (cpu, memory) =
                (self.cpu_num.unwrap_or(vm.cpu_num), self.memory_size.unwrap_or(vm.memory_size));
            allocate::check_size(cpu, memory)?;
            return job.flow(Resize::new(&vm, cpu, memory).saying(words)).await;
        }
        job.write(move |tx| {
            Box::pin(async move {
                words.say(tx, uuid).await?;
                show::<VmInstanceInventory>(tx, uuid).await
            })
        })
        .await
    }
}
