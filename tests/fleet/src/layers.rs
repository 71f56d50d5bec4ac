//! The kvm-agent's part in snapshots: files that stand on others.

use wire::agent::{Cx, Routes};
use wire::calls::{Done, localstorage, snapshot};
use wire::{Call, Fault};

use crate::{State, World, lock, obey};

type Outcome<C> = Result<<C as Call>::Reply, Fault>;

/// What a snapshot takes, bytes.
const SIZE: u64 = 1 << 20;

pub(crate) fn add_to(routes: Routes<World>) -> Routes<World> {
    routes.on(take).on(merge).on(commit).on(overlay).on(put_on).on(copy).on(upload)
}

pub(crate) fn open(vm: &str, volume: &str) -> String {
    format!("{vm} {volume}")
}

impl State {
    /// A file and all that it stands on, from the top down.
    pub(crate) fn chain(&self, path: &str) -> Vec<String> {
        std::iter::successors(Some(path.to_owned()), |path| self.layers.get(path).cloned()).collect()
    }

    /// Whether a VM that runs needs the file.
    pub(crate) fn is_in_use(&self, path: &str) -> bool {
        self.elsewhere.contains(path)
            || self.open.values().any(|top| self.chain(top).iter().any(|layer| layer == path))
    }

    /// A new file; one that a VM has open is not made again.
    pub(crate) fn make(&mut self, path: String) -> Result<(), Fault> {
        if self.elsewhere.contains(&path) {
            return Err(Fault::new(format!("{path} is in use on another host")));
        }
        self.volumes.insert(path);
        Ok(())
    }

    /// Succeeds when it is gone.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), Fault> {
        if self.is_in_use(path) {
            return Err(Fault::new(format!("{path} is in use")));
        }
        self.volumes.remove(path);
        self.layers.remove(path);
        self.cache.remove(path);
        Ok(())
    }

    /// All that a file shows, in one that stands alone.
    pub(crate) fn copy(&mut self, from: &str, to: String) -> Result<(), Fault> {
        self.there(from)?;
        match to.contains("/imagecache/") {
            true => self.cache.insert(to),
            false => self.volumes.insert(to),
        };
        Ok(())
    }

    fn there(&self, path: &str) -> Result<(), Fault> {
        match self.volumes.contains(path) || self.cache.contains(path) {
            true => Ok(()),
            false => Err(Fault::new(format!("{path} is not there"))),
        }
    }

    pub(crate) fn idle(&self, path: &str) -> Result<(), Fault> {
        match self.is_in_use(path) {
            true => Err(Fault::new(format!("{path} is in use"))),
            false => self.there(path),
        }
    }

    /// An empty file upon another one.
    pub(crate) fn lay(&mut self, path: &str, base: &str) -> Result<(), Fault> {
        self.there(base)?;
        if self.volumes.contains(path) && self.layers.get(path).map(String::as_str) != Some(base) {
            return Err(Fault::new(format!("{path} is there and does not stand on {base}")));
        }
        self.volumes.insert(path.to_owned());
        self.layers.insert(path.to_owned(), base.to_owned());
        Ok(())
    }

    pub(crate) fn put(&mut self, path: &str, base: Option<&str>) -> Result<(), Fault> {
        match base {
            None => drop(self.layers.remove(path)),
            Some(base) if self.chain(path).iter().skip(1).any(|layer| layer == base) => {
                self.layers.insert(path.to_owned(), base.to_owned());
            }
            Some(base) => return Err(Fault::new(format!("{path} does not stand on {base}"))),
        }
        Ok(())
    }

    fn take(&mut self, job: &snapshot::Job) -> Result<(), Fault> {
        let (previous, next) = (&job.previous_install_path, &job.install_path);
        let vm = job.vm_instance_uuid.as_deref().filter(|vm| self.domains.contains_key(*vm));
        let Some(vm) = vm else { return self.lay(next, previous) };
        let key = open(vm, &job.volume_uuid);
        match self.open.get(&key) {
            Some(now) if now == next => Ok(()),
            Some(now) if now == previous => {
                self.lay(next, previous)?;
                self.open.insert(key, next.clone());
                Ok(())
            }
            now => Err(Fault::new(format!("volume {} is at {now:?}, not at {previous}", job.volume_uuid))),
        }
    }

    fn top(&self, vm: &str, volume: &str) -> Result<String, Fault> {
        let missing = || Fault::new(format!("volume {volume} is not attached to vm {vm}"));
        self.open.get(&open(vm, volume)).cloned().ok_or_else(missing)
    }
}

