use super::*;

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn reading_that_takes_too_long_is_stopped_and_disturbs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("db").display());
    let db = Db::open(&url, Migrations { sqlite: &SQLITE, postgres: &POSTGRES }).await.unwrap();
    let endless = db.read_much(|tx| Box::pin(tx.number(ENDLESS, Vec::new())));
    let stopped = tokio::time::timeout(READ * 10, endless).await.expect("it is stopped").unwrap_err();
    assert!(stopped.is(codes::TIMEOUT), "{stopped}");
    for _ in 0..20 {
        let count = db.read_much(|tx| Box::pin(tx.number("SELECT count(*) FROM flow", Vec::new())));
        assert_eq!(count.await.unwrap(), 0);
    }
}

/// Also where somebody has had the tables counted, whose numbers tempt the planner to look at each value.
#[test]
fn a_statement_is_prepared_once_for_all_values() {
    let dir = tempfile::tempdir().unwrap();
    let things = "CREATE TABLE thing (uuid TEXT PRIMARY KEY, name TEXT) STRICT; \
         INSERT INTO thing VALUES ('1', 'thing'), ('2', 'thing'), ('3', 'thing'); ANALYZE";
    Connection::open(dir.path().join("db")).unwrap().execute_batch(things).unwrap();
    let reader = sqlite::Store::at(dir.path().join("db")).reader().unwrap();
    let sql = "SELECT name FROM thing WHERE uuid >= $1 AND name = $2";
    for (uuid, found) in [("1", 3), ("2", 2), ("3", 1)] {
        let values = [uuid.into(), "thing".into()];
        let rows: Vec<(String,)> = sqlite::rows(reader.connection(), sql, &values, usize::MAX).unwrap();
        assert_eq!(rows.len(), found);
    }
    let statement = reader.connection().prepare_cached(sql).unwrap();
    assert!(statement.get_status(rusqlite::StatementStatus::Run) >= 3, "it is the same statement");
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
}
