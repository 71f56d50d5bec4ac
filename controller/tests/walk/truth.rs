//! What must be so whenever nothing is at work: the hosts have what the rows say, and the rows add up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use engine::{Engine, args};

use crate::world::{World, strays};

/// Statements that find nothing, with what it would mean if they did.
const NEVER: &[(&str, &str)] = &[
    ("owned by no live flow", "SELECT resource FROM ownership WHERE flow IS NOT NULL"),
    ("an open job", "SELECT uuid FROM job WHERE state <> 'done'"),
    (
        "a vm in a state of passage",
        "SELECT name || ' ' || state FROM vm_instance \
         WHERE state NOT IN ('Running', 'Paused', 'Stopped', 'Destroyed')",
    ),
    ("a host that is connecting for ever", "SELECT name FROM host WHERE status = 'Connecting'"),
    ("a backup storage in passage", "SELECT name FROM backup_storage WHERE leaving OR status = 'Connecting'"),
    ("a primary storage in passage", "SELECT name FROM primary_storage WHERE state = 'Deleting'"),
    ("an image in passage", "SELECT name FROM image WHERE status NOT IN ('Ready', 'Deleted')"),
    (
        "a copy in passage",
        "SELECT uuid FROM image_backup_storage WHERE leaving OR status NOT IN ('Ready', 'Deleted')",
    ),
    (
        "an image without a copy",
        "SELECT name FROM image WHERE uuid NOT IN (SELECT image_uuid FROM image_backup_storage)",
    ),
    ("an l2 network in passage", "SELECT name FROM l2_network WHERE deleting"),
    ("an attachment in passage", "SELECT l2_network_uuid FROM l2_network_cluster WHERE state <> 'Attached'"),
    ("an l3 network in passage", "SELECT name FROM l3_network WHERE deleting"),
    ("an ip range in passage", "SELECT name FROM ip_range WHERE deleting"),
    ("a volume in passage", "SELECT name FROM volume WHERE status <> 'Ready'"),
    ("a volume of no vm", "SELECT name FROM volume WHERE vm_instance_uuid IS NULL"),
    (
        "a vm without its volume",
        "SELECT name FROM vm_instance WHERE root_volume_uuid NOT IN (SELECT uuid FROM volume)",
    ),
    (
        "a claim of a vm that is not there",
        "SELECT c.vm_instance_uuid FROM host_claim c JOIN vm_instance v ON v.uuid = c.vm_instance_uuid \
         WHERE v.host_uuid IS NULL OR v.host_uuid <> c.host_uuid OR v.cpu_num <> c.cpu \
         OR v.memory_size <> c.memory",
    ),
    (
        "a vm on a host of which it claims nothing",
        "SELECT name FROM vm_instance WHERE host_uuid IS NOT NULL \
         AND uuid NOT IN (SELECT vm_instance_uuid FROM host_claim)",
    ),
    (
        "a stopped vm on a host",
        "SELECT name FROM vm_instance WHERE (host_uuid IS NOT NULL) <> (state IN ('Running', 'Paused'))",
    ),
    (
        "a capacity that does not add up",
        "SELECT name FROM host_view WHERE available_cpu_capacity <> total_cpu_capacity - coalesce( \
         (SELECT sum(cpu_num) FROM vm_instance v WHERE v.host_uuid = host_view.uuid), 0) \
         OR available_memory_capacity <> total_memory_capacity - coalesce( \
         (SELECT sum(memory_size) FROM vm_instance v WHERE v.host_uuid = host_view.uuid), 0)",
    ),
    (
        "a storage's capacity that does not add up",
        "SELECT p.name FROM primary_storage p WHERE coalesce((SELECT sum(u.size) FROM primary_storage_usage u \
         WHERE u.primary_storage_uuid = p.uuid), 0) \
         <> coalesce((SELECT sum(v.size) FROM volume v WHERE v.primary_storage_uuid = p.uuid), 0) \
         + coalesce((SELECT sum(i.size) FROM image_cache i WHERE i.primary_storage_uuid = p.uuid), 0)",
    ),
    (
        "an address of no nic",
        "SELECT ip FROM used_ip WHERE used_for <> 'DHCP' \
         AND NOT EXISTS (SELECT 1 FROM vm_nic n WHERE n.uuid = used_ip.vm_nic_uuid AND n.ip = used_ip.ip)",
    ),
    (
        "a nic without its address",
        "SELECT mac FROM vm_nic WHERE (SELECT count(*) FROM used_ip u WHERE u.vm_nic_uuid = vm_nic.uuid) <> 1",
    ),
    ("a nic of no vm", "SELECT mac FROM vm_nic WHERE vm_instance_uuid NOT IN (SELECT uuid FROM vm_instance)"),
    (
        "a server's address without a range",
        "SELECT ip FROM used_ip WHERE used_for = 'DHCP' AND ip_range_uuid NOT IN (SELECT uuid FROM ip_range)",
    ),
    (
        "a resource that nobody owns",
        "SELECT uuid FROM (SELECT uuid FROM vm_instance UNION ALL SELECT uuid FROM volume \
         UNION ALL SELECT uuid FROM vm_nic UNION ALL SELECT uuid FROM image UNION ALL SELECT uuid FROM l3_network) r \
         WHERE uuid NOT IN (SELECT resource_uuid FROM account_resource_ref)",
    ),
    (
        "a storage of a host to whose cluster it is not attached",
        "SELECT p.host_uuid FROM primary_storage_host p JOIN host h ON h.uuid = p.host_uuid \
         WHERE NOT EXISTS (SELECT 1 FROM primary_storage_cluster c WHERE c.cluster_uuid = h.cluster_uuid \
         AND c.primary_storage_uuid = p.primary_storage_uuid)",
    ),
    (
        "a connected host without a storage of its cluster",
        "SELECT h.name FROM host h JOIN primary_storage_cluster c ON c.cluster_uuid = h.cluster_uuid \
         WHERE h.status = 'Connected' AND NOT EXISTS (SELECT 1 FROM primary_storage_host p \
         WHERE p.host_uuid = h.uuid AND p.primary_storage_uuid = c.primary_storage_uuid)",
    ),
    (
        "a cached image on a host without the storage",
        "SELECT i.install_path FROM image_cache i WHERE NOT EXISTS (SELECT 1 FROM primary_storage_host p \
         WHERE p.host_uuid = i.host_uuid AND p.primary_storage_uuid = i.primary_storage_uuid)",
    ),
];

