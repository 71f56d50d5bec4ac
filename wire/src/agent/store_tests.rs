use std::time::Instant;

use super::*;
use crate::agent::machine::Disk;
use crate::call::TaskId;

struct Sound;

impl Disk for Sound {}

fn open(dir: &Path) -> (Store, Ledger) {
    Store::open(dir, Box::new(Sound)).unwrap()
}

fn lines(records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record.write(&mut bytes));
    bytes
}

/// A task's whole life.
fn life(number: usize) -> Vec<u8> {
    let task = TaskId::parse(&number.to_string()).unwrap();
    let json: &serde_json::value::RawValue = serde_json::from_str("{}").unwrap();
    lines(&[
        Record::Accepted {
            task: task.clone(),
            path: "/a".into(),
            body: json,
            callback: None,
            fence: None,
            boot: "b".into(),
            at: now(),
        },
        Record::Done { task, outcome: json, refused: false, at: now() },
    ])
}

fn wait_compacted(store: &mut Store) {
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    assert!(store.compaction.is_some(), "it has begun");
    while store.compaction.is_some() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
        store.tidy();
    }
}

#[test]
fn compaction_keeps_what_is_live_and_what_was_appended_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let task = TaskId::parse("many").unwrap();
    let many: Vec<u8> = (0..1000).flat_map(|_| lines(&[Record::Reported { task: task.clone() }])).collect();
    store.commit(&life(1), true).unwrap();
    store.commit(&many, true).unwrap();
    store.compact_at = 1000;
    store.tidy();
    store.commit(&life(2), true).unwrap();
    wait_compacted(&mut store);
    store.commit(&life(3), true).unwrap();
    let len = fs::metadata(dir.path().join(NAME)).unwrap().len();
    assert!(len < 2000 && len == store.len, "{len} {}", store.len);
    drop(store);
    let (_, ledger) = open(dir.path());
    assert_eq!(ledger.tasks.len(), 3);
    assert!(ledger.tasks.values().all(|entry| entry.is_done()));
}

#[test]
fn a_compaction_that_fails_costs_nothing_but_the_room() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&life(1), true).unwrap();
    fs::create_dir(dir.path().join(NEW)).unwrap();
    store.compact_at = 10;
    store.tidy();
    wait_compacted(&mut store);
    assert!(store.compact_at > store.len, "put off");
    store.commit(&life(2), true).unwrap();
    fs::remove_dir(dir.path().join(NEW)).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).1.tasks.len(), 2);
}

#[test]
fn a_left_over_new_journal_is_of_no_account() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&life(1), true).unwrap();
    drop(store);
    fs::write(dir.path().join(NEW), life(2)).unwrap();
    assert_eq!(open(dir.path()).1.tasks.len(), 1);
    assert!(!dir.path().join(NEW).exists());
}

#[test]
fn the_journal_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a/b");
    let _store = open(&state);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join(NAME))), (0o700, 0o600));
}
