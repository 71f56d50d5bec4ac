//! A NIC that gets another address, in its network or in another one; while the VM runs its host and the
//! services of both networks hear of it. A guest asks for its new address when it renews its lease.

use std::net::Ipv4Addr;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{Listed, find, listed, show};
use engine::tag;
use engine::{Any, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{put_back, store};
use crate::host::HostInventory;
use crate::l3::address::UsedIp;
use crate::l3::{self, Address, L3Network, L3NetworkInventory};
use crate::nic::{self, VmNic, VmNicInventory};
use crate::validate;
use crate::vm::boot::{self, Told};
use crate::vm::tag::STATIC_IP;
use crate::vm::{VmInstance, VmInstanceInventory, life, store as vms};

/// claim → forget the old → serve → plug over, when the VM runs. The old address is set aside until the end.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Move {
    vm: Id<VmInstance>,
    name: String,
    nic: Id<VmNic>,
    /// The network that it is in afterwards.
    to: Id<L3Network>,
    wanted: Option<Ipv4Addr>,
    /// The address is to stay the VM's in this network.
    keep: bool,
    from: Option<Was>,
    running: bool,
    told: Option<Told>,
}

/// Where the NIC was.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Was {
    l3: Id<L3Network>,
    ip: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
    /// Its address, which is nobody's meanwhile.
    aside: Option<Id<UsedIp>>,
    was_default: bool,
}

