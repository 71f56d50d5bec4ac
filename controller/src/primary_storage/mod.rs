//! A primary storage: where the volumes of VMs lie.
//!
//! Its capacity is what it has on its hosts less what volumes and cached images claim; a volume's row is
//! its claim. A storage takes part on a host from the moment the host is connected (see [`host_hook`]).
//!
//! A shared storage is the same on all its hosts: what lies there lies on no host, its space and its cached
//! images are there once. One host works on a file at a time, the volume's *hand*, which is chosen when a flow
//! begins and written down.

mod add;
mod api;
mod attach;
mod cache;
mod cascade;
mod clean;
pub mod driver;
pub mod host_hook;
mod layout;
mod local;
mod nfs;
mod reads;
mod reconnect;
mod shared_mount_point;
mod store;
mod witness;

use std::time::Duration;

use engine::db::Tx;
use engine::flow::Cx;
use engine::hook::{Hook, Point};
use engine::inventory::{Members, attach, find, page_uuids};
use engine::module::Module;
use engine::setting::{AnySetting, Level, Setting, number};
use engine::{Id, Result, Stamp, codes, inventory};

use crate::cluster::ClusterInventory;
use crate::host::{self, Host, HostInventory};
use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::{Link, Relation};

/// A storage, and a host that it takes part on.
#[derive(Clone, Debug)]
pub struct OnHost {
    pub storage: PrimaryStorageInventory,
    pub host: HostInventory,
}

/// Hooks here succeed when there is nothing left to do. They are undone before the storage leaves the host.
pub static JOINED: Point<dyn Hook<OnHost>> = Point::step(
    "primary storage joined",
    "a host can use the storage, and no volume of it yet; undone when the storage leaves the host",
);

pub use cache::{cached, says_uncached};
pub use store::{
    Candidate, InCache, candidates, doubt_cached, hand, hosts_of, in_cache, kept_elsewhere, lacking,
    remember_cached,
};

