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