impl Move {
    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        vms::on_usable_host(tx, &vm).await?;
        self.running = match vm.state.as_str() {
            "Running" => true,
            "Stopped" => false,
            state => {
                let details = format!(
                    "vm \"{}\" is {state}: its addresses change when it is Running or Stopped",
                    vm.name
                );
                return Err(codes::STATE.because(details));
            }
        };
        let nics = nic::of_vm(tx, vm.uuid.cast()).await?;
        let Some(nic) = nics.iter().find(|nic| nic.uuid == self.nic) else {
            return Err(
                codes::STATE.because(format!("vm \"{}\" has the nic {} no longer", vm.name, self.nic))
            );
        };
        self.told = boot::lease_of(tx, vm.uuid, nic.uuid).await?;
        self.from = Some(Was {
            l3: nic.l3_network_uuid,
            ip: nic.ip.clone(),
            netmask: nic.netmask.clone(),
            gateway: nic.gateway.clone(),
            aside: None,
            was_default: vm.default_l3_network_uuid == Some(nic.l3_network_uuid.cast()),
        });
        if nic.l3_network_uuid != self.to {
            self.check_network(tx, &vm, &nics).await?;
        }
        self.readdress(tx, &vm, nic).await
    }

    async fn check_network(
        &self,
        tx: &mut Tx,
        vm: &VmInstanceInventory,
        nics: &[VmNicInventory],
    ) -> Result<()> {
        let network: L3NetworkInventory = find(tx, self.to).await?;
        if nics.iter().any(|nic| nic.l3_network_uuid == self.to) {
            let details = format!("vm \"{}\" has a nic in l3 network \"{}\" already", vm.name, network.name);
            return Err(codes::STATE.because(details));
        }
        let Some(host) = vm.host_uuid else { return Ok(()) };
        let host: HostInventory = find(tx, host).await?;
        match vms::missing_l2(tx, &host, &[self.to]).await? {
            None => Ok(()),
            Some(l2) => {
                let details =
                    format!("host \"{}\" has no L2 network \"{l2}\": attach it to its cluster", host.name);
                Err(codes::STATE.because(details))
            }
        }
    }

    async fn readdress(&mut self, tx: &mut Tx, vm: &VmInstanceInventory, nic: &VmNicInventory) -> Result<()> {
        let same = self.wanted.is_some_and(|wanted| nic.ip.as_deref() == Some(&wanted.to_string()));
        if same && nic.l3_network_uuid == self.to {
            return Ok(());
        }
        let aside = l3::set_aside(tx, nic.uuid.cast()).await?;
        if let Some(from) = &mut self.from {
            from.aside = aside;
        }
        let address = l3::allocate(tx, self.to, nic.uuid.cast(), self.wanted).await?;
        store::readdress(tx, nic.uuid, self.to, &address).await?;
        match vm.default_l3_network_uuid == Some(nic.l3_network_uuid.cast()) {
            true => vms::set_default_l3(tx, vm.uuid, Some(self.to)).await,
            false => Ok(()),
        }
    }

    /// The tag of the network that it leaves goes; one comes where the address is to stay.
    async fn say(&self, tx: &mut Tx) -> Result<()> {
        let tags = tag::of(tx, &STATIC_IP, self.vm.cast()).await?;
        let left = self.from.as_ref().map(|from| from.l3.to_string()).unwrap_or_default();
        let to = self.to.to_string();
        let of = |text: &str| STATIC_IP.read(text).map(|tokens| tokens.get("l3NetworkUuid").to_owned());
        let stays = |text: &&str| of(text).is_some_and(|network| network != left && network != to);
        let mut kept: Vec<&str> = tags.iter().map(String::as_str).filter(stays).collect();
        let own = self.wanted.filter(|_| self.keep).map(|ip| STATIC_IP.text(&[&to, &ip.to_string()]));
        kept.extend(own.as_deref());
        tag::replace_all(tx, &STATIC_IP, self.vm.cast(), &kept).await
    }

    async fn give_up(&mut self, tx: &mut Tx) -> Result<()> {
        let Some(from) = self.from.clone() else { return Ok(()) };
        if let Some(aside) = from.aside {
            l3::put_back(tx, self.nic.cast(), aside).await?;
        }
        let (netmask, gateway) = (from.netmask.unwrap_or_default(), from.gateway.unwrap_or_default());
        let address = Address { ip: from.ip.unwrap_or_default(), netmask, gateway };
        store::readdress(tx, self.nic, from.l3, &address).await?;
        if from.was_default {
            vms::set_default_l3(tx, self.vm, Some(from.l3)).await?;
        }
        Ok(())
    }

    async fn unserve_old(&mut self, cx: &Cx) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        match &self.told {
            Some((l3, lease)) => l3::unserve(cx, &host, *l3, std::slice::from_ref(lease)).await,
            None => Ok(()),
        }
    }

    async fn serve_old(&mut self, cx: &Cx) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        match &self.told {
            Some((l3, lease)) => l3::serve(cx, &host, *l3, std::slice::from_ref(lease)).await,
            None => Ok(()),
        }
    }

    async fn serve(&mut self, cx: &Cx) -> Result<()> {
        boot::serve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn unserve(&mut self, cx: &Cx) -> Result<()> {
        boot::unserve_nic(cx, &life::host_of(cx, self.vm).await?, self.vm, self.nic).await
    }

    async fn plug_over(&mut self, cx: &Cx) -> Result<()> {
        let host = life::host_of(cx, self.vm).await?;
        let nic = boot::read_nic(cx, self.nic).await?;
        host.hypervisor()?.move_nic(cx, &host, &self.vm.to_string(), nic).await
    }

    async fn plug_back(&mut self, cx: &Cx) -> Result<()> {
        let Some(from) = &self.from else { return Ok(()) };
        let host = life::host_of(cx, self.vm).await?;
        let nic = boot::read_nic_in(cx, self.nic, from.l3).await?;
        put_back(self.vm, host.hypervisor()?.move_nic(cx, &host, &self.vm.to_string(), nic).await)
    }

    fn stays_in_network(&self) -> bool {
        self.from.as_ref().is_some_and(|from| from.l3 == self.to)
    }

    async fn moved(&mut self, tx: &mut Tx) -> Result<()> {
        if let Some(aside) = self.from.as_ref().and_then(|from| from.aside) {
            l3::drop_aside(tx, aside).await?;
        }
        self.say(tx).await?;
        tx.emit("/vm/nic/changed", self.vm.cast(), json!({ "vmNicUuid": self.nic })).await
    }
}

