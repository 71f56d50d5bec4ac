//! What must be so whenever nothing is at work: the hosts have what the rows say, and the rows add up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use engine::{Engine, args};

use crate::world::{World, strays};
use crate::{gre_agent, witness};

/// Statements that find nothing, with what it would mean if they did.
const NEVER: &[(&str, &str)] = &[
    ("owned by no live flow", "SELECT resource FROM ownership WHERE flow IS NOT NULL"),
    ("an open job", "SELECT uuid FROM job WHERE state <> 'done'"),
    (
        "a vm in a state of passage",
        "SELECT name || ' ' || state FROM vm_instance \
         WHERE state NOT IN ('Running', 'Paused', 'Stopped', 'Destroyed')",
    ),
    ("a host that is being given up for ever", "SELECT host_uuid FROM ha_fencing WHERE state = 'Fencing'"),
    (
        "a vm on a host that was given up",
        "SELECT v.name FROM vm_instance v JOIN host h ON h.uuid = v.host_uuid \
         JOIN ha_fencing f ON f.host_uuid = h.uuid AND f.connection = h.connections AND f.state = 'Fenced'",
    ),
    (
        "a storage that is fenced of a host that is not",
        "SELECT x.host_uuid FROM ha_fenced x WHERE x.host_uuid NOT IN \
         (SELECT host_uuid FROM ha_fencing WHERE fenced_date IS NOT NULL)",
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
    (
        "a volume in passage",
        "SELECT name FROM volume WHERE status NOT IN ('Ready', 'Deleted', 'NotInstantiated')",
    ),
    ("a volume with two files", "SELECT name FROM volume WHERE spare_path IS NOT NULL"),
    ("a vm that moves", "SELECT vm_instance_uuid FROM vm_move"),
    ("a volume with a copy", "SELECT volume_uuid FROM volume_copy"),
    ("a snapshot in passage", "SELECT name FROM volume_snapshot WHERE status <> 'Ready'"),
    (
        "a volume that stands on several snapshots",
        "SELECT volume_uuid FROM volume_snapshot WHERE latest GROUP BY volume_uuid HAVING count(*) > 1",
    ),
    (
        "a current tree without a latest snapshot, or the other way round",
        "SELECT t.uuid FROM volume_snapshot_tree t WHERE t.current <> EXISTS \
         (SELECT 1 FROM volume_snapshot s WHERE s.tree_uuid = t.uuid AND s.latest)",
    ),
    (
        "a group without a snapshot",
        "SELECT name FROM volume_snapshot_group WHERE NOT EXISTS (SELECT 1 FROM volume_snapshot_group_ref r \
         WHERE r.volume_snapshot_group_uuid = volume_snapshot_group.uuid AND NOT r.snapshot_deleted)",
    ),
    ("a root volume of no vm", "SELECT name FROM volume WHERE type = 'Root' AND vm_instance_uuid IS NULL"),
    (
        "a volume that is attached and lies nowhere",
        "SELECT name FROM volume WHERE vm_instance_uuid IS NOT NULL \
         AND (primary_storage_uuid IS NULL OR coalesce(host_uuid, hand_uuid) IS NULL OR status <> 'Ready')",
    ),
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
         + coalesce((SELECT sum(s.size) FROM volume_snapshot s WHERE s.primary_storage_uuid = p.uuid), 0) \
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
        "a vm that waits for another size and is stopped",
        "SELECT name FROM vm_instance WHERE state IN ('Stopped', 'Destroyed') \
         AND (next_cpu_num IS NOT NULL OR next_memory_size IS NOT NULL)",
    ),
    (
        "a resource that nobody owns",
        "SELECT uuid FROM (SELECT uuid FROM vm_instance UNION ALL SELECT uuid FROM volume \
         UNION ALL SELECT uuid FROM volume_snapshot UNION ALL SELECT uuid FROM volume_snapshot_group \
         UNION ALL SELECT uuid FROM vm_nic UNION ALL SELECT uuid FROM vm_cd_rom \
         UNION ALL SELECT uuid FROM image UNION ALL SELECT uuid FROM l3_network) r \
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
        "SELECT i.install_path FROM image_cache i WHERE i.host_uuid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM primary_storage_host p \
         WHERE p.host_uuid = i.host_uuid AND p.primary_storage_uuid = i.primary_storage_uuid)",
    ),
];

