//! More or fewer CPUs, more or less memory.
//!
//! A stopped VM has them at once. One that runs is given more while it was started with room for that; what
//! it cannot be given it has once it was stopped. What a guest has taken it never gives back while it runs:
//! when a part of a growth has failed, the records keep what was reached.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes, quota};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store::{self, Size};
use super::update::Words;
use crate::host;
use crate::offering::{InstanceOffering, InstanceOfferingInventory};
use crate::vm::allocate::{self, NO_HOST};
use crate::vm::{CPU_NUM, MEMORY_SIZE, VmInstance, VmInstanceInventory, life, store as vms};

/// Guests take memory in whole blocks of so many bytes.
const MEMORY_STEP: i64 = 128 << 20;

/// claim → grow, when it runs and can → the words that came with it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Resize {
    vm: Id<VmInstance>,
    name: String,
    cpu: i64,
    /// Bytes.
    memory: i64,
    offering: Option<Offered>,
    words: Option<Words>,
    before: Size,
    /// What the running VM is given now.
    grown: Option<Grown>,
    /// It was looked how much of that it has.
    settled: bool,
}

/// What of an offering holds besides its size.
#[derive(Debug, Serialize, Deserialize)]
struct Offered {
    uuid: Id<Any>,
    cpu_speed: i64,
    strategy: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Grown {
    cpu: i64,
    memory: i64,
}

impl Resize {
    pub(super) fn new(vm: &VmInstanceInventory, cpu: i64, memory: i64) -> Resize {
        let (name, before) = (vm.name.clone(), Size::default());
        Resize {
            vm: vm.uuid,
            name,
            cpu,
            memory,
            offering: None,
            words: None,
            before,
            grown: None,
            settled: false,
        }
    }

    pub(super) fn saying(self, words: Words) -> Resize {
        Resize { words: Some(words), ..self }
    }

    fn offered(self, offering: InstanceOfferingInventory) -> Resize {
        let offered = Offered {
            uuid: offering.uuid.cast(),
            cpu_speed: offering.cpu_speed,
            strategy: offering.allocator_strategy,
        };
        Resize { offering: Some(offered), ..self }
    }

    /// What the rows are to say, beside the size.
    fn next(&self) -> Size {
        let mut next = Size { next_cpu_num: None, next_memory_size: None, ..self.before.clone() };
        if let Some(offered) = &self.offering {
            next.cpu_speed = offered.cpu_speed;
            next.instance_offering_uuid = Some(offered.uuid);
            next.allocator_strategy.clone_from(&offered.strategy);
        }
        next
    }

    async fn claim(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        self.before = store::size(tx, vm.uuid).await?;
        let mut next = self.next();
        match vm.state.as_str() {
            "Stopped" => (next.cpu_num, next.memory_size) = (self.cpu, self.memory),
            "Running" => {
                vms::on_usable_host(tx, &vm).await?;
                self.grown = self.growth(tx).await?;
                match self.grown {
                    Some(Grown { cpu, memory }) => {
                        self.grow_claim(tx, cpu, memory).await?;
                        (next.cpu_num, next.memory_size) = (cpu, memory);
                    }
                    None => {
                        next.next_cpu_num = Some(self.cpu).filter(|cpu| *cpu != next.cpu_num);
                        next.next_memory_size =
                            Some(self.memory).filter(|memory| *memory != next.memory_size);
                    }
                }
            }
            state => {
                let details =
                    format!("vm \"{}\" is {state}: its size changes when it is Running or Stopped", vm.name);
                return Err(codes::STATE.because(details));
            }
        }
        store::resize(tx, self.vm, &next).await
    }

    /// What the running VM can be given of what is wanted: all, or nothing.
    async fn growth(&self, tx: &mut Tx) -> Result<Option<Grown>> {
        let Some((most_cpu, most_memory)) = host::growth(tx, self.vm.cast()).await? else { return Ok(None) };
        let more = self.memory - self.before.memory_size;
        let blocks = more.max(0).unsigned_abs().next_multiple_of(MEMORY_STEP.unsigned_abs());
        let memory = self.before.memory_size.saturating_add_unsigned(blocks);
        let (more_cpu, grows) = (self.cpu - self.before.cpu_num, more_than(self, memory));
        let fits = more_cpu >= 0 && more >= 0 && self.cpu <= most_cpu && memory <= most_memory;
        Ok((fits && grows).then_some(Grown { cpu: self.cpu, memory }))
    }

