//! The NICs of a VM: plugged in and out, while it runs too.

use std::net::Ipv4Addr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{Listed, find, listed, show};
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{VmInstance, VmInstanceInventory, boot, life, store};
use crate::host::HostInventory;
use crate::l3::{L3Network, L3NetworkInventory};
use crate::nic::{self, NewNic, VmNic, VmNicInventory};
use crate::validate;

/// As many as a domain has slots for.
const MOST: i64 = 16;

/// claim → serve → plug. The last two when the VM runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub vm: Id<VmInstance>,
    pub vm_name: String,
    pub l3: Id<L3Network>,
    pub nic: Id<VmNic>,
    pub wanted: Option<Ipv4Addr>,
    pub virtio: Option<bool>,
    pub running: bool,
    /// It became the network that names and routes come from.
    pub default: bool,
}

impl Attach {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm = life::steady(tx, self.vm, "nics").await?;
        self.running = vm.state == "Running";
        let nics = nic::of_vm(tx, vm.uuid.cast()).await?;
        let network: L3NetworkInventory = find(tx, self.l3).await?;
        if nics.iter().any(|nic| nic.l3_network_uuid == self.l3) {
            let details = format!("vm \"{}\" has a nic in l3 network \"{}\" already", vm.name, network.name);
            return Err(codes::STATE.because(details));
        }
        if let Some(host) = vm.host_uuid {
            let host: HostInventory = find(tx, host).await?;
            if let Some(l2) = store::missing_l2(tx, &host, &[self.l3]).await? {
                let details =
                    format!("host \"{}\" has no L2 network \"{l2}\": attach it to its cluster", host.name);
                return Err(codes::STATE.because(details));
            }
        }
        let free = (0..MOST).find(|device| nics.iter().all(|nic| nic.device_id != *device));
        let device_id = free.ok_or_else(|| {
            codes::OPERATION.because(format!("vm \"{}\" has {MOST} nics, the most", vm.name))
        })?;
        let new = NewNic {
            uuid: self.nic,
            vm: vm.uuid.cast(),
            vm_number: vm.internal_id,
            l3: self.l3,
            device_id,
            virtio: self.virtio.unwrap_or(vm.virtio),
            wanted: self.wanted,
        };
        nic::add(tx, new).await?;
        self.default = vm.default_l3_network_uuid.is_none();
        match self.default {
            true => store::set_default_l3(tx, vm.uuid, Some(self.l3)).await,
            false => Ok(()),
        }
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        if self.default {
            store::set_default_l3(tx, self.vm, None).await?;
        }
        nic::remove(tx, self.nic).await
    }

    async fn serve(&mut self, cx: &Cx) -> Result<()> {
        boot::serve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        boot::unserve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn plug(&mut self, cx: &Cx) -> Result<()> {
        boot::plug_nic(cx, self.vm, self.nic).await
    }

    async fn unplug(&mut self, cx: &Cx) -> Result<()> {
        boot::unplug_nic(cx, self.vm, self.nic).await
    }

    async fn attached(&mut self, tx: &mut Tx) -> Result<()> {
        tx.emit(
            "/vm/nic/attached",
            self.vm.cast(),
            json!({ "vmNicUuid": self.nic, "l3NetworkUuid": self.l3 }),
        )
        .await
    }
}

impl Flow for Attach {
    const NAME: &'static str = "vm.attach_nic";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("attach a nic to vm \"{}\"", self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .act_undo("serve", Self::serve, Self::unserve)
            .unless(|attach| !attach.running)
            .act_undo("plug", Self::plug, Self::unplug)
            .unless(|attach| !attach.running)
            .record("attached", Self::attached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

/// unplug → unserve, when the VM runs → remove.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Detach {
    pub vm: Id<VmInstance>,
    pub vm_name: String,
    pub nic: Id<VmNic>,
    pub running: bool,
}

impl Detach {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        self.running = life::steady(tx, self.vm, "nics").await?.state == "Running";
        find::<VmNicInventory>(tx, self.nic).await.map(|_| ())
    }