/// What the bridge of the network `n` is called.
macro_rules! bridge {
    () => {
        "'br_' || CASE n.type \
         WHEN 'L2VlanNetwork' THEN n.physical_interface || '_' || n.virtual_network_id \
         WHEN 'VxlanNetwork' THEN 'vx_' || n.virtual_network_id ELSE n.physical_interface END"
    };
}

const BRIDGES: &str = concat!(
    "SELECT h.management_ip, ",
    bridge!(),
    " FROM host h JOIN l2_network_cluster c ON c.cluster_uuid = h.cluster_uuid \
     JOIN l2_network n ON n.uuid = c.l2_network_uuid WHERE n.type <> 'VxlanNetworkPool'"
);
/// Every tunnel knows the ends of all other hosts that have its pool.
const PEERS: &str = "SELECT h.management_ip, n.uuid || ' ' || e.vtep_ip FROM host h \
     JOIN l2_network_cluster c ON c.cluster_uuid = h.cluster_uuid \
     JOIN vxlan_network n ON n.uuid = c.l2_network_uuid \
     JOIN vtep e ON e.pool_uuid = n.pool_uuid AND e.host_uuid <> h.uuid";
const DOMAINS: &str = "SELECT h.management_ip, v.uuid || ' ' || v.state FROM vm_instance v \
     JOIN host h ON h.uuid = v.host_uuid";
/// What lies on no host lies on the share.
const VOLUMES: &str = "SELECT coalesce(h.management_ip, 'share'), v.install_path FROM volume v \
     LEFT JOIN host h ON h.uuid = v.host_uuid WHERE v.install_path IS NOT NULL \
     UNION ALL SELECT coalesce(h.management_ip, 'share'), s.primary_storage_install_path FROM volume_snapshot s \
     LEFT JOIN host h ON h.uuid = s.host_uuid";
const LAYERS: &str = "SELECT coalesce(h.management_ip, 'share'), \
     v.install_path || ' ' || s.primary_storage_install_path FROM volume v \
     LEFT JOIN host h ON h.uuid = v.host_uuid JOIN volume_snapshot s ON s.volume_uuid = v.uuid AND s.latest \
     UNION ALL SELECT coalesce(h.management_ip, 'share'), s.primary_storage_install_path || ' ' || p.primary_storage_install_path \
     FROM volume_snapshot s JOIN volume_snapshot p ON p.uuid = s.parent_uuid \
     LEFT JOIN host h ON h.uuid = s.host_uuid";
const OPEN: &str = "SELECT h.management_ip, v.vm_instance_uuid || ' ' || v.uuid || ' ' || v.install_path \
     FROM volume v JOIN vm_instance m ON m.uuid = v.vm_instance_uuid JOIN host h ON h.uuid = m.host_uuid";
const DISKS: &str = "SELECT h.management_ip, v.vm_instance_uuid || ' ' || v.uuid FROM volume v \
     JOIN vm_instance m ON m.uuid = v.vm_instance_uuid JOIN host h ON h.uuid = m.host_uuid WHERE v.type = 'Data'";
const NICS: &str = "SELECT h.management_ip, n.vm_instance_uuid || ' ' || n.uuid FROM vm_nic n \
     JOIN vm_instance m ON m.uuid = n.vm_instance_uuid JOIN host h ON h.uuid = m.host_uuid";
const CD_ROMS: &str = "SELECT h.management_ip, \
     c.vm_instance_uuid || ' ' || c.device_id || ' ' || c.iso_install_path FROM vm_cd_rom c \
     JOIN vm_instance m ON m.uuid = c.vm_instance_uuid JOIN host h ON h.uuid = m.host_uuid \
     WHERE c.iso_uuid IS NOT NULL";
const SIZES: &str = "SELECT h.management_ip, v.uuid || ' ' || v.cpu_num || ' ' || v.memory_size \
     FROM vm_instance v JOIN host h ON h.uuid = v.host_uuid";
