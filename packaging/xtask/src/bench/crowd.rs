//! Rows of very many VMs, entered straight into the database of a controller that does not run: copies of one VM
//! that it made itself. The same statements for SQLite and PostgreSQL.

use std::path::Path;

use anyhow::Result;
use cumulet_tests::postgres::Postgres;
use rusqlite::Connection;

/// What a uuid begins with, by the kind of the copy.
const VM: u8 = 1;
const VOLUME: u8 = 2;
const NIC: u8 = 3;
const ADDRESS: u8 = 4;
/// Numbers are spread over 32 bits, as random uuids would be over an index.
const SPREAD: u64 = 2_654_435_761;
const RANGE: u64 = 1 << 32;
const LONGEST: u64 = 1_000_000_000_000_000_000;
const PADDING: &str = "000000000000";
/// 11.0.0.0: none of them is the template's, or of the network's servers.
const FIRST_ADDRESS: u64 = 11 << 24;

/// The database of a controller, and its VM that is copied.
pub struct Crowd<'a> {
    pub database: Database<'a>,
    pub template: &'a str,
    pub number: u64,
}

#[derive(Clone, Copy)]
pub enum Database<'a> {
    Sqlite(&'a Path),
    Postgres(&'a Postgres, &'a str),
}

/// A table, how its rows that belong to the VM are found, and what is other in each copy.
struct Copy {
    table: &'static str,
    of: String,
    changed: Vec<(&'static str, String)>,
}

impl Crowd<'_> {
    pub fn enter(&self) -> Result<()> {
        match self.database {
            Database::Sqlite(file) => {
                let database = Connection::open(file)?;
                database.execute_batch(
                    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000; \
                     PRAGMA foreign_keys = OFF; BEGIN",
                )?;
                for copy in self.copies() {
                    let columns = format!("SELECT name FROM pragma_table_info('{}')", copy.table);
                    let mut columns = database.prepare(&columns)?;
                    let columns = columns.query_map([], |row| row.get::<_, String>(0))?;
                    database
                        .execute_batch(&self.statement(&copy, &columns.collect::<Result<Vec<_>, _>>()?))?;
                }
                Ok(database.execute_batch("COMMIT; PRAGMA journal_mode = WAL")?)
            }
            Database::Postgres(server, name) => {
                // Its triggers would ask for each row whose it is.
                let mut all =
                    "SET session_replication_role = replica; SET synchronous_commit = off; ".to_owned();
                for copy in self.copies().into_iter().chain(self.references()) {
                    let columns = format!(
                        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}'",
                        copy.table
                    );
                    let columns = server.sql_in(name, &columns)?;
                    let columns: Vec<_> = columns.lines().map(str::to_owned).collect();
                    all.push_str(&self.statement(&copy, &columns));
                    all.push_str("; ");
                }
                server.sql_in(name, &all)?;
                server.sql_in(name, "VACUUM ANALYZE").map(drop)
            }
        }
    }

    /// The uuid of one of the VMs.
    pub fn vm(number: u64) -> String {
        format!("{VM}{}{PADDING}", LONGEST + number * SPREAD % RANGE)
    }

    pub fn name(number: u64) -> String {
        format!("crowd-{number}")
    }

    fn statement(&self, copy: &Copy, columns: &[String]) -> String {
        let value = |column: &String| {
            let changed = copy.changed.iter().find(|(name, _)| name == column);
            changed.map_or_else(|| format!("base.{column}"), |(_, value)| value.clone())
        };
        let values: Vec<_> = columns.iter().map(value).collect();
        format!(
            "INSERT INTO {table} ({columns}) WITH RECURSIVE n (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 \
             FROM n WHERE n < {number}) SELECT {values} FROM {table} base, n WHERE {of}",
            table = copy.table,
            columns = columns.join(", "),
            number = self.number,
            values = values.join(", "),
            of = copy.of
        )
    }

    /// Stopped VMs, each with a disk, a NIC and an address.
    fn copies(&self) -> Vec<Copy> {
        let vm = self.template;
        let numbered = |text: &str| format!("'{text}' || CAST(n AS TEXT)");
        let part = |by: u64| format!("CAST(n / {by} % 256 AS TEXT)");
        let ip = format!("'11.' || {} || '.' || {} || '.' || {}", part(65536), part(256), part(1));
        let of_vm = format!("base.vm_instance_uuid = '{vm}'");
        vec![
            Copy {
                table: "vm_instance",
                of: format!("base.uuid = '{vm}'"),
                changed: vec![
                    ("uuid", id(VM)),
                    ("internal_id", "1000000 + n".into()),
                    ("name", numbered("crowd-")),
                    ("root_volume_uuid", id(VOLUME)),
                    ("host_uuid", "NULL".into()),
                    ("state", "'Stopped'".into()),
                ],
            },
            Copy {
                table: "volume",
                of: of_vm.clone(),
                changed: vec![
                    ("uuid", id(VOLUME)),
                    ("name", numbered("ROOT-for-crowd-")),
                    ("vm_instance_uuid", id(VM)),
                    ("install_path", numbered("/crowd/")),
                ],
            },
            Copy {
                table: "vm_nic",
                of: of_vm,
                changed: vec![
                    ("uuid", id(NIC)),
                    ("vm_instance_uuid", id(VM)),
                    ("mac", numbered("fa:")),
                    ("internal_name", numbered("crowd")),
                    ("ip", ip.clone()),
                ],
            },
            Copy {
                table: "used_ip",
                of: format!("base.vm_nic_uuid IN (SELECT uuid FROM vm_nic WHERE vm_instance_uuid = '{vm}')"),
                changed: vec![
                    ("uuid", id(ADDRESS)),
                    ("vm_nic_uuid", id(NIC)),
                    ("ip", ip),
                    ("ip_in_long", format!("{FIRST_ADDRESS} + n")),
                ],
            },
        ]
    }

    /// Whose they are, where no trigger writes it down.
    fn references(&self) -> Vec<Copy> {
        let owned = |salt: u8, table: &str, key: &str| Copy {
            table: "account_resource_ref",
            of: format!("base.resource_uuid IN (SELECT uuid FROM {table} WHERE {key} = '{}')", self.template),
            changed: match salt {
                VM => vec![("resource_uuid", id(VM))],
                _ => vec![("resource_uuid", id(salt)), ("master_uuid", id(VM))],
            },
        };
        vec![
            owned(VM, "vm_instance", "uuid"),
            owned(VOLUME, "volume", "vm_instance_uuid"),
            owned(NIC, "vm_nic", "vm_instance_uuid"),
        ]
    }
}

/// The uuid of copy `n`, as the statement makes it.
fn id(salt: u8) -> String {
    format!("'{salt}' || CAST({LONGEST} + (n * {SPREAD}) % {RANGE} AS TEXT) || '{PADDING}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_the_same_here_and_in_the_database() {
        let database = Connection::open_in_memory().unwrap();
        let made: String = database
            .query_row(&format!("SELECT {} FROM (SELECT 77 AS n)", id(VM)), [], |row| row.get(0))
            .unwrap();
        assert_eq!(made, Crowd::vm(77));
        assert_eq!(made.len(), 32);
    }
}
