//! A directory that several hosts have mounted: what one makes there all have, and what one has open no other
//! may open or delete. And the kvm-agent's part in such storages.
//!
//! Each host's state shows the directory as it is; it is shown anew before anybody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use wire::agent::{Cx, Routes};
use wire::calls::{localstorage as local, mount_point as call};
use wire::{Call, Fault};

use crate::ha::Lease;
use crate::{State, World, lock, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

pub(crate) const CAPACITY: Option<u64> = Some(1 << 40);
/// What a file takes, bytes.
pub(crate) const SIZE: u64 = 1 << 20;

/// The directory, for all hosts that have it mounted.
#[derive(Debug)]
pub struct Share {
    dir: &'static str,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The same members as in a state.
    there: State,
    /// What hosts have open, with all that it stands on.
    open: BTreeMap<usize, BTreeSet<String>>,
    /// By the host that holds it.
    pub(crate) leases: BTreeMap<String, Lease>,
    /// The hosts that were given up.
    pub(crate) fenced: BTreeSet<String>,
}

pub(crate) fn below(dir: &str, path: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Share {
    /// For the rest of the process.
    pub fn at(dir: &'static str) -> &'static Share {
        Box::leak(Box::new(Share { dir, files: Mutex::default() }))
    }

    /// What lies there.
    pub fn state(&self) -> State {
        lock(&self.files).there.clone()
    }

    /// What the state shows besides.
    pub fn rest_of(&self, mut state: State) -> State {
        self.keep(&mut state, |path| !below(self.dir, path));
        state
    }

    /// There is no such file any more, whoever thinks so.
    pub fn loses(&self, path: &str) {
        let there = &mut lock(&self.files).there;
        there.volumes.remove(path);
        there.cache.remove(path);
    }

    /// A file that nobody has asked for.
    pub fn gets(&self, path: &str) {
        lock(&self.files).there.volumes.insert(path.to_owned());
    }

    fn keep(&self, state: &mut State, keep: impl Fn(&str) -> bool) {
        state.volumes.retain(|path| keep(path));
        state.cache.retain(|path| keep(path));
        state.folders.retain(|path| keep(path));
        state.layers.retain(|path, _| keep(path));
        state.marks.retain(|path, _| keep(path));
    }

    pub(crate) fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        lock(&self.files)
    }

    pub(crate) fn show(&self, files: &Files, state: &mut State, host: usize) {
        self.keep(state, |path| !below(self.dir, path));
        let there = &files.there;
        state.volumes.extend(there.volumes.iter().cloned());
        state.cache.extend(there.cache.iter().cloned());
        state.folders.extend(there.folders.iter().cloned());
        state.layers.extend(there.layers.clone());
        state.marks.extend(there.marks.clone());
        let others = files.open.iter().filter(|(other, _)| **other != host);
        state.elsewhere = others.flat_map(|(_, open)| open.iter().cloned()).collect();
    }

    pub(crate) fn take(&self, files: &mut Files, state: &State, host: usize) {
        let State { volumes, cache, folders, layers, marks, .. } = state.clone();
        files.there = State { volumes, cache, folders, layers, marks, ..State::default() };
        self.keep(&mut files.there, |path| below(self.dir, path));
        self.note_open(files, state, host);
    }

    pub(crate) fn note_open(&self, files: &mut Files, state: &State, host: usize) {
        let open = state.open.values().flat_map(|top| state.chain(top));
        files.open.insert(host, open.filter(|path| below(self.dir, path)).collect());
    }

    /// Whether both hosts of a move have the file without its being copied.
    pub(crate) fn has(&self, path: &str) -> bool {
        below(self.dir, path)
    }
}

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes
        .on(connect)
        .on(create_root)
        .on(with_backing)
        .on(create_empty)
        .on(create_folder)
        .on(delete)
        .on(check_bits)
        .on(get_size)
        .on(create_template)
        .on(offline_merge)
        .on(download)
}

async fn connect(cx: Cx<World>, command: call::Connect) -> Outcome<call::Connect> {
    obey::<call::Connect>(&cx, |state| {
        let owner = state.marks.get(&command.mount_point).cloned();
        if let Some(owner) = owner.as_ref().filter(|owner| command.exist_uuids.contains(owner)) {
            return Err(Fault::new(format!("{} is primary storage {owner}", command.mount_point)));
        }
        state.marks.insert(command.mount_point, command.uuid);
        let is_first = owner.is_none();
        Ok(call::Connected { is_first, total_capacity: CAPACITY, available_capacity: CAPACITY })
    })
    .await
}

async fn create_root(cx: Cx<World>, command: call::CreateRoot) -> Outcome<call::CreateRoot> {
    obey::<call::CreateRoot>(&cx, |state| {
        if !state.cache.contains(&command.template_path_in_cache) {
            return Err(Fault::new("unable to find image in cache"));
        }
        state.make(command.install_path)?;
        Ok(local::VolumeMade { size: Some(SIZE), ..Default::default() })
    })
    .await
}

async fn with_backing(cx: Cx<World>, command: call::WithBacking) -> Outcome<call::WithBacking> {
    obey::<call::WithBacking>(&cx, |state| {
        state.lay(&command.install_path, &command.template_path_in_cache)?;
        Ok(local::VolumeMade { size: Some(1 << 30), actual_size: Some(SIZE), ..Default::default() })
    })
    .await
}

async fn create_empty(cx: Cx<World>, command: call::CreateEmpty) -> Outcome<call::CreateEmpty> {
    obey::<call::CreateEmpty>(&cx, |state| {
        state.make(command.install_path)?;
        Ok(local::VolumeMade { size: Some(command.size), ..Default::default() })
    })
    .await
}

async fn create_folder(cx: Cx<World>, command: call::CreateFolder) -> Outcome<call::CreateFolder> {
    obey::<call::CreateFolder>(&cx, |state| {
        let folder = command.install_path.rsplit_once('/').map_or("", |(folder, _)| folder);
        state.folders.insert(folder.to_owned());
        Ok(local::Capacity::default())
    })
    .await
}

async fn delete(cx: Cx<World>, command: call::Delete) -> Outcome<call::Delete> {
    obey::<call::Delete>(&cx, |state| {
        if command.folder {
            state.folders.remove(&command.path);
            state.cache.retain(|path| !below(&command.path, path));
        } else {
            state.remove(&command.path)?;
        }
        Ok(local::Deleted::default())
    })
    .await
}

async fn check_bits(cx: Cx<World>, command: call::CheckBits) -> Outcome<call::CheckBits> {
    let (state, path) = (cx.here(), &command.path);
    let existing = state.volumes.contains(path) || state.cache.contains(path) || state.folders.contains(path);
    Ok(local::BitsChecked { existing })
}

async fn get_size(cx: Cx<World>, command: call::GetSize) -> Outcome<call::GetSize> {
    let (state, path) = (cx.here(), &command.install_path);
    match state.volumes.contains(path) || state.cache.contains(path) {
        true => Ok(local::Size { size: 1 << 30, actual_size: SIZE }),
        false => Err(Fault::new(format!("there is no volume {}", command.install_path))),
    }
}

async fn create_template(cx: Cx<World>, command: call::CreateTemplate) -> Outcome<call::CreateTemplate> {
    obey::<call::CreateTemplate>(&cx, |state| {
        state.copy(&command.volume_path, command.install_path)?;
        Ok(local::Merged { size: 1 << 30, actual_size: SIZE, ..Default::default() })
    })
    .await
}

async fn offline_merge(cx: Cx<World>, command: call::OfflineMerge) -> Outcome<call::OfflineMerge> {
    obey::<call::OfflineMerge>(&cx, |state| {
        state.idle(&command.dest_path)?;
        state.put(&command.dest_path, Some(command.src_path.as_str()).filter(|_| !command.full_rebase))?;
        Ok(local::Capacity::default())
    })
    .await
}

async fn download(cx: Cx<World>, command: call::Download) -> Outcome<call::Download> {
    obey::<call::Download>(&cx, |state| {
        state.cache.insert(command.primary_storage_install_path);
        let (format, size) = ("qcow2".into(), command.size);
        Ok(local::Downloaded { format, size, actual_size: size, ..Default::default() })
    })
    .await
}