const BRIDGES: &str = "SELECT h.management_ip, 'br_' || n.physical_interface FROM host h \
     JOIN l2_network_cluster c ON c.cluster_uuid = h.cluster_uuid JOIN l2_network n ON n.uuid = c.l2_network_uuid";
const DOMAINS: &str = "SELECT h.management_ip, v.uuid || ' ' || v.state FROM vm_instance v \
     JOIN host h ON h.uuid = v.host_uuid";
const VOLUMES: &str =
    "SELECT h.management_ip, v.install_path FROM volume v JOIN host h ON h.uuid = v.host_uuid";
const CACHE: &str =
    "SELECT h.management_ip, i.install_path FROM image_cache i JOIN host h ON h.uuid = i.host_uuid";
/// A host is entered before it gets the namespace, so that nothing is there unknown; without guests it may be
/// without one, when that has failed.
const KNOWN_NAMESPACES: &str = "SELECT h.management_ip, 'br_' || n.physical_interface || '_' || l.uuid \
     FROM l3_network_host s JOIN host h ON h.uuid = s.host_uuid JOIN l3_network l ON l.uuid = s.l3_network_uuid \
     JOIN l2_network n ON n.uuid = l.l2_network_uuid";
const NAMESPACES: &str = "SELECT h.management_ip, 'br_' || n.physical_interface || '_' || l.uuid \
     FROM vm_nic c JOIN vm_instance v ON v.uuid = c.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     JOIN l3_network l ON l.uuid = c.l3_network_uuid JOIN l2_network n ON n.uuid = l.l2_network_uuid \
     JOIN l3_network_service s ON s.l3_network_uuid = l.uuid WHERE s.network_service_type = 'DHCP'";
const LEASES: &str = "SELECT h.management_ip, n.mac || ' ' || n.l3_network_uuid FROM vm_nic n \
     JOIN vm_instance v ON v.uuid = n.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     WHERE EXISTS (SELECT 1 FROM l3_network_service s WHERE s.l3_network_uuid = n.l3_network_uuid \
     AND s.network_service_type = 'DHCP')";
const TOLD: &str = "SELECT h.management_ip, n.mac || ' domain ' || l.dns_domain FROM vm_nic n \
     JOIN vm_instance v ON v.uuid = n.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     JOIN l3_network l ON l.uuid = n.l3_network_uuid JOIN l3_network_service s ON s.l3_network_uuid = l.uuid \
     WHERE s.network_service_type = 'DHCP' AND l.dns_domain IS NOT NULL \
     UNION SELECT h.management_ip, n.mac || ' dns ' || d.dns FROM vm_nic n \
     JOIN vm_instance v ON v.uuid = n.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     JOIN l3_network_service s ON s.l3_network_uuid = n.l3_network_uuid \
     JOIN l3_network_dns d ON d.l3_network_uuid = n.l3_network_uuid \
     WHERE s.network_service_type = 'DNS'";
const IMAGES: &str = "SELECT b.hostname, i.image_uuid FROM image_backup_storage i \
     JOIN backup_storage b ON b.uuid = i.backup_storage_uuid";
const STORES: &str = "SELECT hostname, uuid FROM backup_storage";

type Had = BTreeSet<String>;

/// What the rows say that hosts have, in the order of [`had`].
const SAID: [(&str, &str); 9] = [
    ("bridges", BRIDGES),
    ("domains", DOMAINS),
    ("volumes", VOLUMES),
    ("cached images", CACHE),
    ("namespaces", NAMESPACES),
    ("leases", LEASES),
    ("words to guests", TOLD),
    ("images", IMAGES),
    ("stores", STORES),
];

