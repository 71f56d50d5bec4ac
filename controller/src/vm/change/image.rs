//! A VM's root volume made anew from its image: beside the old one, which goes when the new one is the VM's.

use std::time::Duration;

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::flow::{Cx, Flow, Steps};
use engine::inventory::{find, show};
use engine::{Any, Id, Result, api, codes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store;
use crate::host::{Host, HostInventory};
use crate::image::{self, Image, ImageInventory};
use crate::primary_storage::driver::{NewVolume, Placed, Wanted};
use crate::primary_storage::{self, InCache, PrimaryStorage, PrimaryStorageInventory};
use crate::vm::create::wanted;
use crate::vm::{VmInstance, VmInstanceInventory};
use crate::volume::{self, Volume};

/// How long an image may be on its way.
const FETCHING: Duration = Duration::from_secs(3600);

/// look → fetch the image, unless it is in the cache → make → swap → delete the old one
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::vm) struct Reimage {
    vm: Id<VmInstance>,
    name: String,
    old: Option<Old>,
    /// The file that takes the place of the old one.
    path: String,
    /// What is to be fetched; nothing when it is in the cache.
    wanted: Option<Wanted>,
    known: bool,
    cached: Placed,
    made: Placed,
}

/// The root volume as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Old {
    volume: Id<Volume>,
    image: Id<Image>,
    path: String,
    size: i64,
    actual_size: Option<i64>,
    storage: Id<PrimaryStorage>,
    host: Id<Host>,
}

impl Reimage {
    async fn look(&mut self, tx: &mut Tx) -> Result<()> {
        let vm: VmInstanceInventory = find(tx, self.vm).await?;
        if vm.state != "Stopped" {
            let details = format!("vm \"{}\" is {}: stop it before its disk is made anew", vm.name, vm.state);
            return Err(codes::STATE.because(details));
        }
        let old = root(tx, &vm).await?;
        primary_storage::refuse_detached(tx, old.storage, old.host).await?;
        self.path = beside(&old.path, old.volume, &self.path)?;
        match primary_storage::in_cache(tx, &old.image.to_string(), old.storage, old.host).await? {
            InCache::Yes(placed) => self.cached = placed,
            other => {
                let source = image::source(tx, old.image, vm.zone_uuid).await?;
                self.wanted = Some(wanted(&source, old.image));
                self.known = matches!(other, InCache::Doubted);
            }
        }
        self.old = Some(old);
        Ok(())
    }

    fn old(&self) -> Result<&Old> {
        self.old.as_ref().ok_or_else(|| codes::INTERNAL.because("the root volume was not looked at"))
    }

    async fn place(&self, cx: &Cx) -> Result<(HostInventory, PrimaryStorageInventory)> {
        let (mut tx, old) = (cx.read().await?, self.old()?);
        Ok((find(&mut tx, old.host).await?, find(&mut tx, old.storage).await?))
    }

    async fn fetch(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        if let Some(wanted) = &self.wanted {
            self.cached = primary_storage::cached(cx, &host, &storage, wanted, self.known).await?;
        }
        Ok(())
    }

    async fn fetched(&mut self, tx: &mut Tx) -> Result<()> {
        let old = self.old()?;
        match &self.wanted {
            None => Ok(()),
            Some(wanted) => {
                let (image, cached) = (&wanted.image, &self.cached);
                primary_storage::remember_cached(tx, image, old.storage, old.host, cached).await
            }
        }
    }

    async fn make(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        let old = self.old()?.clone();
        // The path says all; whose it is stands in the old one's.
        let new = NewVolume { uuid: old.volume.to_string(), account: String::new(), size: old.size };
        let driver = storage.driver()?;
        let made = driver.clone_volume_at(storage.through(cx, &host), &self.cached, &new, &self.path).await;
        if self.wanted.is_none() && made.as_ref().is_err_and(primary_storage::says_uncached) {
            cx.write(move |tx| {
                Box::pin(async move {
                    let image = old.image.to_string();
                    primary_storage::doubt_cached(tx, &image, old.storage, old.host).await
                })
            })
            .await?;
        }
        self.made = made?;
        Ok(())
    }

    async fn unmake(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        storage.driver()?.delete_volume(storage.through(cx, &host), &self.path).await
    }

    async fn swap(&mut self, tx: &mut Tx) -> Result<()> {
        let (size, actual_size) = (self.made.size, Some(self.made.actual_size));
        store::reimage(tx, self.old()?.volume, &self.path, size, actual_size).await
    }

