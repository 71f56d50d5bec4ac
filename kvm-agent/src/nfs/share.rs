//! Mounts shares, and looks whether they answer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::Capacity;
use wire::calls::nfs::{GetCapacity, Mount, Ping, Remount, Unmount, UpdateMountPoint};

use crate::localstorage::{self, Storage};
use crate::state::Host;
use crate::sys::mounts;

/// Whoever does not answer for so long is silent.
const PATIENCE: Duration = Duration::from_secs(10);

type Question = JoinHandle<Result<Capacity, Fault>>;

/// Questions to shares that may still wait for their answers, by mount path.
#[derive(Default)]
pub struct Shares {
    open: Mutex<HashMap<PathBuf, Question>>,
}

/// A share, and where it shall be.
struct Share<'a> {
    url: &'a str,
    at: Storage,
    options: &'a str,
}

pub async fn mount(cx: Cx<Host>, cmd: Mount) -> Result<Capacity, Fault> {
    let share = Share::new(&cmd.url, &cmd.mount_path, cmd.options.as_deref())?;
    open(&cx, &share, &cmd.uuid).await
}

pub async fn remount(cx: Cx<Host>, cmd: Remount) -> Result<Capacity, Fault> {
    let share = Share::new(&cmd.url, &cmd.mount_path, cmd.options.as_deref())?;
    open(&cx, &share, &cmd.uuid).await
}

pub async fn unmount(cx: Cx<Host>, cmd: Unmount) -> Result<Capacity, Fault> {
    let share = Share::new(&cmd.url, &cmd.mount_path, None)?;
    let _one = cx.files.lock(share.path().to_owned()).await;
    share.unmount().await?;
    Ok(Capacity::default())
}

pub async fn update_mount_point(cx: Cx<Host>, cmd: UpdateMountPoint) -> Result<Capacity, Fault> {
    let options = cmd.options.as_deref();
    let new = Share::named(&cmd.new_mount_point, "newMountPoint", &cmd.mount_path, options)?;
    let old = Share::named(&cmd.old_mount_point, "oldMountPoint", &cmd.mount_path, None)?;
    let mounted = mounts::at(old.path())?.map(|mounted| mounted.source).unwrap_or_default();
    if same(&mounted, old.url) && !same(old.url, new.url) {
        let _one = cx.files.lock(old.path().to_owned()).await;
        old.unmount().await?;
    }
    open(&cx, &new, &cmd.uuid).await
}

pub async fn ping(cx: Cx<Host>, cmd: Ping) -> Result<Capacity, Fault> {
    let share = Share::new(&cmd.url, &cmd.mount_path, None)?;
    if !share.is_mounted()? {
        return Err(share.missing());
    }
    let storage = share.at.clone();
    cx.shares
        .ask(share.path(), move || {
            // A directory made and removed: the share can be written to.
            drop(storage.workbench()?);
            capacity(&storage)
        })
        .await
}

pub async fn get_capacity(cx: Cx<Host>, cmd: GetCapacity) -> Result<Capacity, Fault> {
    let storage = Storage::at(&cmd.mount_path)?;
    if mounts::at(storage.root())?.is_none() {
        return Err(Fault::new(format!(
            "nothing is mounted at mountPath {:?}: mount the share first",
            cmd.mount_path
        )));
    }
    let path = storage.root().to_owned();
    cx.shares.ask(&path, move || capacity(&storage)).await
}

/// Mounts the share and opens it as a storage of this host. What cannot be opened is not left mounted.
async fn open(cx: &Cx<Host>, share: &Share<'_>, uuid: &str) -> Result<Capacity, Fault> {
    let _one = cx.files.lock(share.path().to_owned()).await;
    let is_new = share.mount().await?;
    let claimed = claim(cx, share, uuid).await;
    if let (true, Err(_)) = (is_new, &claimed) {
        let undone = tokio::time::timeout(PATIENCE, share.unmount()).await;
        tracing::warn!(url = share.url, undone = matches!(undone, Ok(Ok(()))), "share cannot be used");
    }
    claimed
}

async fn claim(cx: &Cx<Host>, share: &Share<'_>, uuid: &str) -> Result<Capacity, Fault> {
    let (storage, owner) = (share.at.clone(), uuid.to_owned());
    let opening = cx.shares.ask(share.path(), move || {
        localstorage::claim(&storage, &owner)?;
        capacity(&storage)
    });
    let space = opening.await?;
    cx.storages.remember(&share.at, uuid).await?;
    Ok(space)
}