/// What may be there.
const SPARE: &str = "namespaces that may be there";

/// All statements in one: asking is what costs.
static ALL: LazyLock<String> = LazyLock::new(|| {
    let never = NEVER.iter().map(|(meaning, sql)| {
        format!("SELECT '{}', '', found.* FROM ({sql}) found", meaning.replace('\'', "''"))
    });
    let said = SAID
        .iter()
        .chain(&[(SPARE, KNOWN_NAMESPACES)])
        .map(|(what, sql)| format!("SELECT '{what}', found.* FROM ({sql}) found"));
    never.chain(said).collect::<Vec<_>>().join(" UNION ALL ")
});

/// Everything that is not so.
pub async fn complaints(world: &World) -> Vec<String> {
    let (mut complaints, mut said) = (Vec::new(), BTreeMap::<(String, String), Had>::new());
    for (meaning, host, what) in world.all::<(String, String, String)>(&ALL, args![]).await {
        match host.is_empty() {
            true => complaints.push(format!("{meaning}: {what}")),
            false => drop(said.entry((meaning, host)).or_default().insert(what)),
        }
    }
    for (address, host) in &world.hosts {
        let there = had(&host.world.state());
        let spare = said.remove(&(SPARE.to_owned(), address.to_string())).unwrap_or_default();
        for ((what, _), there) in SAID.iter().zip(there) {
            let said = said.remove(&((*what).to_owned(), address.to_string())).unwrap_or_default();
            let spare = if *what == "namespaces" { &spare } else { &said };
            for odd in there.difference(spare) {
                complaints.push(format!("host {address} has among its {what} {odd}, the rows have not"));
            }
            for odd in said.difference(&there) {
                complaints
                    .push(format!("the rows have among the {what} of host {address} {odd}, it has not"));
            }
        }
    }
    complaints
}

fn had(state: &fleet::State) -> [Had; 9] {
    let pairs =
        |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| format!("{key} {value}")).collect();
    [
        state.bridges.keys().cloned().collect(),
        pairs(&state.domains),
        state.volumes.difference(&strays().collect()).cloned().collect(),
        state.cache.clone(),
        state.namespaces.clone(),
        pairs(&state.leases),
        state.told.clone(),
        state.images.clone(),
        state.stores.clone(),
    ]
}

/// What the engine keeps for itself, and what may stay behind when a call has failed: an image that is
/// cached, a network that is served, and the address of its server.
const APART: &[&str] = &[
    "_sqlx_migrations",
    "account",
    "certificate_authority",
    "event",
    "finding",
    "flow",
    "host_usage",
    "image_cache",
    "job",
    "l3_network_host",
    "node",
    "ownership",
    "primary_storage_usage",
    "secret",
    "sequence",
    "session",
    "setting",
];
/// Dates, memories of what was before, and whether a storage or host was last seen to answer.
const PASSING: &[(&str, &str)] = &[
    ("", "create_date"),
    ("", "last_op_date"),
    ("", "state_before"),
    ("", "last_host_uuid"),
    ("host", "status"),
    ("backup_storage", "status"),
];
/// Tables with their columns, and how a row is made one text.
const SQLITE: [&str; 2] = [
    "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c \
     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid",
    "json_object",
];
const POSTGRES: [&str; 2] = [
    "SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c \
     JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
     WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position",
    "json_build_object",
];

/// How all rows of the resources are read.
pub struct Rows(&'static str);

/// The rows, by table.
#[derive(PartialEq, Eq)]
pub struct Read(BTreeSet<(String, String)>);

impl Rows {
    pub async fn of(engine: &Engine) -> Rows {
        let [columns, object] = if engine.db().is_shared() { POSTGRES } else { SQLITE };
        let mut tx = engine.db().read().await.unwrap();
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for (table, column) in tx.all::<(String, String)>(columns, args![]).await.unwrap() {
            let passing = |(at, name): &(&str, &str)| (at.is_empty() || *at == table) && *name == column;
            if !APART.contains(&&*table) && !PASSING.iter().any(passing) {
                tables.entry(table).or_default().push(format!("'{column}', {column}"));
            }
        }
        let statements = tables.into_iter().map(|(table, pairs)| {
            let lasting = if table == "used_ip" { " WHERE used_for <> 'DHCP'" } else { "" };
            format!("SELECT '{table}', CAST({object}({}) AS TEXT) FROM {table}{lasting}", pairs.join(", "))
        });
        Rows(statements.collect::<Vec<_>>().join(" UNION ALL ").leak())
    }

    pub async fn read(&self, engine: &Engine) -> Read {
        let mut tx = engine.db().read().await.unwrap();
        Read(tx.all(self.0, args![]).await.unwrap().into_iter().collect())
    }
}

impl Read {
    /// What a call has changed.
    pub fn differences(&self, after: &Read) -> Vec<String> {
        let gone = self.0.difference(&after.0).map(|(table, row)| format!("{table} has no longer {row}"));
        let left = after.0.difference(&self.0).map(|(table, row)| format!("{table} still has {row}"));
        gone.chain(left).collect()
    }
}