    async fn delete_old(&mut self, cx: &Cx) -> Result<()> {
        let (host, storage) = self.place(cx).await?;
        storage.driver()?.delete_volume(storage.through(cx, &host), &self.old()?.path).await
    }

    async fn reimaged(&mut self, tx: &mut Tx) -> Result<()> {
        tx.emit("/vm/reimaged", self.vm.cast(), json!({ "name": self.name })).await
    }
}

/// The VM's root volume, which must have been made from an image.
async fn root(tx: &mut Tx, vm: &VmInstanceInventory) -> Result<Old> {
    let root = volume::root_of(tx, vm.uuid.cast()).await?;
    let cannot = |why: &str| codes::STATE.because(format!("vm \"{}\" cannot be reimaged: {why}", vm.name));
    let (Some(storage), Some(path)) = (root.primary_storage_uuid, root.install_path) else {
        return Err(cannot("its root volume lies nowhere"));
    };
    let host = volume::in_hand(tx, root.uuid).await?.host.uuid;
    match volume::snapshots(tx, root.uuid).await? {
        0 => {}
        some => return Err(cannot(&format!("its root volume has {some} snapshots: delete them first"))),
    }
    let image = root.root_image_uuid.ok_or_else(|| cannot("its root volume was made from no image"))?;
    let image: ImageInventory = match find(tx, image).await {
        Err(error) if error.is(codes::NOT_FOUND) => return Err(cannot("its image is gone")),
        found => found?,
    };
    if image.media_type == "ISO" {
        return Err(cannot("it was installed from an ISO"));
    }
    let (volume, image, size, actual_size) = (root.uuid, image.uuid, root.size, root.actual_size);
    Ok(Old { volume, image, path, size, actual_size, storage, host })
}

/// Another file in the directory of `path`.
fn beside(path: &str, volume: Id<Volume>, seed: &str) -> Result<String> {
    let (dir, _) = path
        .rsplit_once('/')
        .ok_or_else(|| codes::INTERNAL.because(format!("\"{path}\" lies in no directory")))?;
    let name = Id::<Volume>::derived(&[&volume.to_string(), path, seed]);
    Ok(format!("{dir}/{name}.qcow2"))
}

impl Flow for Reimage {
    const NAME: &'static str = "vm.reimage";

    fn resource(&self) -> Id<Any> {
        self.vm.cast()
    }

    fn title(&self) -> String {
        format!("reimage vm \"{}\"", self.name)
    }

    fn steps() -> Steps<Self> {
        Steps::new()
            .record("look", Self::look)
            .act("image", Self::fetch)
            .limit(FETCHING)
            .unless(|reimage| reimage.wanted.is_none())
            .record("cached", Self::fetched)
            .act_undo("make", Self::make, Self::unmake)
            .record("swap", Self::swap)
            .act("delete old", Self::delete_old)
            .onward()
            .record("reimaged", Self::reimaged)
    }

    async fn answer(&self, tx: &mut Tx) -> Result<Value> {
        show::<VmInstanceInventory>(tx, self.vm).await
    }
}

api! {
    /// Its root volume shows its image again; what was written to it is lost. The VM must be stopped.
    ReimageVmInstance: PUT "/vm-instances/{vmInstanceUuid}/actions" "reimageVmInstance" {
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Api for ReimageVmInstance {
    const ROUTE: Route = ReimageVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let vm: VmInstanceInventory =
            find(&mut job.engine().db().read().await?, self.vm_instance_uuid).await?;
        let reimage = Reimage {
            vm: vm.uuid,
            name: vm.name,
            old: None,
            // So that another call makes another file.
            path: job.id().to_string(),
            wanted: None,
            known: false,
            cached: Placed::default(),
            made: Placed::default(),
        };
        job.flow(reimage).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_file_lies_beside_the_old_one_and_is_another_each_time() {
        let volume = Id::random();
        let first = beside("/ps/rootVolumes/vol-x/x.qcow2", volume, "job 1").unwrap();
        assert!(first.starts_with("/ps/rootVolumes/vol-x/") && first.ends_with(".qcow2"), "{first}");
        assert_ne!(first, beside("/ps/rootVolumes/vol-x/x.qcow2", volume, "job 2").unwrap());
        assert_ne!(first, beside(&first, volume, "job 1").unwrap());
    }
}