const DOWN: &str = "SELECT h.management_ip, n.uuid FROM vm_nic n \
     JOIN vm_instance v ON v.uuid = n.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid WHERE n.state = 'disable'";
const PLUGS: &str = concat!(
    "SELECT h.management_ip, c.uuid || ' ' || ",
    bridge!(),
    " FROM vm_nic c JOIN vm_instance v ON v.uuid = c.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     JOIN l3_network l ON l.uuid = c.l3_network_uuid JOIN l2_network n ON n.uuid = l.l2_network_uuid"
);
/// But those that are as if nothing had been said.
const SHARES: &str = "SELECT h.management_ip, v.uuid || ' ' || p.cpu_shares FROM vm_instance v \
     JOIN host h ON h.uuid = v.host_uuid JOIN system_tag t ON t.resource_uuid = v.uuid \
     JOIN vm_priority_config p ON t.tag = 'vmPriority::' || p.level WHERE p.cpu_shares <> 1024";
const SEEDS: &str = "SELECT h.management_ip, v.uuid FROM vm_instance v JOIN host h ON h.uuid = v.host_uuid \
     WHERE v.uuid IN (SELECT vm_instance_uuid FROM vm_user_data UNION SELECT vm_instance_uuid FROM vm_ssh_key_pair)";
const CACHE: &str = "SELECT coalesce(h.management_ip, 'share'), i.install_path FROM image_cache i \
     LEFT JOIN host h ON h.uuid = i.host_uuid";
/// By which a host shows what it has mounted.
const TRACES: &str = "SELECT 'share', p.url || '/hosts/' || h.host_uuid FROM primary_storage p \
     JOIN primary_storage_host h ON h.primary_storage_uuid = p.uuid WHERE p.shared";
/// A host is entered before it gets the namespace, so that nothing is there unknown; without guests it may be
/// without one, when that has failed.
const KNOWN_NAMESPACES: &str = concat!(
    "SELECT h.management_ip, ",
    bridge!(),
    " || '_' || l.uuid FROM l3_network_host s JOIN host h ON h.uuid = s.host_uuid JOIN l3_network l ON l.uuid = s.l3_network_uuid \
     JOIN l2_network n ON n.uuid = l.l2_network_uuid"
);
const NAMESPACES: &str = concat!(
    "SELECT h.management_ip, ",
    bridge!(),
    " || '_' || l.uuid FROM vm_nic c JOIN vm_instance v ON v.uuid = c.vm_instance_uuid JOIN host h ON h.uuid = v.host_uuid \
     JOIN l3_network l ON l.uuid = c.l3_network_uuid JOIN l2_network n ON n.uuid = l.l2_network_uuid \
     JOIN l3_network_service s ON s.l3_network_uuid = l.uuid WHERE s.network_service_type = 'DHCP'"
);
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

const FENCERS: &str = "SELECT h.management_ip, f.primary_storage_uuid FROM ha_fencer f \
     JOIN host h ON h.uuid = f.host_uuid";

type Had = BTreeSet<String>;

/// What the plugin makes.
const TUNNELS: &str = "SELECT h.management_ip, v.uuid FROM vm_instance v JOIN host h ON h.uuid = v.host_uuid";

/// What the rows say that hosts have, in the order of [`had`].
const SAID: [(&str, &str); 23] = [
    ("bridges", BRIDGES),
    ("domains", DOMAINS),
    ("volumes", VOLUMES),
    ("layers", LAYERS),
    ("open files", OPEN),
    ("disks", DISKS),
    ("nics", NICS),
    ("discs", CD_ROMS),
    ("sizes", SIZES),
    ("nics that are down", DOWN),
    ("plugged nics", PLUGS),
    ("shares", SHARES),
    ("seeds", SEEDS),
    ("cached images", CACHE),
    ("namespaces", NAMESPACES),
    ("leases", LEASES),
    ("words to guests", TOLD),
    ("images", IMAGES),
    ("stores", STORES),
    ("tunnels", TUNNELS),
    ("traces", TRACES),
    ("fencers", FENCERS),
    ("peers", PEERS),
];