impl Flow for Move {
    const NAME: &'static str = "vm.move_nic";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("give a nic of vm \"{}\" another address", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_up)
            .act_undo("unserve", Self::unserve_old, Self::serve_old)
            .unless(|moved| !moved.running)
            .act_undo("serve", Self::serve, Self::unserve)
            .unless(|moved| !moved.running)
            .act_undo("plug over", Self::plug_over, Self::plug_back)
            .unless(|moved| !moved.running || moved.stays_in_network())
            .record("moved", Self::moved)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

async fn of_nic(job: &Job, nic: Id<VmNic>) -> Result<(VmInstanceInventory, VmNicInventory)> {
    let mut tx = job.engine().db().read().await?;
    let nic: VmNicInventory = find(&mut tx, nic).await?;
    Ok((find(&mut tx, nic.vm_instance_uuid).await?, nic))
}

impl Move {
    fn new(
        vm: VmInstanceInventory,
        nic: &VmNicInventory,
        to: Id<L3Network>,
        wanted: Option<Ipv4Addr>,
    ) -> Move {
        let (name, nic, vm) = (vm.name, nic.uuid, vm.uuid);
        Move { vm, name, nic, to, wanted, keep: wanted.is_some(), from: None, running: false, told: None }
    }
}

api! {
    /// The VM's NIC in the network gets this address, which stays its own. A guest that runs has it when it
    /// renews its lease.
    SetVmStaticIp: PUT "/vm-instances/{vmInstanceUuid}/actions" "setVmStaticIp" {
        vm_instance_uuid: Id<VmInstance>,
        l3_network_uuid: Id<L3Network>,
        ip: Option<Ipv4Addr>,
        ip6: Option<String>,
        netmask: Option<String>,
        gateway: Option<String>,
        ipv6_gateway: Option<String>,
        ipv6_prefix: Option<String>,
    }
}

impl Api for SetVmStaticIp {
    const ROUTE: Route = SetVmStaticIp::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("ip6", &self.ip6)?;
        validate::unsupported("netmask", &self.netmask)?;
        validate::unsupported("gateway", &self.gateway)?;
        validate::unsupported("ipv6Gateway", &self.ipv6_gateway)?;
        validate::unsupported("ipv6Prefix", &self.ipv6_prefix)?;
        let ip = self.ip.ok_or_else(|| validate::missing("\"ip\" is required"))?;
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let network: L3NetworkInventory = find(&mut tx, self.l3_network_uuid).await?;
        let nics = nic::of_vm(&mut tx, vm.uuid.cast()).await?;
        drop(tx);
        let Some(nic) = nics.iter().find(|nic| nic.l3_network_uuid == network.uuid) else {
            let details = format!("vm \"{}\" has no nic in l3 network \"{}\"", vm.name, network.name);
            return Err(codes::STATE.because(details));
        };
        job.flow(Move::new(vm, nic, network.uuid, Some(ip))).await
    }
}

api! {
    /// The NIC keeps its MAC and gets an address of the other network.
    ChangeVmNicNetwork: POST "/vm-instances/nics/{vmNicUuid}/l3-networks/{destL3NetworkUuid}" "params" {
        vm_nic_uuid: Id<VmNic>,
        dest_l3_network_uuid: Id<L3Network>,
        static_ip: Option<Ipv4Addr>,
    }
}

impl Api for ChangeVmNicNetwork {
    const ROUTE: Route = ChangeVmNicNetwork::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (vm, nic) = of_nic(&job, self.vm_nic_uuid).await?;
        if nic.l3_network_uuid == self.dest_l3_network_uuid {
            let details = format!("nic {} is in l3 network {} already", nic.uuid, nic.l3_network_uuid);
            return Err(codes::STATE.because(details));
        }
        job.flow(Move::new(vm, &nic, self.dest_l3_network_uuid, self.static_ip)).await
    }
}

api! {
    /// The networks that the NIC could be moved to.
    GetCandidateL3NetworksForChangeVmNicNetwork: GET "/vm-instances/nics/{vmNicUuid}/l3-networks-candidates" {
        vm_nic_uuid: Id<VmNic>,
    }
}

impl Ask for GetCandidateL3NetworksForChangeVmNicNetwork {
    const ROUTE: Route = GetCandidateL3NetworksForChangeVmNicNetwork::ROUTE;
    type Reply = Listed<L3NetworkInventory>;

    async fn answer(self, asked: Asked) -> Result<Self::Reply> {
        let account = asked.tenant();
        let mut tx = asked.engine.db().read().await?;
        let nic: VmNicInventory = find(&mut tx, self.vm_nic_uuid).await?;
        let vm: VmInstanceInventory = find(&mut tx, nic.vm_instance_uuid).await?;
        let networks = vms::attachable_networks(&mut tx, &vm, account).await?;
        listed(&mut tx, &networks).await
    }
}