/// Deletes a file that lies in a storage of the host and belongs to nobody. The host's agent refuses one
/// that is in use.
pub async fn delete_file(cx: &Cx, host: &HostInventory, path: &str) -> Result<()> {
    let storages = store::of_host(&mut cx.read().await?, host.uuid).await?;
    let below = |storage: &&PrimaryStorageInventory| {
        path.strip_prefix(storage.mount_path.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let storage = storages.iter().filter(below).max_by_key(|storage| storage.mount_path.len());
    let storage = storage.ok_or_else(|| {
        let details = format!("\"{path}\" lies in no primary storage that host \"{}\" has", host.name);
        codes::STATE.because(details)
    })?;
    storage.driver()?.delete_volume(storage.through(cx, host), path).await
}

/// Refuses to use a storage on a host of whose cluster it was taken.
pub async fn refuse_detached(tx: &mut Tx, storage: Id<PrimaryStorage>, host: Id<Host>) -> Result<()> {
    if store::is_attached(tx, storage, host).await? {
        return Ok(());
    }
    let storage: PrimaryStorageInventory = find(tx, storage).await?;
    let host: HostInventory = find(tx, host).await?;
    let details = format!(
        "primary storage \"{}\" is not attached to the cluster of host \"{}\": attach it again first",
        storage.name, host.name
    );
    Err(codes::STATE.because(details))
}

/// Marks ids of primary storages.
#[derive(Debug)]
pub enum PrimaryStorage {}

const CLUSTERS: Link =
    Link { table: "primary_storage_cluster", here: "primary_storage_uuid", there: "cluster_uuid" };
const HOSTS: Link = Link { table: "primary_storage_host", here: "primary_storage_uuid", there: "host_uuid" };

inventory! {
    /// A primary storage as the API shows it. Capacities in bytes; `available_capacity` is what claims
    /// leave, `available_physical_capacity` what the hosts' file systems have free.
    PrimaryStorageInventory in "primary_storage_view" {
        uuid: Id<PrimaryStorage>,
        zone_uuid: Id<Zone>,
        name: String,
        url: String,
        description: Option<String>,
        total_capacity: i64,
        available_capacity: i64,
        total_physical_capacity: i64,
        available_physical_capacity: i64,
        r#type: String,
        state: String,
        status: String,
        mount_path: String,
        #[serde(skip)]
        shared: bool,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { attached_cluster_uuids: Vec<Id<crate::cluster::Cluster>> } => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("primaryStorage"),
        Relation::linked::<ClusterInventory>("cluster", CLUSTERS)
            .back("primaryStorage")
            .shows("attachedClusterUuids", "uuid"),
        Relation::linked::<HostInventory>("host", HOSTS).back("primaryStorage"),
    ]
}

impl PrimaryStorageInventory {
    /// Where a volume lies that is made on this host: there, or on none.
    pub fn home(&self, host: Id<Host>) -> Option<Id<Host>> {
        (!self.shared).then_some(host)
    }

    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let clusters = store::clusters(tx, page_uuids(page)).await?;
        attach(page, "attachedClusterUuids", clusters)
    }
}

pub(crate) const RESERVED: Setting<i64> = Setting {
    category: "primaryStorage",
    name: "reservedCapacity",
    default: "1073741824",
    help: "space of each primary storage on each host that volumes may not take, bytes",
    read: number::<0, SPACE>,
};

const SETTINGS: &[AnySetting] = &[
    RESERVED.entry(|text| RESERVED.accepts(text)).within(0, SPACE).on(LEVELS),
    nfs::MOUNT_BASE.entry(|text| nfs::MOUNT_BASE.accepts(text)),
];

const LEVELS: &[Level] = &[
    Level { kind: "PrimaryStorage", ladder: store::LADDER },
    Level { kind: "Zone", ladder: crate::zone::LADDER },
];

/// More than any storage has, bytes.
const SPACE: i64 = 1 << 60;

/// A host that does not answer for so long is not there.
const HOST_LIMIT: Duration = Duration::from_secs(60);

pub fn module() -> Module {
    Module::new("primary storage")
        .query::<PrimaryStorageInventory>("QueryPrimaryStorage", "/primary-storage")
        .ask::<api::GetPrimaryStorageTypes>()
        .query::<reads::ImageCacheInventory>("QueryImageCache", "/primary-storage/imagecache")
        .query::<reads::LocalStorageResourceRefInventory>(
            "QueryLocalStorageResourceRef",
            "/primary-storage/local-storage/resource-refs",
        )
        .ask::<reads::GetLocalStorageHostDiskCapacity>()
        .api::<reconnect::ReconnectPrimaryStorage>()
        .api::<reconnect::SyncPrimaryStorageCapacity>()
        .api::<clean::CleanUpImageCacheOnPrimaryStorage>()
        .api::<add::AddLocalPrimaryStorage>()
        .api::<add::AddSharedMountPointPrimaryStorage>()
        .api::<add::AddNfsPrimaryStorage>()
        .api::<api::UpdatePrimaryStorage>()
        .api::<api::ChangePrimaryStorageState>()
        .api::<api::AttachPrimaryStorageToCluster>()
        .api::<api::DetachPrimaryStorageFromCluster>()
        .api::<api::DeletePrimaryStorage>()
        .flow::<attach::Attach>()
        .flow::<cache::Cache>()
        .flow::<clean::Clean>()
        .flow::<clean::Uncache>()
        .flow::<reconnect::Reconnect>()
        .cascade(&cascade::PrimaryStorageKind, cascade::EDGES)
        .cascade(&cascade::AttachmentKind, &[])
        .family(&driver::PRIMARY_STORAGES)
        .point(&JOINED)
        .hook(&host::CONNECTING, "primary storages", &host_hook::Storages)
        .after("l2 networks")
        .settings(SETTINGS)
        .tags(&[nfs::OPTIONS])
        .admin()
}
