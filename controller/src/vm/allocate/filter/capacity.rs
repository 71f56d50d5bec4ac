use super::{Candidate, Filter, Look, needed, size};

/// It has the CPUs and the memory.
pub(super) struct HostCapacity;

impl Filter for HostCapacity {
    fn refuse(&self, look: &Look<'_>, host: &Candidate) -> Option<String> {
        let said: Vec<_> = cpus(look, host).into_iter().chain(memory(look, host)).collect();
        (!said.is_empty()).then(|| said.join(", and "))
    }
}

fn cpus(look: &Look<'_>, host: &Candidate) -> Option<String> {
    let (left, wanted) = (host.room.cpu_room, look.demand.cpu);
    let all = host.host.total_cpu_capacity;
    (left < wanted).then(|| format!("has {} of {all} CPUs left, {wanted} are needed", left.max(0)))
}

fn memory(look: &Look<'_>, host: &Candidate) -> Option<String> {
    let (left, wanted) = (host.room.memory_room, look.demand.memory);
    let all = size(host.host.total_memory_capacity);
    (left < wanted).then(|| {
        format!(
            "has {} of {all} of memory left for VMs ({} are reserved), {} are needed",
            size(left),
            size(host.reserved),
            needed(wanted)
        )
    })
}
