//! Fencers: each host that was told to renews its lease on the share, as long as it has power and the share, and
//! obeys the mark by which others give it up.
//!
//! Nothing is done by the clock. A lease is renewed whenever somebody looks at it and its holder lives, so who
//! watches is told at once what waiting would have shown him.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use wire::agent::{Cx, Routes};
use wire::calls::Done;
use wire::calls::ha as call;
use wire::{Call, Fault};

use crate::kvm::off;
use crate::share::Files;
use crate::{Effect, Moment, Share, State, World, lock, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

/// How a host is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// It has no power.
    dark: AtomicBool,
    /// It does not reach what it shares.
    parted: AtomicBool,
    /// It was given up, and has not been set up since.
    fenced: AtomicBool,
    /// How often it was looked at by others whether it lives.
    watched: AtomicU64,
}

/// What a host renews.
#[derive(Debug)]
pub(crate) struct Lease {
    holder: Weak<World>,
    sequence: u64,
}

impl Health {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::SeqCst)
    }

    fn lives(&self) -> bool {
        !Self::is(&self.dark) && !Self::is(&self.parted)
    }
}

impl World {
    /// Everything that ran there ends.
    pub fn loses_power(&self) {
        self.health.dark.store(true, Ordering::SeqCst);
        self.meddle(|state| {
            for vm in state.domains.keys().cloned().collect::<Vec<_>>() {
                off(state, &vm);
            }
            state.namespaces.clear();
            for some in [&mut state.served, &mut state.told, &mut state.taps, &mut state.others] {
                some.clear();
            }
            for some in [&mut state.leases, &mut state.names] {
                some.clear();
            }
        });
    }

    pub fn regains_power(&self) {
        self.health.dark.store(false, Ordering::SeqCst);
    }

    pub fn is_dark(&self) -> bool {
        Health::is(&self.health.dark)
    }

    /// It does not reach the share any more, and kills what works there; which VMs.
    pub fn loses_share(&self) -> Vec<String> {
        self.health.parted.store(true, Ordering::SeqCst);
        let mut killed = Vec::new();
        self.meddle(|state| killed = self.kill(state));
        killed
    }

    pub fn regains_share(&self) {
        self.health.parted.store(false, Ordering::SeqCst);
    }

    /// How often its leases were watched by others.
    pub fn watched(&self) -> u64 {
        self.health.watched.load(Ordering::SeqCst)
    }

    /// Ends what has a file of the share open; what it was.
    fn kill(&self, state: &mut State) -> Vec<String> {
        let shared = |path: &String| self.share.is_some_and(|share| share.has(path));
        let open = state.open.iter().filter(|(_, path)| shared(path));
        let mut vms: Vec<String> =
            open.filter_map(|(key, _)| key.split(' ').next().map(str::to_owned)).collect();
        vms.dedup();
        vms.iter().for_each(|vm| off(state, vm));
        vms
    }

    /// Why nothing on these paths may start here.
    pub(crate) fn lacks_lease<'p>(&self, mut paths: impl Iterator<Item = &'p str>) -> Option<Fault> {
        let fenced = Health::is(&self.health.fenced) || Health::is(&self.health.parted);
        let guarded = !lock(&self.state).fencers.is_empty();
        let shared = paths.any(|path| self.share.is_some_and(|share| share.has(path)));
        (fenced && guarded && shared)
            .then(|| Fault::coded(call::NO_LEASE, "this host does not hold the lease of the storage"))
    }
}

impl Share {
    /// The lease as it is now: a holder that lives has renewed it, and has looked for the mark then.
    fn look(&self, files: &mut Files, host: &str) -> Option<u64> {
        let lease = files.leases.get_mut(host)?;
        let holder = lease.holder.upgrade().filter(|holder| holder.health.lives());
        if holder.is_some() {
            lease.sequence += 1;
        }
        let sequence = lease.sequence;
        if let Some(holder) = holder.filter(|_| files.fenced.contains(host)) {
            self.obey_mark(files, &holder, host);
        }
        Some(sequence)
    }