    async fn unplug(&mut self, cx: &Cx) -> Result<()> {
        boot::unplug_nic(cx, self.vm, self.nic).await
    }

    async fn plug(&mut self, cx: &Cx) -> Result<()> {
        boot::plug_nic(cx, self.vm, self.nic).await
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        boot::unserve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn serve(&mut self, cx: &Cx) -> Result<()> {
        boot::serve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn detached(&mut self, tx: &mut Tx) -> Result<()> {
        let (vm, gone) = (find::<VmInstanceInventory>(tx, self.vm).await?, self.nic);
        let nics = nic::of_vm(tx, vm.uuid.cast()).await?;
        let l3 = nics.iter().find(|nic| nic.uuid == gone).map(|nic| nic.l3_network_uuid);
        nic::remove(tx, gone).await?;
        if l3.is_some_and(|l3| vm.default_l3_network_uuid == Some(l3.cast())) {
            let next = nics.iter().find(|nic| nic.uuid != gone).map(|nic| nic.l3_network_uuid);
            store::set_default_l3(tx, vm.uuid, next).await?;
        }
        tx.emit("/vm/nic/detached", self.vm.cast(), json!({ "vmNicUuid": gone })).await
    }
}

impl Flow for Detach {
    const NAME: &'static str = "vm.detach_nic";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("detach a nic from vm \"{}\"", self.vm_name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act_undo("unplug", Self::unplug, Self::plug)
            .unless(|detach| !detach.running)
            .act_undo("unserve", Self::unserve, Self::serve)
            .unless(|detach| !detach.running)
            .record("detached", Self::detached)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    AttachL3NetworkToVm: POST "/vm-instances/{vmInstanceUuid}/l3-networks/{l3NetworkUuid}" "params" {
        vm_instance_uuid: Id<VmInstance>,
        l3_network_uuid: Id<L3Network>,
        static_ip: Option<Ipv4Addr>,
        driver_type: Option<Driver>,
        custom_mac: Option<String>,
        vm_nic_params: Option<Value>,
    }
}

/// The model of a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Driver {
    #[serde(rename = "virtio")]
    Virtio,
    #[serde(rename = "e1000")]
    E1000,
}

impl Api for AttachL3NetworkToVm {
    const ROUTE: Route = AttachL3NetworkToVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("customMac", &self.custom_mac)?;
        validate::unsupported("vmNicParams", &self.vm_nic_params)?;
        let vm: VmInstanceInventory =
            find(&mut job.engine().db().read().await?, self.vm_instance_uuid).await?;
        let attach = Attach {
            vm: vm.uuid,
            vm_name: vm.name,
            l3: self.l3_network_uuid,
            nic: Id::derived(&[&job.id().to_string(), "nic"]),
            wanted: self.static_ip,
            virtio: self.driver_type.map(|driver| driver == Driver::Virtio),
            running: false,
            default: false,
        };
        job.flow(attach).await
    }
}

api! {
    DetachL3NetworkFromVm: DELETE "/vm-instances/nics/{vmNicUuid}" {
        vm_nic_uuid: Id<VmNic>,
    }
}

impl Api for DetachL3NetworkFromVm {
    const ROUTE: Route = DetachL3NetworkFromVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let nic: VmNicInventory = find(&mut tx, self.vm_nic_uuid).await?;
        let vm: VmInstanceInventory = find(&mut tx, nic.vm_instance_uuid).await?;
        drop(tx);
        job.flow(Detach { vm: vm.uuid, vm_name: vm.name, nic: nic.uuid, running: false }).await
    }
}

api! {
    /// The networks that the VM can get a NIC in.
    GetVmAttachableL3Network: GET "/vm-instances/{vmInstanceUuid}/l3-networks-candidates" {
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Ask for GetVmAttachableL3Network {
    const ROUTE: Route = GetVmAttachableL3Network::ROUTE;
    type Reply = Listed<L3NetworkInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let networks = store::attachable_networks(&mut tx, &vm, account).await?;
        listed(&mut tx, &networks).await
    }
}
