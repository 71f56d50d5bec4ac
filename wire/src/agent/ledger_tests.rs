use super::*;
use crate::agent::record::Record;

const DAY: u64 = 24 * 3600 * 1000;

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

fn fence(generation: u64, epoch: u64) -> Fence {
    Fence { resource: "vm1".into(), generation, epoch, deadline: None }
}

fn begin(ledger: &mut Ledger, task: &str, fence: Option<&Fence>, now: u64) {
    let arrival = Arrival { path: "/a", callback: Some("http://c/"), fence, acts: true, now };
    ledger.accept(id(task), &arrival);
    ledger.accepted(&id(task));
}

/// Begun, ended and heard.
fn finish(ledger: &mut Ledger, task: &str, fence: Option<&Fence>, now: u64) {
    begin(ledger, task, fence, now);
    end(ledger, task, now);
}

fn end(ledger: &mut Ledger, task: &str, now: u64) {
    let round = ledger.done(&id(task), Bytes::from_static(b"{}"), false, now).unwrap();
    assert!(ledger.reported(&id(task), round));
}

#[test]
fn the_newest_finished_tasks_without_a_fence_are_kept_for_a_day() {
    let mut ledger = Ledger::default();
    for number in 0..LOOSE + 5 {
        finish(&mut ledger, &number.to_string(), None, 1000);
    }
    ledger.forget(1000);
    assert_eq!((ledger.tasks.len(), ledger.loose.len()), (LOOSE, LOOSE));
    assert!(!ledger.tasks.contains_key(&id("4")) && ledger.tasks.contains_key(&id("5")));
    ledger.forget(1000 + DAY);
    assert_eq!(ledger.tasks.len(), LOOSE);
    ledger.forget(1001 + DAY);
    assert_eq!((ledger.tasks.len(), ledger.loose.len()), (0, 0));
}

#[test]
fn a_task_that_ran_again_is_as_young_as_its_last_run() {
    let mut ledger = Ledger::default();
    finish(&mut ledger, "a", None, 0);
    finish(&mut ledger, "a", None, DAY);
    ledger.forget(DAY + 1);
    assert!(ledger.tasks.contains_key(&id("a")));
}

#[test]
fn a_fenced_task_stays_until_a_higher_generation_however_old_it_is() {
    let mut ledger = Ledger::default();
    finish(&mut ledger, "a", Some(&fence(1, 1)), 0);
    finish(&mut ledger, "undo", Some(&fence(1, 2)), 0);
    ledger.forget(100 * DAY);
    assert_eq!(ledger.tasks.len(), 2);
    begin(&mut ledger, "next", Some(&fence(2, 3)), 100 * DAY);
    assert_eq!(ledger.tasks.keys().collect::<Vec<_>>(), [&id("next")]);
}

#[test]
fn an_unreported_task_survives_a_higher_generation_until_it_is_heard() {
    let mut ledger = Ledger::default();
    begin(&mut ledger, "a", Some(&fence(1, 1)), 0);
    begin(&mut ledger, "next", Some(&fence(2, 2)), 0);
    let round = ledger.done(&id("a"), Bytes::new(), false, 0).unwrap();
    assert!(ledger.due(&id("a"), round).is_some());
    ledger.reported(&id("a"), round);
    assert!(!ledger.tasks.contains_key(&id("a")));
}

#[test]
fn a_fenced_task_goes_when_its_deadline_is_long_past() {
    let mut ledger = Ledger::default();
    let brief = Fence { deadline: Some(500), ..fence(1, 1) };
    finish(&mut ledger, "a", Some(&brief), 100);
    ledger.forget(DAY);
    assert_eq!(ledger.tasks.len(), 1);
    ledger.forget(2 * DAY);
    assert!(ledger.tasks.is_empty());
    assert!(ledger.stale(&fence(1, 0)).is_some(), "the highest epoch is kept");
}

#[test]
fn the_floor_replaces_the_highest_epochs_below_it() {
    let mut ledger = Ledger::default();
    let brief = Fence { deadline: Some(0), ..fence(1, 5) };
    finish(&mut ledger, "a", Some(&brief), 0);
    begin(&mut ledger, "running", Some(&Fence { resource: "vm2".into(), ..fence(1, 5) }), 0);
    ledger.forget(2 * DAY);
    assert!(ledger.raise_floor(6) && !ledger.raise_floor(6) && !ledger.raise_floor(2));
    assert_eq!(ledger.tasks.keys().collect::<Vec<_>>(), [&id("running")]);
    assert_eq!(ledger.resources.len(), 1);
    assert!(ledger.stale(&fence(9, 5)).is_some() && ledger.stale(&fence(1, 6)).is_none());
}