    /// The host ends what works here, and then takes the mark away.
    fn obey_mark(&self, files: &mut Files, holder: &World, host: &str) {
        let mut state = lock(&holder.state);
        holder.kill(&mut state);
        self.note_open(files, &state, holder.number());
        holder.health.fenced.store(true, Ordering::SeqCst);
        files.fenced.remove(host);
    }

    fn set_up(&self, host: &str, holder: &Arc<World>) {
        let mut files = self.files();
        if files.fenced.contains(host) {
            self.obey_mark(&mut files, holder, host);
        }
        let sequence = files.leases.get(host).map_or(1, |lease| lease.sequence + 1);
        files.leases.insert(host.to_owned(), Lease { holder: Arc::downgrade(holder), sequence });
        holder.health.fenced.store(false, Ordering::SeqCst);
    }

    /// Whether the host was given up here and has not been back.
    pub fn is_marked(&self, host: &str) -> bool {
        self.files().fenced.contains(host)
    }
}

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes.on(set_up).on(cancel).on(watch).on(fence)
}

async fn set_up(cx: Cx<World>, command: call::SetupSelfFencer) -> Outcome<call::SetupSelfFencer> {
    if !cx.health.lives() {
        return Err(Fault::new("the storage is not reached"));
    }
    let done = obey::<call::SetupSelfFencer>(&cx, |state| {
        state.fencers.extend(command.uuids);
        Ok(Done {})
    })
    .await?;
    if let Some(share) = cx.share {
        share.set_up(&command.host_uuid, cx.state());
    }
    Ok(done)
}

async fn cancel(cx: Cx<World>, command: call::CancelSelfFencer) -> Outcome<call::CancelSelfFencer> {
    if let Some(share) = cx.share {
        share.files().leases.remove(&command.host_uuid);
    }
    obey::<call::CancelSelfFencer>(&cx, |state| {
        state.fencers.retain(|storage| !command.ps_uuids.contains(storage));
        Ok(Done {})
    })
    .await
}

async fn watch(cx: Cx<World>, command: call::WatchLease) -> Outcome<call::WatchLease> {
    cx.spring(call::WatchLease::PATH, Moment::Before);
    if let Some(error) = cx.refusal(call::WatchLease::PATH) {
        return Err(Fault::new(error));
    }
    let absent = call::LeaseWatched::default();
    let Some(share) = cx.share.filter(|share| share.has(&command.mount_path)) else { return Ok(absent) };
    let mut files = share.files();
    let Some(lease) = files.leases.get(&command.host_uuid) else { return Ok(absent) };
    let before = lease.sequence;
    if let Some(holder) = lease.holder.upgrade() {
        holder.health.watched.fetch_add(1, Ordering::SeqCst);
    }
    let sequence = share.look(&mut files, &command.host_uuid).unwrap_or(before);
    let state = if sequence == before { call::LeaseState::Silent } else { call::LeaseState::Renewed };
    let watched = if sequence == before { command.seconds } else { 0 };
    Ok(call::LeaseWatched { state, sequence, watched })
}

/// Makes the mark, then looks at the lease.
async fn fence(cx: Cx<World>, command: call::FenceLease) -> Outcome<call::FenceLease> {
    cx.spring(call::FenceLease::PATH, Moment::Before);
    if let Some(error) = cx.refusal(call::FenceLease::PATH) {
        return Err(Fault::new(error));
    }
    let share = cx.share.filter(|share| share.has(&command.mount_path));
    let share = share.ok_or_else(|| Fault::new("the storage is not there"))?;
    let reply = {
        let mut files = share.files();
        files.fenced.insert(command.host_uuid.clone());
        let sequence = share.look(&mut files, &command.host_uuid);
        let fenced = sequence == Some(command.sequence);
        if !fenced {
            files.fenced.remove(&command.host_uuid);
        }
        call::LeaseFenced { fenced, sequence: sequence.unwrap_or_default() }
    };
    cx.note(Effect { done: true, ..Effect::begun(cx.task(), &lock(&cx.state)) });
    cx.spring(call::FenceLease::PATH, Moment::After);
    Ok(reply)
}
