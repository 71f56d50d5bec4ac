//! A NIC's link and model, and the address that is not to be kept any more.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::tag;
use engine::{Any, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{put_back, store};
use crate::l3::L3Network;
use crate::nic::{VmNic, VmNicInventory};
use crate::vm::nic::Driver;
use crate::vm::tag::STATIC_IP;
use crate::vm::{VmInstance, VmInstanceInventory, boot, life, store as vms};

/// A NIC's link: up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    Enable,
    Disable,
}

impl Link {
    fn word(self) -> &'static str {
        match self {
            Link::Enable => "enable",
            Link::Disable => "disable",
        }
    }
}

/// say → switch, when the VM runs
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Switch {
    vm: Id<VmInstance>,
    name: String,
    nic: Id<VmNic>,
    to: Link,
    before: String,
    running: bool,
}

impl Switch {
    async fn say(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        vms::on_usable_host(tx, &vm).await?;
        self.running = match vm.state.as_str() {
            "Running" => true,
            "Stopped" => false,
            state => {
                let details = format!(
                    "vm \"{}\" is {state}: its links go up and down when it is Running or Stopped",
                    vm.name
                );
                return Err(codes::STATE.because(details));
            }
        };
        self.before = find::<VmNicInventory>(tx, self.nic).await?.state;
        store::set_nic_state(tx, self.nic, self.to.word()).await
    }

    async fn unsay(&mut self, tx: &mut Tx) -> Result<()> {
        store::set_nic_state(tx, self.nic, &self.before).await
    }

    async fn switch(&mut self, cx: &Cx) -> Result<()> {
        self.switch_to(cx, self.to.word()).await
    }

    async fn switch_back(&mut self, cx: &Cx) -> Result<()> {
        put_back(self.vm, self.switch_to(cx, &self.before).await)
    }

    async fn switch_to(&self, cx: &Cx, state: &str) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        let mut nic = boot::read_nic(cx, self.nic).await?;
        nic.state = Some(state.to_owned());
        host.hypervisor()?.change_nic_state(cx, &host, &self.vm.to_string(), nic).await
    }

    async fn switched(&mut self, tx: &mut Tx) -> Result<()> {
        tx.emit("/vm/nic/changed", self.vm.cast(), json!({ "vmNicUuid": self.nic })).await
    }
}

impl Flow for Switch {
    const NAME: &'static str = "vm.switch_nic";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("{} a nic of vm \"{}\"", self.to.word(), self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("say", Self::say, Self::unsay)
            .act_undo("switch", Self::switch, Self::switch_back)
            .unless(|switch| !switch.running)
            .record("switched", Self::switched)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmNicInventory>(tx, self.nic).await
    }
}

api! {
    /// The NIC's link goes up or down.
    ChangeVmNicState: PUT "/vm-instances/nics/{vmNicUuid}/actions" "changeVmNicState" {
        vm_nic_uuid: Id<VmNic>,
        state: Link,
    }
}

impl Api for ChangeVmNicState {
    const ROUTE: Route = ChangeVmNicState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let nic: VmNicInventory = find(&mut tx, self.vm_nic_uuid).await?;
        let vm: VmInstanceInventory = find(&mut tx, nic.vm_instance_uuid).await?;
        drop(tx);
        let (vm, name) = (vm.uuid, vm.name);
        job.flow(Switch { vm, name, nic: nic.uuid, to: self.state, before: nic.state, running: false }).await
    }
}

fn model(driver: Driver) -> &'static str {
    match driver {
        Driver::Virtio => "virtio",
        Driver::E1000 => "e1000",
    }
}

api! {
    /// The VM must be stopped.
    UpdateVmNicDriver: PUT "/vm-instances/{vmInstanceUuid}/actions" "updateVmNicDriver" {
        vm_instance_uuid: Id<VmInstance>,
        vm_nic_uuid: Id<VmNic>,
        driver_type: Driver,
    }
}

impl Api for UpdateVmNicDriver {
    const ROUTE: Route = UpdateVmNicDriver::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let vm: VmInstanceInventory = find(tx, self.vm_instance_uuid).await?;
                let nic: VmNicInventory = find(tx, self.vm_nic_uuid).await?;
                if nic.vm_instance_uuid != vm.uuid.cast() {
                    let details = format!("nic {} is not one of vm \"{}\"", nic.uuid, vm.name);
                    return Err(codes::INVALID_ARGUMENT.because(details));
                }
                if vm.state != "Stopped" {
                    let details = format!(
                        "vm \"{}\" is {}: the model of a nic changes when it is Stopped",
                        vm.name, vm.state
                    );
                    return Err(codes::STATE.because(details));
                }
                store::set_nic_driver(tx, nic.uuid, model(self.driver_type)).await?;
                tx.emit("/vm/nic/changed", vm.uuid.cast(), json!({ "vmNicUuid": nic.uuid })).await?;
                show::<VmNicInventory>(tx, nic.uuid).await
            })
        })
        .await
    }
}

api! {
    /// The address is no longer said to be the VM's; it keeps it as long as it has its NIC.
    DeleteVmStaticIp: DELETE "/vm-instances/{vmInstanceUuid}/static-ips" {
        vm_instance_uuid: Id<VmInstance>,
        l3_network_uuid: Id<L3Network>,
        static_ip: Option<String>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteVmStaticIp {
    const ROUTE: Route = DeleteVmStaticIp::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let vm: VmInstanceInventory = find(tx, self.vm_instance_uuid).await?;
                let network = self.l3_network_uuid.to_string();
                let gone = |text: &String| {
                    STATIC_IP.read(text).is_some_and(|tokens| {
                        tokens.get("l3NetworkUuid") == network
                            && self.static_ip.as_ref().is_none_or(|ip| ip == tokens.get("staticIp"))
                    })
                };
                let texts = tag::of(tx, &STATIC_IP, vm.uuid.cast()).await?;
                if !texts.iter().any(gone) {
                    let details = format!("vm \"{}\" has no static address in l3 network {network}", vm.name);
                    return Err(codes::STATE.because(details));
                }
                let kept: Vec<_> = texts.iter().filter(|text| !gone(text)).map(String::as_str).collect();
                tag::replace_all(tx, &STATIC_IP, vm.uuid.cast(), &kept).await?;
                show::<VmInstanceInventory>(tx, vm.uuid).await
            })
        })
        .await
    }
}
