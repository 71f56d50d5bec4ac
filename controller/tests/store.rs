//! Every SQL statement of the controller, prepared against a database with its tables: what does not fit
//! the tables fails here and not in front of a user.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor, SqlSafeStr};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

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
        if verbs.iter().any(|verb| sql.starts_with(verb)) {
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
    MIGRATIONS.run(&mut connection).await.unwrap();
    connection
}

async fn complaint(connection: &mut SqliteConnection, statement: &Statement) -> Option<String> {
    let sql = sqlx::AssertSqlSafe(statement.sql.clone()).into_sql_str();
    let error = connection.prepare(sql).await.err()?;
    Some(format!("{}: {error}\n    {}", statement.place, statement.sql))
}

#[tokio::test]
async fn every_statement_fits_the_tables() {
    let mut connection = database().await;
    let bad = Statement { place: "sample".into(), sql: "SELECT nothing FROM zone".into() };
    assert!(complaint(&mut connection, &bad).await.is_some(), "a wrong statement must be found");
    let statements = all_statements();
    assert!(statements.len() > 100, "only {} statements were found", statements.len());
    let mut complaints = Vec::new();
    for statement in &statements {
        complaints.extend(complaint(&mut connection, statement).await);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn statements_are_found_as_the_compiler_reads_them() {
    let source =
        "const A: &str = \"SELECT x \\\n     FROM y\";\nconst B: u8 = 1;\nconst C: &str = \"no sql\";";
    let found = statements("f", source);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sql, "SELECT x FROM y");
}
