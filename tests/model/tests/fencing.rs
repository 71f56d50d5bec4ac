//! No VM runs twice under all rules, and one does without any one of them.

use model::fencing::Fencing;
use model::{Broken, Report, Rule, Rules, search};

fn without(rule: Rule) -> Report {
    let report = search(&mut Fencing::new(Rules::all().without(rule)), None);
    println!("{rule:?}: {report}");
    report
}

#[test]
fn no_vm_runs_on_two_hosts() {
    let report = search(&mut Fencing::new(Rules::all()), None);
    println!("{report}\n{:?}", report.fired);
    assert!(report.counterexample.is_none(), "{report}");
    assert!(report.states >= 300_000, "only {} states: what cannot happen any more?", report.states);
    report.assert_fired(&[
        "Tick",
        "Begin",
        "Land",
        "LoseWrite",
        "Return",
        "Look",
        "Kill",
        "FindNone",
        "Crash",
        "StandStill",
        "GoOn",
        "Order",
        "Accept",
        "Refuse",
        "Spawn",
        "Confirm",
        "Watch",
        "Judge",
        "Fence",
        "Verdict",
        "StartElsewhere",
        "Connect",
        "SetUp",
    ]);
}

#[test]
fn dropping_any_rule_of_fencing_lets_a_vm_run_on_two_hosts() {
    let rules = [
        Rule::LeaseThenMark,
        Rule::MarkThenLease,
        Rule::WatchLonger,
        Rule::CountFromBegin,
        Rule::RecallLease,
        Rule::StartUnderLease,
        Rule::ConfirmStart,
        Rule::NoneLeft,
        Rule::StayGivenUp,
        Rule::ConnectThenSetUp,
    ];
    let found = rules.map(|rule| (rule, without(rule).counterexample.map(|found| found.broken)));
    assert_eq!(found, rules.map(|rule| (rule, Some(Broken::TwoVms))), "a rule is not needed");
}
