use super::grammar::*;
use crate::query::condition::{Condition, Sign, Test};

fn one(text: &str) -> Statement {
    read(text).unwrap_or_else(|error| panic!("{text}: {error}")).remove(0)
}

fn field(path: &str, test: Test) -> Condition {
    Condition::Field { path: path.to_owned(), test }
}

fn is(path: &str, value: &str) -> Condition {
    field(path, Test::Is(Sign::Equal, value.to_owned()))
}

#[test]
fn a_statement_with_everything_is_read() {
    let read = one("query thing.name,state where (name='a' or cpuNum >= 2) and description is not null \
         restrict by (place.uuid='z', state != 'x') return with (total) group by state \
         order by name desc, uuid limit 5 offset 10 named as 'mine'");
    assert_eq!(
        (read.entity.as_str(), read.fields.as_slice()),
        ("thing", ["name".into(), "state".into()].as_slice())
    );
    let cpus = field("cpuNum", Test::Is(Sign::GreaterEqual, "2".into()));
    let either = Condition::Any(vec![is("name", "a"), cpus]);
    let both = Condition::All(vec![either, field("description", Test::NotNull)]);
    assert_eq!(read.condition, Some(both));
    assert_eq!(read.restrict.len(), 2);
    assert_eq!(read.returns, ["total"]);
    assert_eq!(read.group, ["state"]);
    assert_eq!(read.order, [("name".to_owned(), true), ("uuid".to_owned(), false)]);
    assert_eq!((read.limit, read.offset, read.name.as_deref()), (Some(5), Some(10), Some("mine")));
}

#[test]
fn and_binds_closer_than_or() {
    let read = one("query thing where a='1' or b='2' and c='3'");
    let both = Condition::All(vec![is("b", "2"), is("c", "3")]);
    assert_eq!(read.condition, Some(Condition::Any(vec![is("a", "1"), both])));
}

#[test]
fn every_operator_is_read() {
    let list = || vec!["1".to_owned(), "x y".to_owned()];
    for (text, test) in [
        ("in (1, 'x y')", Test::In(list())),
        ("not in (1, \"x y\")", Test::NotIn(list())),
        ("has (1,'x y')", Test::Has(list())),
        ("not has (1,'x y')", Test::NotHas(list())),
        ("like 'a%'", Test::Like("a%".into())),
        ("NOT  LIKE 'a%'", Test::NotLike("a%".into())),
        ("is null", Test::Null),
        ("!= -5", Test::Is(Sign::NotEqual, "-5".into())),
        ("<true", Test::Is(Sign::Less, "true".into())),
    ] {
        assert_eq!(
            one(&format!("query thing where a.b {text}")).condition,
            Some(field("a.b", test)),
            "{text}"
        );
    }
}

#[test]
fn questions_stand_in_questions_and_behind_each_other() {
    let text = "query thing where uuid not in (query part.thingUuid where ip like '10.%'); count place; \
                sum thing.cpuNum,memorySize by placeUuid where state='Running'; query distinct(thing.state);";
    let read = read(text).unwrap();
    assert_eq!(read.len(), 4);
    assert!(
        matches!(&read[0].condition, Some(Condition::Field { test: Test::NotAmong(sub), .. }) if sub.field == "thingUuid")
    );
    assert_eq!(read[1].verb, Verb::Count);
    assert_eq!(read[2].verb, Verb::SumBy("placeUuid".into()));
    assert!(read[3].distinct);
}

#[test]
fn what_cannot_be_understood_is_told_with_its_place() {
    for (text, place) in [
        ("query thing where name == 'x'", "= 'x'"),
        ("query thing where", "its end"),
        ("drop table thing", "drop table"),
        ("query thing where name='x", "'x"),
        ("query thing limit many", "many"),
        ("query thing nonsense", "nonsense"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.details().contains(place), "{text}: {error}");
    }
    assert!(read(&format!("query thing where {}a='1'{}", "(".repeat(5000), ")".repeat(5000))).is_err());
}