/// What may be there beside it. A host that was nearly connected may have heard of its fencers; it hears of them
/// again when it is connected.
const SPARE: [(&str, &str); 2] = [("namespaces", KNOWN_NAMESPACES), ("fencers", NEARLY_FENCED)];
const NEARLY_FENCED: &str = "SELECT h.management_ip, a.primary_storage_uuid FROM host h \
     JOIN primary_storage_cluster a ON a.cluster_uuid = h.cluster_uuid WHERE h.status <> 'Connected'";
const MAY_BE: &str = "may be ";

/// All statements in one: asking is what costs.
static ALL: LazyLock<String> = LazyLock::new(|| {
    let never = NEVER.iter().map(|(meaning, sql)| {
        format!("SELECT '{}', '', found.* FROM ({sql}) found", meaning.replace('\'', "''"))
    });
    let said = SAID.iter().map(|(what, sql)| format!("SELECT '{what}', found.* FROM ({sql}) found"));
    let spare =
        SPARE.iter().map(|(what, sql)| format!("SELECT '{MAY_BE}{what}', found.* FROM ({sql}) found"));
    never.chain(said).chain(spare).collect::<Vec<_>>().join(" UNION ALL ")
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
    let share = world.share;
    // What a host without power has lost the rows are told when it is given up.
    let hosts = world.hosts.iter().filter(|(_, host)| !host.world.is_dark());
    let there = hosts.map(|(address, host)| (address.to_string(), share.rest_of(host.world.state())));
    for (address, state) in there.chain([("share".to_owned(), share.state())]) {
        let there = had(&state);
        for ((what, _), there) in SAID.iter().zip(there) {
            let mut of = |what: String| said.remove(&(what, address.clone())).unwrap_or_default();
            let (said, spare) = (of((*what).to_owned()), of(format!("{MAY_BE}{what}")));
            for odd in there.iter().filter(|one| !said.contains(*one) && !spare.contains(*one)) {
                complaints.push(format!("host {address} has among its {what} {odd}, the rows have not"));
            }
            for odd in said.difference(&there) {
                complaints
                    .push(format!("the rows have among the {what} of host {address} {odd}, it has not"));
            }
        }
    }
    complaints.extend(witness::odd(&world.site.zone));
    complaints
}

fn had(state: &fleet::State) -> [Had; 23] {
    let pairs =
        |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| format!("{key} {value}")).collect();
    [
        state.bridges.keys().cloned().collect(),
        pairs(&state.domains),
        state.volumes.difference(&strays().collect()).cloned().collect(),
        pairs(&state.layers).into_iter().filter(|layer| !layer.contains("/imagecache/")).collect(),
        pairs(&state.open),
        state.disks.clone(),
        state.nics.clone(),
        state.cd_roms.clone(),
        state.sizes.iter().map(|(vm, [cpus, memory, ..])| format!("{vm} {cpus} {memory}")).collect(),
        state.down.clone(),
        pairs(&state.plugs),
        state.shares.iter().filter(|(_, n)| **n != 1024).map(|(vm, n)| format!("{vm} {n}")).collect(),
        state.seeds.keys().cloned().collect(),
        state.cache.clone(),
        state.namespaces.clone(),
        state.served.clone(),
        state.told.clone(),
        state.images.clone(),
        state.stores.clone(),
        gre_agent::tunnels(state).map(str::to_owned).collect(),
        state.folders.clone(),
        state.fencers.clone(),
        state
            .tunnels
            .iter()
            .flat_map(|(l2, tunnel)| tunnel.peers.iter().map(move |peer| format!("{l2} {peer}")))
            .collect(),
    ]
}

/// What the engine keeps for itself, and what may stay behind when a call has failed: an image that is
/// cached, a network that is served, and the address of its server; the fencer of a host that was nearly
/// connected.
const APART: &[&str] = &[
    "_sqlx_migrations",
    "account",
    "certificate_authority",
    "event",
    "finding",
    "flow",
    "ha_fencer",
    "ha_fencing",
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
    ("", "status_before"),
    ("", "last_host_uuid"),
    ("", "last_vm_instance_uuid"),
    ("volume", "hand_uuid"),
    ("host", "status"),
    ("host", "connections"),
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
