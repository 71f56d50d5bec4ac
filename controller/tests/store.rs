//! Every SQL statement of the controller, prepared against both kinds of database with their tables: what
//! does not fit the tables fails here and not in front of a user.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cumulet_controller::MIGRATIONS;
use cumulet_tests::postgres::Postgres;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Column, Connection, Executor, Row as _, SqlSafeStr, Statement as _, TypeInfo};

/// A statement and where it stands.
struct Statement {
    place: String,
    sql: String,
}

/// The constants of type `&str` in Rust source that are SQL.
fn statements(place: &str, source: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for piece in source.split("const ").skip(1) {
        let Some((name, rest)) = piece.split_once(": &str =") else { continue };
        let Some(text) = rest.trim_start().strip_prefix('"') else { continue };
        let sql = literal(text);
        let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
        if verbs.iter().any(|verb| sql.starts_with(verb)) && !place.ends_with("postgres.rs") {
            found.push(Statement { place: format!("{place}: {name}"), sql: sql.replace("$*", "$1") });
        }
    }
    found
}

/// What a string literal means, from behind its first quote.
fn literal(text: &str) -> String {
    let mut meaning = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some(escaped) => meaning.push(escaped),
                None => {}
            },
            c => meaning.push(c),
        }
    }
    meaning
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_statements() -> Vec<Statement> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&here.join("src"), &mut files);
    sources(&here.join("engine/src"), &mut files);
    let of = |path: PathBuf| statements(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
    files.into_iter().flat_map(of).collect()
}

async fn database() -> SqliteConnection {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    MIGRATIONS.sqlite.run(&mut connection).await.unwrap();
    connection
}

async fn postgres(name: &str) -> (Postgres, PgConnection) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{name}"));
    let _of_an_earlier_run = fs::remove_dir_all(&dir);
    let server = Postgres::start(&dir).await.unwrap();
    let mut connection = PgConnection::connect(&server.database("store").unwrap()).await.unwrap();
    MIGRATIONS.postgres.run(&mut connection).await.unwrap();
    (server, connection)
}

/// What is wrong with the statement: the database does not take it, or yields what rows do not read.
async fn complaint<'c, E: Executor<'c>>(executor: E, statement: &Statement) -> Option<String> {
    let sql = sqlx::AssertSqlSafe(statement.sql.clone()).into_sql_str();
    let wrong = match executor.prepare(sql).await {
        Err(error) => error.to_string(),
        Ok(prepared) => {
            let strange = prepared.columns().iter().find(|column| strange(column.type_info().name()))?;
            format!("the column {} is of type {}", strange.name(), strange.type_info().name())
        }
    };
    Some(format!("{}: {wrong}\n    {}", statement.place, statement.sql))
}

/// Types of PostgreSQL that are easily got by mistake.
fn strange(name: &str) -> bool {
    ["NUMERIC", "INT4", "FLOAT8", "VOID"].contains(&name)
}

fn bad() -> Statement {
    Statement { place: "sample".into(), sql: "SELECT nothing FROM zone".into() }
}

#[tokio::test]
async fn every_statement_fits_the_tables_of_sqlite() {
    let mut connection = database().await;
    assert!(complaint(&mut connection, &bad()).await.is_some(), "a wrong statement must be found");
    let statements = all_statements();
    assert!(statements.len() > 100, "only {} statements were found", statements.len());
    let mut complaints = Vec::new();
    for statement in &statements {
        complaints.extend(complaint(&mut connection, statement).await);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Tables that grow with the cloud, or with its age.
const LARGE: [&str; 18] = [
    "account_resource_ref",
    "event",
    "event_log",
    "flow",
    "host_claim",
    "image_cache",
    "job",
    "long_job",
    "ownership",
    "session",
    "system_tag",
    "used_ip",
    "user_tag",
    "vm_cd_rom",
    "vm_instance",
    "vm_nic",
    "volume",
    "volume_snapshot",
];

/// Of their rows, many are the same in these: an index finds half the table.
const OF_MANY: [&str; 3] = ["(state=?)", "(status=?)", "(type=?)"];

/// Statements that may: lists of candidates, for people who ask for them, and a state that few VMs are in.
const ALLOWED: [&str; 3] =
    ["src/vm/cd_rom/store.rs: VMS", "src/vm/store.rs: ATTACHING_VMS", "src/vm/store.rs: DESTROYED"];

/// The large table that the statement looks through, if it does. An index of few of its rows is none.
async fn looked_through(connection: &mut SqliteConnection, statement: &Statement) -> Option<String> {
    let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.sql));
    let plan = sqlx::raw_sql(sql).fetch_all(&mut *connection).await.unwrap();
    let words: Vec<&str> =
        statement.sql.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
    for step in plan.iter().map(|row| row.get::<String, _>("detail")) {
        let mut said = step.split(' ');
        let (Some(verb), Some(name)) = (said.next(), said.next()) else { continue };
        if verb != "SCAN" && !OF_MANY.iter().any(|column| step.contains(column)) {
            continue;
        }
        let aliased = words.windows(2).find(|pair| pair[1] == name && LARGE.contains(&pair[0]));
        let table = aliased.map_or(name, |pair| pair[0]);
        let index = step.split_once("INDEX ").and_then(|(_, rest)| rest.split(' ').next());
        if LARGE.contains(&table) && !is_partial(connection, index).await {
            return Some(format!("{}: {step}\n    {}", statement.place, statement.sql));
        }
    }
    None
}

