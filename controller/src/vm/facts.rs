//! What can be asked of a VM, and of its guest.

use std::collections::BTreeMap;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::find;
use engine::module::Module;
use engine::{Any, Engine, Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::calls::device::AddressTold;

use super::volume::told;
use super::{VmInstance, VmInstanceInventory, life};
use crate::host::{self, HostInventory};
use crate::validate;
use crate::volume;

/// The VM, and the host on which it runs.
async fn running(tx: &mut Tx, uuid: Id<VmInstance>) -> Result<(VmInstanceInventory, HostInventory)> {
    let vm: VmInstanceInventory = find(tx, uuid).await?;
    match (vm.state.as_str(), vm.host_uuid) {
        ("Running", Some(host)) => {
            let host = host::usable(tx, host).await?;
            Ok((vm, host))
        }
        (state, _) => {
            Err(codes::STATE.because(format!("vm \"{}\" is {state}: this is told of a running vm", vm.name)))
        }
    }
}

/// What can be done to a VM beside what any VM can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VmCapabilities")]
pub struct Capabilities {
    support_live_migration: bool,
    support_volume_migration: bool,
    support_reimage: bool,
    support_memory_snapshot: bool,
}

impl Capabilities {
    fn of(engine: &Engine, vm: &VmInstanceInventory) -> Capabilities {
        let has = |call: &str| engine.entries().iter().any(|entry| entry.route.name == call);
        Capabilities {
            support_live_migration: has("MigrateVm"),
            support_volume_migration: has("LocalStorageMigrateVolume"),
            support_reimage: vm.image_uuid.is_some(),
            support_memory_snapshot: false,
        }
    }
}

api! {
    GetVmCapabilities: GET "/vm-instances/{uuid}/capabilities" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VmCapabilitiesTold")]
pub struct CapabilitiesTold {
    capabilities: BTreeMap<&'static str, bool>,
}

impl Ask for GetVmCapabilities {
    const ROUTE: Route = GetVmCapabilities::ROUTE;
    type Reply = CapabilitiesTold;

    async fn answer(self, asked: Asked) -> Result<CapabilitiesTold> {
        let vm = find(&mut asked.engine.db().read().await?, self.uuid).await?;
        let can = Capabilities::of(&asked.engine, &vm);
        let capabilities = [
            ("LiveMigration", can.support_live_migration),
            ("VolumeMigration", can.support_volume_migration),
            ("Reimage", can.support_reimage),
            ("MemorySnapshot", can.support_memory_snapshot),
        ];
        Ok(CapabilitiesTold { capabilities: capabilities.into() })
    }
}

api! {
    GetVmsCapabilities: GET "/vm-instances/capabilities" {
        #[serde(default, deserialize_with = "validate::list")]
        vm_uuids: Vec<Id<VmInstance>>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmsCapabilities {
    vms_caps: BTreeMap<String, Capabilities>,
}

impl Ask for GetVmsCapabilities {
    const ROUTE: Route = GetVmsCapabilities::ROUTE;
    type Reply = VmsCapabilities;

    async fn answer(self, asked: Asked) -> Result<VmsCapabilities> {
        if self.vm_uuids.is_empty() {
            return Err(validate::missing("\"vmUuids\" must name at least one"));
        }
        let mut tx = asked.engine.db().read().await?;
        let mut vms_caps = BTreeMap::new();
        for uuid in self.vm_uuids {
            let vm = find(&mut tx, uuid).await?;
            vms_caps.insert(uuid.to_string(), Capabilities::of(&asked.engine, &vm));
        }
        Ok(VmsCapabilities { vms_caps })
    }
}

api! {
    /// Where the VM's screen is, as its host sees it: the port listens on the host itself alone. Who is
    /// elsewhere asks for console access.
    GetVmConsoleAddress: GET "/vm-instances/{uuid}/console-addresses" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleAddress {
    host_ip: String,
    port: u16,
    protocol: String,
    vdi_port_info: VdiPortInfo,
}

/// The ports of the screen's protocols.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VdiPortInfo {
    vnc_port: u16,
}

impl Ask for GetVmConsoleAddress {
    const ROUTE: Route = GetVmConsoleAddress::ROUTE;
    type Reply = ConsoleAddress;

    async fn answer(self, asked: Asked) -> Result<ConsoleAddress> {
        let (vm, host) = running(&mut asked.engine.db().read().await?, self.uuid).await?;
        let screen = host.hypervisor()?.screen(&asked.engine, &host, &vm.uuid.to_string()).await?;
        Ok(ConsoleAddress {
            host_ip: host.management_ip,
            port: screen.port,
            protocol: screen.protocol,
            vdi_port_info: VdiPortInfo { vnc_port: screen.vnc_port.unwrap_or(screen.port) },
        })
    }
}

api! {
    /// Answers `imageData`, the screen as a `data:` URL.
    TakeVmConsoleScreenshot: PUT "/vm-instances/{uuid}/actions" "takeVmConsoleScreenshot" {
        uuid: Id<VmInstance>,
    }
}

impl Api for TakeVmConsoleScreenshot {
    const ROUTE: Route = TakeVmConsoleScreenshot::ROUTE;

    /// It changes nothing: a repeated call takes another picture.
    async fn run(self, job: Job) -> Result<Settled> {
        let engine = job.engine().clone();
        let (vm, host) = running(&mut engine.db().read().await?, self.uuid).await?;
        let image = host.hypervisor()?.screenshot(&engine, &host, &vm.uuid.to_string()).await?;
        job.write(move |_| Box::pin(async move { Ok(json!({ "imageData": image })) })).await
    }
}

/// What a VM's addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Resource {
    #[serde(rename = "VolumeVO")]
    Volume,
}

api! {
    /// Where the guest finds its disks.
    GetVmDeviceAddress: GET "/vm-instances/devices" {
        uuid: Id<VmInstance>,
        #[serde(default, deserialize_with = "validate::list")]
        resource_types: Vec<Resource>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceAddresses {
    address_map: BTreeMap<&'static str, Vec<Address>>,
}

/// Where the guest finds one of them.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VmDeviceAddress")]
struct Address {
    uuid: String,
    device_type: String,
    address_type: String,
    address: String,
}

impl From<AddressTold> for Address {
    fn from(told: AddressTold) -> Address {
        let AddressTold { uuid, device_type, address_type, address, .. } = told;
        Address { uuid, device_type, address_type, address }
    }
}

impl Ask for GetVmDeviceAddress {
    const ROUTE: Route = GetVmDeviceAddress::ROUTE;
    type Reply = DeviceAddresses;

    async fn answer(self, asked: Asked) -> Result<DeviceAddresses> {
        if self.resource_types.is_empty() {
            return Err(validate::missing("\"resourceTypes\" must name at least one: VolumeVO"));
        }
        let mut tx = asked.engine.db().read().await?;
        let (vm, host) = running(&mut tx, self.uuid).await?;
        let mut volumes = vec![told(volume::root_of(&mut tx, vm.uuid.cast()).await?, vm.virtio)];
        for data in volume::data_of(&mut tx, vm.uuid.cast()).await? {
            volumes.push(told(data, vm.virtio));
        }
        drop(tx);
        let vm = vm.uuid.to_string();
        let found = host.hypervisor()?.volume_addresses(&asked.engine, &host, &vm, volumes).await?;
        let addresses = found.into_iter().map(Address::from).collect();
        Ok(DeviceAddresses { address_map: [("VolumeVO", addresses)].into() })
    }
}

/// Asks the guest to give unused blocks back.
#[derive(Debug, Serialize, Deserialize)]
struct Trim {
    vm: Id<VmInstance>,
    name: String,
}

impl Trim {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        running(tx, self.vm).await.map(|_| ())
    }

    async fn trim(&mut self, cx: &Cx) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        host.hypervisor()?.trim(cx, &host, &self.vm.to_string()).await
    }
}

impl Flow for Trim {
    const NAME: &'static str = "vm.trim";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("trim the disks of vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new().record("look", Self::look).act("trim", Self::trim)
    }

    async fn answer(&self, _tx: &mut Tx) -> Result<Value> {
        Ok(json!({}))
    }
}

api! {
    /// The guest, by its guest agent, gives the blocks of its disks back that it does not use.
    FstrimVm: POST "/vm-instances/{uuid}/actions" "params" {
        uuid: Id<VmInstance>,
    }
}

impl Api for FstrimVm {
    const ROUTE: Route = FstrimVm::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm: VmInstanceInventory = find(&mut job.engine().db().read().await?, self.uuid).await?;
        job.flow(Trim { vm: vm.uuid, name: vm.name }).await
    }
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .ask::<GetVmCapabilities>()
        .ask::<GetVmsCapabilities>()
        .ask::<GetVmConsoleAddress>()
        .api::<TakeVmConsoleScreenshot>()
        .ask::<GetVmDeviceAddress>()
        .api::<FstrimVm>()
        .flow::<Trim>()
}
