//! Rows in memory, what may be asked of them, and the plainest way to answer it.

use engine::query::Condition;
use engine::query::condition::{Sign, Test};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::naive::cell_holds;

/// Rows of this name are the controller's alone.
pub const HIDDEN: &str = "hidden";

const NAMES: [&str; 9] = ["web", "WEB", "web-1", "w_b", "50%", r"a\b", "it's", "Ünï", HIDDEN];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
}

/// How a column is filled.
enum Fill {
    Name,
    MaybeName,
    OneOf(&'static [&'static str]),
    Few,
    Unique,
    Truth,
    Fixed(&'static str),
    Of(&'static str),
    MaybeOf(&'static str),
}

struct Table {
    kind: &'static str,
    name: &'static str,
    rows: usize,
    columns: &'static [(&'static str, Fill)],
}

/// A relation as a client knows it: from, name, to, our column, their column.
type Way = (&'static str, &'static str, &'static str, &'static str, &'static str);

const STATE: Fill = Fill::OneOf(&["Enabled", "Disabled"]);

const TABLES: &[Table] = &[
    Table {
        kind: "Zone",
        name: "zone",
        rows: 5,
        columns: &[
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("state", STATE),
            ("type", Fill::Fixed("x")),
            ("is_default", Fill::Truth),
        ],
    },
    Table {
        kind: "Cluster",
        name: "cluster",
        rows: 9,
        columns: &[
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("state", STATE),
            ("hypervisor_type", Fill::OneOf(&["KVM", "kvm"])),
            ("zone_uuid", Fill::Of("Zone")),
            ("type", Fill::Fixed("x")),
            ("architecture", Fill::MaybeName),
        ],
    },
    Table {
        kind: "Host",
        name: "host",
        rows: 14,
        columns: &[
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("zone_uuid", Fill::Of("Zone")),
            ("cluster_uuid", Fill::Of("Cluster")),
            ("management_ip", Fill::Unique),
            ("hypervisor_type", Fill::Fixed("KVM")),
            ("state", STATE),
            ("status", Fill::OneOf(&["Connected", "Disconnected"])),
            ("username", Fill::Fixed("root")),
            ("ssh_port", Fill::Few),
            ("cpu_num", Fill::Few),
            ("cpu_sockets", Fill::Few),
            ("cpu_speed", Fill::Few),
            ("total_memory", Fill::Few),
        ],
    },
    Table {
        kind: "PrimaryStorage",
        name: "primary_storage",
        rows: 6,
        columns: &[
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("zone_uuid", Fill::Of("Zone")),
            ("url", Fill::Name),
            ("mount_path", Fill::Name),
            ("type", Fill::Fixed("LocalStorage")),
            ("state", STATE),
            ("status", Fill::Fixed("Connected")),
        ],
    },
    Table {
        kind: "L2Network",
        name: "l2_network",
        rows: 5,
        columns: &[
            ("name", Fill::Name),
            ("zone_uuid", Fill::Of("Zone")),
            ("physical_interface", Fill::Name),
            ("type", Fill::Fixed("L2NoVlanNetwork")),
            ("v_switch_type", Fill::Fixed("LinuxBridge")),
            ("virtual_network_id", Fill::Few),
            ("isolated", Fill::Truth),
            ("pvlan", Fill::MaybeName),
        ],
    },
    Table {
        kind: "L3Network",
        name: "l3_network",
        rows: 8,
        columns: &[
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("type", Fill::Fixed("L3BasicNetwork")),
            ("zone_uuid", Fill::Of("Zone")),
            ("l2_network_uuid", Fill::Of("L2Network")),
            ("state", STATE),
            ("system", Fill::Truth),
            ("category", Fill::OneOf(&["Private", "Public"])),
            ("ip_version", Fill::Few),
            ("enable_ipam", Fill::Truth),
            ("isolated", Fill::Truth),
        ],
    },
    Table {
        kind: "VmInstance",
        name: "vm_instance",
        rows: 40,
        columns: &[
            ("internal_id", Fill::Unique),
            ("name", Fill::Name),
            ("description", Fill::MaybeName),
            ("zone_uuid", Fill::MaybeOf("Zone")),
            ("cluster_uuid", Fill::MaybeOf("Cluster")),
            ("host_uuid", Fill::MaybeOf("Host")),
            ("default_l3_network_uuid", Fill::MaybeOf("L3Network")),
            ("platform", Fill::Fixed("Linux")),
            ("architecture", Fill::MaybeName),
            ("type", Fill::Fixed("UserVm")),
            ("hypervisor_type", Fill::Fixed("KVM")),
            ("cpu_num", Fill::Few),
            ("cpu_speed", Fill::Few),
            ("memory_size", Fill::Few),
            ("reserved_memory_size", Fill::Few),
            ("allocator_strategy", Fill::Name),
            ("virtio", Fill::Truth),
            ("state", Fill::OneOf(&["Running", "Stopped", "stopped"])),
        ],
    },
    Table {
        kind: "VmNic",
        name: "vm_nic",
        rows: 60,
        columns: &[
            ("vm_instance_uuid", Fill::Of("VmInstance")),
            ("l3_network_uuid", Fill::Of("L3Network")),
            ("ip", Fill::MaybeName),
            ("mac", Fill::Unique),
            ("hypervisor_type", Fill::Fixed("KVM")),
            ("ip_version", Fill::Few),
            ("driver_type", Fill::Name),
            ("internal_name", Fill::Name),
            ("device_id", Fill::Few),
            ("type", Fill::Fixed("VNIC")),
            ("state", Fill::Fixed("enable")),
        ],
    },
];

const WAYS: &[Way] = &[
    ("Cluster", "zone", "Zone", "zone_uuid", "uuid"),
    ("Zone", "cluster", "Cluster", "uuid", "zone_uuid"),
    ("Host", "zone", "Zone", "zone_uuid", "uuid"),
    ("Zone", "host", "Host", "uuid", "zone_uuid"),
    ("Host", "cluster", "Cluster", "cluster_uuid", "uuid"),
    ("Cluster", "host", "Host", "uuid", "cluster_uuid"),
    ("PrimaryStorage", "zone", "Zone", "zone_uuid", "uuid"),
    ("Zone", "primaryStorage", "PrimaryStorage", "uuid", "zone_uuid"),
    ("L2Network", "zone", "Zone", "zone_uuid", "uuid"),
    ("L2Network", "l3Network", "L3Network", "uuid", "l2_network_uuid"),
    ("L3Network", "l2Network", "L2Network", "l2_network_uuid", "uuid"),
    ("L3Network", "vmNic", "VmNic", "uuid", "l3_network_uuid"),
    ("VmInstance", "zone", "Zone", "zone_uuid", "uuid"),
    ("VmInstance", "cluster", "Cluster", "cluster_uuid", "uuid"),
    ("VmInstance", "host", "Host", "host_uuid", "uuid"),
    ("VmInstance", "defaultL3Network", "L3Network", "default_l3_network_uuid", "uuid"),
    ("VmInstance", "vmNics", "VmNic", "uuid", "vm_instance_uuid"),
    ("Zone", "vmInstance", "VmInstance", "uuid", "zone_uuid"),
    ("Host", "vmInstance", "VmInstance", "uuid", "host_uuid"),
    ("VmNic", "vmInstance", "VmInstance", "vm_instance_uuid", "uuid"),
    ("VmNic", "l3Network", "L3Network", "l3_network_uuid", "uuid"),
];

/// Over the table of attachments instead.
const ATTACHED: &[(&str, &str, &str)] =
    &[("Cluster", "primaryStorage", "PrimaryStorage"), ("PrimaryStorage", "cluster", "Cluster")];

type Row = Vec<(&'static str, Cell)>;

pub struct World {
    rows: Vec<(&'static str, Vec<Row>)>,
    /// Primary storage and cluster.
    attached: Vec<(String, String)>,
    /// Resource and text.
    tags: Vec<(String, &'static str, String)>,
}

#[derive(Clone, Debug)]
pub struct Question {
    pub kind: &'static str,
    pub condition: Condition,
    pub order: Option<(String, bool)>,
    pub client: bool,
}

fn pick<T: Clone>(dice: &mut StdRng, of: &[T]) -> T {
    of[dice.random_range(0..of.len())].clone()
}

fn hex(dice: &mut StdRng) -> String {
    format!("{:016x}{:016x}", dice.next_u64(), dice.next_u64())
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

pub fn camel(column: &str) -> String {
    let mut parts = column.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

impl World {
    pub fn random(dice: &mut StdRng) -> World {
        let mut world = World { rows: Vec::new(), attached: Vec::new(), tags: Vec::new() };
        for table in TABLES {
            let rows = (0..table.rows).map(|n| world.row(dice, table, n)).collect();
            world.rows.push((table.kind, rows));
        }
        for storage in world.uuids("PrimaryStorage") {
            for cluster in world.uuids("Cluster") {
                if dice.random_bool(0.3) {
                    world.attached.push((storage.clone(), cluster));
                }
            }
        }
        for kind in ["Zone", "VmInstance", "VmNic"] {
            for uuid in world.uuids(kind) {
                for tag in NAMES.iter().filter(|_| dice.random_bool(0.15)) {
                    world.tags.push((uuid.clone(), kind, (*tag).to_owned()));
                }
            }
        }
        world
    }

    fn row(&self, dice: &mut StdRng, table: &Table, number: usize) -> Row {
        let mut row = vec![("uuid", Cell::Text(hex(dice)))];
        for (column, fill) in table.columns {
            let maybe = dice.random_bool(0.6);
            let cell = match fill {
                Fill::Name => text(pick(dice, &NAMES)),
                Fill::MaybeName if maybe => text(pick(dice, &NAMES)),
                Fill::OneOf(words) => text(pick(dice, words)),
                Fill::Few => Cell::Int(dice.random_range(1..5)),
                Fill::Unique if *column == "internal_id" => Cell::Int(number.try_into().unwrap()),
                Fill::Unique => text(&format!("u{number}")),
                Fill::Truth => Cell::Bool(dice.random_bool(0.5)),
                Fill::Fixed(word) => text(word),
                Fill::Of(kind) => Cell::Text(pick(dice, &self.uuids(kind))),
                Fill::MaybeOf(kind) if maybe => Cell::Text(pick(dice, &self.uuids(kind))),
                Fill::MaybeName | Fill::MaybeOf(_) => Cell::Null,
            };
            row.push((column, cell));
        }
        row.push(("create_date", Cell::Int(1_795_260_524_000_000 + dice.random_range(0..4) * 1_000_000)));
        row.push(("last_op_date", Cell::Int(1)));
        row
    }

    fn of(&self, kind: &str) -> &[Row] {
        &self.rows.iter().find(|(known, _)| *known == kind).unwrap().1
    }

    fn uuids(&self, kind: &str) -> Vec<String> {
        self.of(kind).iter().map(uuid).collect()
    }

    /// The statements that enter all of it, the same for both databases.
    pub fn sql(&self) -> String {
        let mut lines = Vec::new();
        for table in TABLES {
            for row in self.of(table.kind) {
                let columns: Vec<_> = row.iter().map(|(column, _)| *column).collect();
                let cells: Vec<_> = row.iter().map(|(_, cell)| literal(cell)).collect();
                lines.push(format!(
                    "INSERT INTO {} ({}) VALUES ({});",
                    table.name,
                    columns.join(", "),
                    cells.join(", ")
                ));
            }
        }
        for (storage, cluster) in &self.attached {
            lines.push(format!(
                "INSERT INTO primary_storage_cluster (primary_storage_uuid, cluster_uuid, uuid) \
                 VALUES ('{storage}', '{cluster}', '{storage}{cluster}');"
            ));
        }
        for (n, (resource, kind, tag)) in self.tags.iter().enumerate() {
            let tag = literal(&text(tag));
            lines.push(format!(
                "INSERT INTO user_tag VALUES ('{n:032x}', '{resource}', '{kind}VO', {tag}, 1, 1);"
            ));
        }
        lines.join("\n")
    }

    pub fn question(&self, dice: &mut StdRng) -> Question {
        let kind = pick(dice, TABLES.iter().map(|table| table.kind).collect::<Vec<_>>().as_slice());
        let order = dice.random_bool(0.7).then(|| (camel(pick(dice, &columns(kind))), dice.random_bool(0.5)));
        let condition = self.condition(dice, kind, 2);
        Question { kind, condition, order, client: dice.random_bool(0.5) }
    }

    fn condition(&self, dice: &mut StdRng, kind: &'static str, depth: u32) -> Condition {
        let parts = |world: &World, dice: &mut StdRng| -> Vec<Condition> {
            (0..dice.random_range(1..4)).map(|_| world.condition(dice, kind, depth - 1)).collect()
        };
        match dice.random_range(0..10) {
            0..2 if depth > 0 => Condition::All(parts(self, dice)),
            2..5 if depth > 0 => Condition::Any(parts(self, dice)),
            _ => self.field(dice, kind),
        }
    }

    fn field(&self, dice: &mut StdRng, mut kind: &'static str) -> Condition {
        let mut path = Vec::new();
        while path.len() < 4 && dice.random_bool(0.4) {
            let ways: Vec<(&str, &'static str)> = WAYS
                .iter()
                .map(|way| (way.0, way.1, way.2))
                .chain(ATTACHED.iter().copied())
                .filter(|way| way.0 == kind)
                .map(|way| (way.1, way.2))
                .collect();
            let (name, to) = pick(dice, &ways);
            path.push(name.to_owned());
            kind = to;
        }
        if kind == "PrimaryStorage" && dice.random_bool(0.2) {
            path.push("attachedClusterUuids".to_owned());
            let list = (0..3).map(|_| pick(dice, &self.uuids("Cluster"))).collect();
            return Condition::Field { path: path.join("."), test: Test::In(list) };
        }
        if dice.random_bool(0.15) {
            path.push("__userTag__".to_owned());
            return Condition::Field {
                path: path.join("."),
                test: text_test(dice, &NAMES.map(str::to_owned)),
            };
        }
        let column = pick(dice, &columns(kind));
        path.push(camel(column));
        let cells: Vec<Cell> = self.of(kind).iter().map(|row| get(row, column).clone()).collect();
        Condition::Field { path: path.join("."), test: test(dice, column, &cells) }
    }

    pub fn answer(&self, question: &Question) -> Vec<String> {
        let seen = |row: &&Row| !question.client || !is_hidden(row);
        let fits = |row: &&Row| self.holds(question, question.kind, row, &question.condition);
        let mut found: Vec<&Row> = self.of(question.kind).iter().filter(seen).filter(fits).collect();
        let column = question.order.as_ref().map(|(name, _)| column_of(question.kind, name));
        found.sort_by_key(|row| (column.map(|column| get(row, column).clone()), uuid(row)));
        if question.order.as_ref().is_some_and(|(_, descending)| *descending) {
            found.reverse();
        }
        found.into_iter().map(uuid).collect()
    }

    fn holds(&self, asked: &Question, kind: &'static str, row: &Row, condition: &Condition) -> bool {
        match condition {
            Condition::All(parts) => parts.iter().all(|part| self.holds(asked, kind, row, part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(asked, kind, row, part)),
            Condition::Field { path, test } => self.path_holds(asked, kind, row, path, test),
        }
    }

    fn path_holds(&self, asked: &Question, kind: &'static str, row: &Row, path: &str, test: &Test) -> bool {
        let path = if path == "attachedClusterUuids" { "cluster.uuid" } else { path };
        if path == "__userTag__" {
            return self.tags_hold(&uuid(row), test);
        }
        let Some((first, rest)) = path.split_once('.') else {
            return cell_holds(get(row, column_of(kind, path)), test);
        };
        let (to, related) = self.related(kind, row, first);
        let mut seen = related.into_iter().filter(|row| !asked.client || !is_hidden(row));
        seen.any(|row| self.path_holds(asked, to, row, rest, test))
    }

    fn related(&self, kind: &str, row: &Row, name: &str) -> (&'static str, Vec<&Row>) {
        if let Some((_, _, to, here, there)) = WAYS.iter().find(|way| way.0 == kind && way.1 == name) {
            let here = get(row, here);
            let equal = |other: &&Row| *here != Cell::Null && get(other, there) == here;
            return (to, self.of(to).iter().filter(equal).collect());
        }
        let to = ATTACHED.iter().find(|way| way.0 == kind && way.1 == name).unwrap().2;
        let ours = uuid(row);
        let together = |other: &&Row| {
            let pair =
                if kind == "Cluster" { (uuid(other), ours.clone()) } else { (ours.clone(), uuid(other)) };
            self.attached.contains(&pair)
        };
        (to, self.of(to).iter().filter(together).collect())
    }

    /// A negation means that there is no such tag.
    fn tags_hold(&self, owner: &str, test: &Test) -> bool {
        let some = |test: &Test| {
            self.tags.iter().any(|(resource, _, tag)| resource == owner && cell_holds(&text(tag), test))
        };
        match test {
            Test::Null => !some(&Test::NotNull),
            Test::Is(Sign::NotEqual, tag) => !some(&Test::Is(Sign::Equal, tag.clone())),
            Test::NotLike(pattern) => !some(&Test::Like(pattern.clone())),
            Test::NotIn(list) => !some(&Test::In(list.clone())),
            Test::Has(list) => list.iter().all(|tag| some(&Test::Is(Sign::Equal, tag.clone()))),
            Test::NotHas(list) => !self.tags_hold(owner, &Test::Has(list.clone())),
            other => some(other),
        }
    }
}

fn columns(kind: &str) -> Vec<&'static str> {
    let table = TABLES.iter().find(|table| table.kind == kind).unwrap();
    let own = table.columns.iter().map(|(column, _)| *column);
    // Stored, but nothing that is shown.
    let own = own.filter(|column| !["cpu_speed", "total_memory"].contains(column) || kind != "Host");
    ["uuid", "create_date"].into_iter().chain(own).collect()
}

fn column_of(kind: &str, name: &str) -> &'static str {
    columns(kind).into_iter().find(|column| camel(column) == name).unwrap()
}

fn get<'r>(row: &'r Row, column: &str) -> &'r Cell {
    &row.iter().find(|(known, _)| *known == column).unwrap().1
}

fn uuid(row: &Row) -> String {
    match get(row, "uuid") {
        Cell::Text(uuid) => uuid.clone(),
        other => panic!("{other:?}"),
    }
}

fn is_hidden(row: &Row) -> bool {
    row.iter().any(|(column, cell)| *column == "name" && *cell == text(HIDDEN))
}

fn literal(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Bool(truth) => truth.to_string().to_uppercase(),
        Cell::Int(number) => number.to_string(),
        Cell::Text(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

const SIGNS: [Sign; 6] =
    [Sign::Equal, Sign::NotEqual, Sign::Greater, Sign::GreaterEqual, Sign::Less, Sign::LessEqual];

fn test(dice: &mut StdRng, column: &str, cells: &[Cell]) -> Test {
    let known: Vec<String> = cells.iter().filter_map(|cell| written(column, cell)).collect();
    if known.is_empty() || dice.random_bool(0.1) {
        return if dice.random_bool(0.5) { Test::Null } else { Test::NotNull };
    }
    match cells.iter().find(|cell| **cell != Cell::Null) {
        Some(Cell::Text(_)) => match text_test(dice, &known) {
            // What is unknown is neither, which the tests of tags cover.
            Test::Has(list) | Test::NotHas(list) => Test::In(list),
            other => other,
        },
        _ => match dice.random_range(0..3) {
            0 => Test::In(vec![pick(dice, &known), pick(dice, &known)]),
            1 => Test::NotIn(vec![pick(dice, &known)]),
            _ => Test::Is(pick(dice, &SIGNS), pick(dice, &known)),
        },
    }
}

/// As a client writes it.
fn written(column: &str, cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Bool(truth) => Some(truth.to_string()),
        Cell::Int(moment) if column.ends_with("_date") => {
            Some(format!("2026-11-21T11:28:{}Z", 44 + (moment - 1_795_260_524_000_000) / 1_000_000))
        }
        Cell::Int(number) => Some(number.to_string()),
        Cell::Text(text) => Some(text.clone()),
    }
}

fn text_test(dice: &mut StdRng, known: &[String]) -> Test {
    let some = |dice: &mut StdRng| -> Vec<String> {
        (0..dice.random_range(1..4)).map(|_| pick(dice, known)).collect()
    };
    match dice.random_range(0..9) {
        0 => Test::In(some(dice)),
        1 => Test::NotIn(some(dice)),
        2 => Test::Like(like(dice, known)),
        3 => Test::NotLike(like(dice, known)),
        4 => Test::Has(some(dice)),
        5 => Test::NotHas(some(dice)),
        6 => pick(dice, &[Test::Null, Test::NotNull]),
        _ => Test::Is(pick(dice, &SIGNS), pick(dice, known)),
    }
}

fn like(dice: &mut StdRng, known: &[String]) -> String {
    let whole = pick(dice, known);
    let start: String = whole.chars().take(2).collect();
    pick(
        dice,
        &[
            format!("{start}%"),
            format!("%{start}"),
            start.to_uppercase(),
            "w_b".into(),
            r"50\%".into(),
            whole,
        ],
    )
}