    async fn grow_claim(&self, tx: &mut Tx, cpu: i64, memory: i64) -> Result<()> {
        if !host::grow(tx, self.vm.cast(), cpu, memory).await? {
            let details = format!(
                "the host of vm \"{}\" has not {} more CPUs and {} more MiB of memory",
                self.name,
                cpu - self.before.cpu_num,
                (memory - self.before.memory_size) >> 20
            );
            return Err(NO_HOST.because(details));
        }
        let more = [(&CPU_NUM, cpu - self.before.cpu_num), (&MEMORY_SIZE, memory - self.before.memory_size)];
        quota::check(tx, self.vm, &more).await
    }

    /// What the guest has taken stays.
    async fn give_back(&mut self, tx: &mut Tx) -> Result<()> {
        let mut kept = self.before.clone();
        if let Some(grown) = self.grown {
            if self.settled {
                (kept.cpu_num, kept.memory_size) = (grown.cpu, grown.memory);
            }
            host::shrink(tx, self.vm.cast(), kept.cpu_num, kept.memory_size).await?;
        }
        store::resize(tx, self.vm, &kept).await
    }

    async fn grow(&mut self, cx: &Cx) -> Result<()> {
        let Some(Grown { cpu, memory }) = self.grown else { return Ok(()) };
        let (host, vm) = (life::host_of(cx, self.vm).await?, self.vm.to_string());
        let hypervisor = host.hypervisor()?;
        if cpu > self.before.cpu_num {
            hypervisor.grow_cpu(cx, &host, &vm, u32::try_from(cpu).unwrap_or(1)).await?;
        }
        if memory > self.before.memory_size {
            hypervisor.grow_memory(cx, &host, &vm, memory.unsigned_abs()).await?;
        }
        Ok(())
    }

    /// Nothing is taken away from a guest. The host that is asked for what the VM had before refuses if the
    /// VM has more by now.
    async fn settle(&mut self, cx: &Cx) -> Result<()> {
        let Some(Grown { cpu, memory }) = self.grown else { return Ok(()) };
        let (host, vm) = (life::host_of(cx, self.vm).await?, self.vm.to_string());
        let (hypervisor, before) = (host.hypervisor()?, &self.before);
        let least = u32::try_from(before.cpu_num).unwrap_or(1);
        let has_cpu = cpu > before.cpu_num && refused(hypervisor.grow_cpu(cx, &host, &vm, least).await)?;
        let least = before.memory_size.unsigned_abs();
        let has_memory =
            memory > before.memory_size && refused(hypervisor.grow_memory(cx, &host, &vm, least).await)?;
        self.grown = Some(Grown {
            cpu: if has_cpu { cpu } else { before.cpu_num },
            memory: if has_memory { memory } else { before.memory_size },
        });
        self.settled = true;
        Ok(())
    }

    async fn resized(&mut self, tx: &mut Tx) -> Result<()> {
        if let Some(words) = &self.words {
            words.say(tx, self.vm).await?;
        }
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        let at_once = vm.host_uuid.is_none() || self.grown.is_some();
        let told = json!({ "cpuNum": self.cpu, "memorySize": self.memory, "atOnce": at_once });
        tx.emit("/vm/resized", self.vm.cast(), told).await
    }
}

fn more_than(resize: &Resize, memory: i64) -> bool {
    resize.cpu > resize.before.cpu_num || memory > resize.before.memory_size
}

/// Whether the host has said no; anything else than that and a yes is no answer.
fn refused(answer: Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(false),
        Err(error) if error.is(codes::OPERATION) => Ok(true),
        Err(error) => Err(error),
    }
}

impl Flow for Resize {
    const NAME: &'static str = "vm.resize";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("resize vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record_undo("claim", Self::claim, Self::give_back)
            .act_undo("grow", Self::grow, Self::settle)
            .unless(|resize| resize.grown.is_none())
            .record("resized", Self::resized)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    /// A VM that runs is given more when it was started with room for that (`vm.numa`); otherwise it has the
    /// size of the offering once it was stopped.
    ChangeInstanceOffering: PUT "/vm-instances/{vmInstanceUuid}/actions" "changeInstanceOffering" {
        vm_instance_uuid: Id<VmInstance>,
        instance_offering_uuid: Id<InstanceOffering>,
    }
}

impl Api for ChangeInstanceOffering {
    const ROUTE: Route = ChangeInstanceOffering::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let mut tx = job.engine().db().read().await?;
        let vm: VmInstanceInventory = find(&mut tx, self.vm_instance_uuid).await?;
        let offering: InstanceOfferingInventory = find(&mut tx, self.instance_offering_uuid).await?;
        drop(tx);
        if offering.state != "Enabled" {
            let details = format!("instance offering \"{}\" is {}", offering.name, offering.state);
            return Err(codes::STATE.because(details));
        }
        allocate::check_size(offering.cpu_num, offering.memory_size)?;
        let resize = Resize::new(&vm, offering.cpu_num, offering.memory_size);
        job.flow(resize.offered(offering)).await
    }
}