async fn take(cx: Cx<World>, command: snapshot::TakeMany) -> Outcome<snapshot::TakeMany> {
    obey::<snapshot::TakeMany>(&cx, |state| {
        let mut snapshots = Vec::new();
        for job in command.snapshot_jobs {
            state.take(&job)?;
            snapshots.push(snapshot::TakenOne {
                volume_uuid: job.volume_uuid,
                previous_install_path: job.previous_install_path,
                install_path: job.install_path,
                size: SIZE,
            });
        }
        Ok(snapshot::TakenMany { snapshots })
    })
    .await
}

async fn merge(cx: Cx<World>, command: snapshot::Merge) -> Outcome<snapshot::Merge> {
    obey::<snapshot::Merge>(&cx, |state| {
        let top = state.top(&command.vm_uuid, &command.volume.volume_uuid)?;
        state.put(&top, Some(command.src_path.as_str()).filter(|_| !command.full_rebase))?;
        Ok(Done {})
    })
    .await
}

async fn commit(cx: Cx<World>, command: snapshot::Commit) -> Outcome<snapshot::Commit> {
    obey::<snapshot::Commit>(&cx, |state| {
        let key = open(&command.vm_uuid, &command.volume_uuid);
        let top = state.top(&command.vm_uuid, &command.volume_uuid)?;
        if top == command.top {
            state.put(&top, Some(&command.base))?;
            state.open.insert(key, command.base.clone());
        } else if top != command.base {
            return Err(Fault::new(format!("{top} is neither {} nor {}", command.top, command.base)));
        }
        Ok(snapshot::Committed { new_volume_install_path: command.base, size: SIZE })
    })
    .await
}

async fn overlay(cx: Cx<World>, command: localstorage::WithBacking) -> Outcome<localstorage::WithBacking> {
    obey::<localstorage::WithBacking>(&cx, |state| {
        state.lay(&command.install_path, &command.template_path_in_cache)?;
        Ok(localstorage::VolumeMade { size: Some(1 << 30), actual_size: Some(SIZE), ..Default::default() })
    })
    .await
}

async fn put_on(cx: Cx<World>, command: localstorage::OfflineMerge) -> Outcome<localstorage::OfflineMerge> {
    obey::<localstorage::OfflineMerge>(&cx, |state| {
        state.idle(&command.dest_path)?;
        state.put(&command.dest_path, Some(command.src_path.as_str()).filter(|_| !command.full_rebase))?;
        Ok(localstorage::Capacity::default())
    })
    .await
}

async fn copy(cx: Cx<World>, command: localstorage::CreateTemplate) -> Outcome<localstorage::CreateTemplate> {
    obey::<localstorage::CreateTemplate>(&cx, |state| {
        state.copy(&command.volume_path, command.install_path)?;
        Ok(localstorage::Merged { size: 1 << 30, actual_size: SIZE, ..Default::default() })
    })
    .await
}

/// To `http://<address>:<port>/images/<image>?token=…`.
async fn upload(cx: Cx<World>, command: localstorage::Upload) -> Outcome<localstorage::Upload> {
    let bad = || Fault::new(format!("nobody awaits an image at {}", command.url));
    let (address, rest) =
        command.url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
    let image = rest.split(['/', '?']).nth(1).ok_or_else(bad)?.to_owned();
    let store = crate::store(address)?;
    let own = std::ptr::eq(&*store, &*cx);
    let brought = obey::<localstorage::Upload>(&cx, |state| {
        state.there(&command.install_path)?;
        if own && !state.images.contains(&image) {
            state.brought.insert(image.clone());
        }
        Ok(localstorage::Uploaded { size: SIZE })
    })
    .await?;
    if !own && !lock(&store.state).images.contains(&image) {
        lock(&store.state).brought.insert(image);
    }
    Ok(brought)
}
