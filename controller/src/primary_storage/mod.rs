//! A primary storage: where the volumes of VMs lie.
//!
//! Its capacity is what it has on its hosts less what volumes and cached images claim; a volume's row is
//! its claim. A storage takes part on a host from the moment the host is connected (see [`host_hook`]).

mod api;
mod attach;
mod cache;
mod cascade;
pub mod driver;
pub mod host_hook;
mod local;
mod store;

use std::time::Duration;

use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::{attach, find, page_uuids};
use engine::module::Module;
use engine::setting::{AnySetting, Setting, plain};
use engine::{Id, Result, Stamp, codes, inventory};
use serde_json::{Map, Value};

use crate::cluster::ClusterInventory;
use crate::host::{Host, HostInventory};
use crate::zone::Zone;
use crate::zone::ZoneInventory;
use engine::query::{Link, Relation};

pub use cache::cached;
pub use store::{Candidate, candidates, hosts_of, is_cached, remember_cached};

/// Deletes a file that lies in a storage of the host and belongs to nobody. The host's agent refuses one
/// that is in use.
pub async fn delete_file(cx: &Cx, host: &HostInventory, path: &str) -> Result<()> {
    let storages = store::of_host(&mut cx.read().await?, host.uuid).await?;
    let below = |storage: &&PrimaryStorageInventory| {
        path.strip_prefix(storage.url.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let storage = storages.iter().filter(below).max_by_key(|storage| storage.url.len());
    let storage = storage.ok_or_else(|| {
        let details = format!("\"{path}\" lies in no primary storage that host \"{}\" has", host.name);
        codes::STATE.because(details)
    })?;
    storage.driver()?.delete_volume(cx, host, storage, path).await
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
        create_date: Stamp,
        last_op_date: Stamp,
    } fill => [
        Relation::one::<ZoneInventory>("zone", "zone_uuid").back("primaryStorage"),
        Relation::linked::<ClusterInventory>("cluster", CLUSTERS)
            .back("primaryStorage")
            .shows("attachedClusterUuids", "uuid"),
        Relation::linked::<HostInventory>("host", HOSTS).back("primaryStorage"),
    ]
}

impl PrimaryStorageInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Map<String, Value>]) -> Result<()> {
        let clusters = store::clusters(tx, page_uuids(page)).await?;
        attach(page, "attachedClusterUuids", clusters)
    }
}

pub(crate) const RESERVED: Setting<i64> = Setting {
    category: "primaryStorage",
    name: "reservedCapacity",
    default: "1073741824",
    help: "space of each primary storage on each host that volumes may not take, bytes",
    read: plain,
};

const SETTINGS: &[AnySetting] = &[RESERVED.entry(|text| RESERVED.accepts(text))];

/// A host that does not answer for so long is not there.
const HOST_LIMIT: Duration = Duration::from_secs(60);

pub fn module() -> Module {
    Module::new("primary storage")
        .query::<PrimaryStorageInventory>("QueryPrimaryStorage", "/primary-storage")
        .ask::<api::GetPrimaryStorageTypes>()
        .api::<api::AddLocalPrimaryStorage>()
        .api::<api::UpdatePrimaryStorage>()
        .api::<api::ChangePrimaryStorageState>()
        .api::<api::AttachPrimaryStorageToCluster>()
        .api::<api::DetachPrimaryStorageFromCluster>()
        .api::<api::DeletePrimaryStorage>()
        .flow::<attach::Attach>()
        .flow::<cache::Cache>()
        .cascade(&cascade::PrimaryStorageKind, cascade::EDGES)
        .cascade(&cascade::AttachmentKind, &[])
        .settings(SETTINGS)
        .admin()
}