#[test]
fn a_task_below_the_floor_is_known_to_a_flow_that_goes_on_under_a_later_epoch() {
    let mut ledger = Ledger::default();
    finish(&mut ledger, "a", Some(&fence(1, 5)), 0);
    ledger.raise_floor(6);
    assert!(matches!(ledger.judge(&id("a"), Some(&fence(1, 5)), 0, false), Verdict::Refuse(_)));
    assert_eq!(ledger.judge(&id("a"), Some(&fence(1, 7)), 0, false), Verdict::Attach);
}

#[test]
fn epochs_decide_and_a_generation_may_not_change_within_one() {
    let mut ledger = Ledger::default();
    begin(&mut ledger, "a", Some(&fence(2, 5)), 0);
    for (generation, epoch, stale) in [(2, 5, false), (2, 4, true), (3, 5, true), (1, 5, true), (3, 6, false)]
    {
        assert_eq!(ledger.stale(&fence(generation, epoch)).is_some(), stale, "{generation}, {epoch}");
    }
}

#[test]
fn only_the_last_round_of_reporting_goes_on() {
    let mut ledger = Ledger::default();
    begin(&mut ledger, "a", None, 0);
    let first = ledger.done(&id("a"), Bytes::new(), false, 0).unwrap();
    let second = ledger.attach(&id("a"), Some("http://d/"), None).due.unwrap();
    assert!(ledger.due(&id("a"), first).is_none() && !ledger.reported(&id("a"), first));
    assert_eq!(&*ledger.due(&id("a"), second).unwrap().0, "http://d/");
    assert!(ledger.reported(&id("a"), second) && ledger.due(&id("a"), second).is_none());
}

#[test]
fn what_only_looked_is_forgotten_soon() {
    let mut ledger = Ledger::default();
    for number in 0..GLANCES + 3 {
        let arrival = Arrival { path: "/l", callback: None, fence: None, acts: false, now: 0 };
        ledger.accept(id(&number.to_string()), &arrival);
        assert_eq!(ledger.done(&id(&number.to_string()), Bytes::new(), false, 0), None);
    }
    ledger.forget(1);
    assert_eq!(ledger.tasks.len(), GLANCES);
    ledger.forget(60_001);
    assert!(ledger.tasks.is_empty());
}

#[test]
fn a_ledger_made_of_its_own_records_is_the_same() {
    let mut ledger = Ledger::default();
    finish(&mut ledger, "old", Some(&fence(1, 1)), 10);
    finish(&mut ledger, "loose", None, 20);
    ledger.raise_floor(1);
    let accepted = Record::Accepted {
        task: id("waits"),
        path: "/w".into(),
        body: serde_json::from_str(r#"{"word": "x"}"#).unwrap(),
        callback: None,
        fence: Some(std::borrow::Cow::Owned(Fence { deadline: Some(9), ..fence(1, 2) })),
        boot: "boot".into(),
        at: 30,
    };
    ledger.apply(accepted).unwrap();
    begin(&mut ledger, "unheard", None, 40);
    ledger.done(&id("unheard"), Bytes::from_static(b"{}"), false, 41);
    let text = dumped(&ledger);
    let mut again = Ledger::default();
    for line in text.split_inclusive('\n') {
        again.apply(Record::read(line.as_bytes()).unwrap()).unwrap();
    }
    assert_eq!(dumped(&again), text);
    assert_eq!(again.unreported().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [id("unheard")]);
    let pending = again.take_pending().remove(0);
    assert_eq!((pending.id, &*pending.body, &*pending.boot), (id("waits"), r#"{"word": "x"}"#, "boot"));
    assert!(again.stale(&fence(1, 1)).is_some());
}

fn dumped(ledger: &Ledger) -> String {
    let mut bytes = Vec::new();
    ledger
        .dump(&mut |record| {
            record.write(&mut bytes);
            Ok(())
        })
        .unwrap();
    String::from_utf8(bytes).unwrap()
}