async fn is_partial(connection: &mut SqliteConnection, index: Option<&str>) -> bool {
    let sql =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name = $1 AND sql LIKE '% WHERE %'";
    sqlx::query_scalar::<_, i64>(sql).bind(index).fetch_one(connection).await.unwrap() > 0
}

/// How SQLite runs a statement does not depend on what the tables hold: it is asked with none in them.
#[tokio::test]
async fn no_statement_looks_through_a_table_that_grows() {
    let mut connection = database().await;
    for sql in [
        "SELECT name FROM vm_instance WHERE memory_size = $1",
        "SELECT h.name FROM host h JOIN volume v ON coalesce(v.host_uuid, v.name) = h.uuid",
        "SELECT uuid FROM vm_instance WHERE state = 'Running' AND cpu_num = $1",
    ] {
        let bad = Statement { place: "sample".into(), sql: sql.into() };
        assert!(looked_through(&mut connection, &bad).await.is_some(), "{sql} must be found");
    }
    let mut complaints = Vec::new();
    let allowed = |statement: &Statement| {
        statement.place.contains("/tests") || ALLOWED.iter().any(|place| statement.place.ends_with(place))
    };
    for statement in all_statements().into_iter().filter(|statement| !allowed(statement)) {
        complaints.extend(looked_through(&mut connection, &statement).await);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[tokio::test]
async fn every_statement_fits_the_tables_of_postgresql() {
    let (_server, mut connection) = postgres("statements").await;
    assert!(complaint(&mut connection, &bad()).await.is_some(), "a wrong statement must be found");
    let mut complaints = Vec::new();
    for statement in all_statements().iter().filter(|statement| !of_sqlite_alone(&statement.place)) {
        complaints.extend(complaint(&mut connection, statement).await);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Tests of resources run on SQLite.
fn of_sqlite_alone(place: &str) -> bool {
    ["/tests.rs", "/sqlite.rs"].iter().any(|file| place.contains(file))
}

/// Names of all columns, as `table.column null`.
const OF_SQLITE: &str = "SELECT m.name || '.' || c.name || CASE WHEN c.\"notnull\" OR c.pk > 0 THEN '' ELSE ' null' END \
     FROM sqlite_schema m, pragma_table_info(m.name) c \
     WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name <> 'sqlite_sequence'";
const OF_POSTGRES: &str = "SELECT c.table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE ' null' END \
     FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) \
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND c.table_name NOT LIKE '\\_sqlx%'";

#[tokio::test]
async fn both_kinds_of_database_have_the_same_columns() {
    let (_server, mut postgres) = postgres("columns").await;
    let ours: Vec<(String,)> = sqlx::query_as(OF_SQLITE).fetch_all(&mut database().await).await.unwrap();
    let theirs: Vec<(String,)> = sqlx::query_as(OF_POSTGRES).fetch_all(&mut postgres).await.unwrap();
    let sorted = |rows: Vec<(String,)>| rows.into_iter().map(|row| row.0).collect::<BTreeSet<_>>();
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    assert!(ours.len() > 100);
    let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

#[test]
fn statements_are_found_as_the_compiler_reads_them() {
    let source =
        "const A: &str = \"SELECT x \\\n     FROM y\";\nconst B: u8 = 1;\nconst C: &str = \"no sql\";";
    let found = statements("f", source);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sql, "SELECT x FROM y");
}