impl Shares {
    /// One question at a time: a thread that waits for a silent server cannot be ended.
    async fn ask(
        &self,
        path: &Path,
        question: impl FnOnce() -> Result<Capacity, Fault> + Send + 'static,
    ) -> Result<Capacity, Fault> {
        let silent = || Fault::new(format!("the share at {path:?} does not answer: look after its server"));
        let mut asked = {
            let mut open = self.open.lock().await;
            if let Some(last) = open.remove(path).filter(|last| !last.is_finished()) {
                open.insert(path.to_owned(), last);
                return Err(silent());
            }
            tokio::task::spawn_blocking(question)
        };
        match tokio::time::timeout(PATIENCE, &mut asked).await {
            Ok(answer) => answer?,
            Err(_) => {
                self.open.lock().await.insert(path.to_owned(), asked);
                Err(silent())
            }
        }
    }
}

impl<'a> Share<'a> {
    fn new(url: &'a str, path: &str, options: Option<&'a str>) -> Result<Self, Fault> {
        Share::named(url, "url", path, options)
    }

    /// `member` is what the URL is called in the command.
    fn named(url: &'a str, member: &str, path: &str, options: Option<&'a str>) -> Result<Self, Fault> {
        let plain = |text: &str| !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain(url) || url.split_once(":/").is_none_or(|(server, _)| server.is_empty()) {
            return Err(Fault::new(format!("{member} {url:?} is no share: write it as server:/path")));
        }
        let options = options.unwrap_or_default();
        if !plain(options) {
            return Err(Fault::new(format!("options {options:?} are none of a mount: write them as a,b=c")));
        }
        let at = Storage::at(path).map_err(|fault| Fault::new(format!("mountPath: {}", fault.error)))?;
        Ok(Share { url, at, options })
    }

    fn path(&self) -> &Path {
        self.at.root()
    }

    /// Fails when something else is mounted there.
    fn is_mounted(&self) -> Result<bool, Fault> {
        match mounts::at(self.path())? {
            None => Ok(false),
            Some(mounted) if same(&mounted.source, self.url) => Ok(true),
            Some(mounted) => Err(Fault::new(format!(
                "{:?} has {:?} mounted, not {:?}: unmount that first",
                self.path(),
                mounted.source,
                self.url
            ))),
        }
    }

    fn missing(&self) -> Fault {
        Fault::new(format!("share {:?} is not mounted at {:?}: mount it again", self.url, self.path()))
    }

    /// Whether it was not mounted before.
    async fn mount(&self) -> Result<bool, Fault> {
        if self.is_mounted()? {
            return Ok(false);
        }
        tokio::fs::create_dir_all(self.path()).await?;
        mounts::mount_nfs(self.url, self.path(), self.options).await?;
        if !self.is_mounted()? {
            return Err(self.missing());
        }
        tracing::info!(url = self.url, path = %self.path().display(), "share mounted");
        Ok(true)
    }

    async fn unmount(&self) -> Result<(), Fault> {
        if !self.is_mounted()? {
            return Ok(());
        }
        let path = self.path().to_owned();
        let done = tokio::task::spawn_blocking(move || mounts::unmount(&path)).await?;
        done.map_err(|error| {
            Fault::new(format!("cannot unmount {:?}: {error}: stop the vms that use it first", self.path()))
        })?;
        tracing::info!(url = self.url, path = %self.path().display(), "share unmounted");
        Ok(())
    }
}

/// A slash at the end is no difference.
fn same(mounted: &str, url: &str) -> bool {
    mounted.trim_end_matches('/') == url.trim_end_matches('/')
}

fn capacity(storage: &Storage) -> Result<Capacity, Fault> {
    let space = storage.space()?;
    Ok(Capacity { total_capacity: Some(space.total), available_capacity: Some(space.available) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_cannot_be_is_refused_by_its_member() {
        let refused = |url: &str, path: &str, options| Share::new(url, path, options).err().unwrap().error;
        assert!(refused("/srv/x", "/mnt/nfs", None).starts_with("url "));
        assert!(refused("-o:/x", "/mnt/nfs", None).starts_with("url "));
        assert!(refused("a:/x", "/etc/nfs", None).starts_with("mountPath: "));
        assert!(refused("a:/x", "/mnt/nfs", Some("ro -o suid")).starts_with("options "));
        Share::new("[2001:db8::1]:/x", "/mnt/nfs", Some("vers=3,nolock")).ok().unwrap();
    }

    #[tokio::test]
    async fn a_share_that_is_silent_is_asked_once() {
        let (shares, path) = (Shares::default(), Path::new("/mnt/nfs"));
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let hang = shares.open.lock().await.insert(
            path.to_owned(),
            tokio::task::spawn_blocking(move || {
                let _ = held.recv();
                Ok(Capacity::default())
            }),
        );
        assert!(hang.is_none());
        let error = shares.ask(path, || panic!("it is not asked")).await.unwrap_err().error;
        assert!(error.contains("does not answer"), "{error}");
        drop(let_go);
        while shares.ask(path, || Ok(Capacity::default())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
