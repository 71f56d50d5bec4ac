//! Nothing breaks under all rules, and something breaks without any one of them.

use model::flow::{Flows, Shape};
use model::lease::Leases;
use model::{Broken, Report, Rule, Rules, search};

/// Two acts with their undos.
const TWO_ACTS: Shape = Shape { steps: 2, second: false, given_up: false, epochs: 4 };
/// A flow and the next one of the same resource.
const TWO_FLOWS: Shape = Shape { steps: 1, second: true, given_up: false, epochs: 5 };
/// A host that is lost and comes back, and is used by a flow after that.
const LOST_HOST: Shape = Shape { steps: 1, second: true, given_up: true, epochs: 4 };

fn holds(shape: Shape, floor: usize, kinds: &[&str]) {
    let report = search(&mut Flows::new(shape, Rules::all()), None);
    println!("{report}\n{:?}", report.fired);
    assert!(report.counterexample.is_none(), "{report}");
    assert!(report.states >= floor, "only {} states: what cannot happen any more?", report.states);
    report.assert_fired(kinds);
}

fn dropped(shape: Shape, rule: Rule, broken: Broken) {
    let mut flows = Flows::new(shape, Rules::all().without(rule));
    breaks(&search(&mut flows, Some(broken)), broken);
}

fn breaks(report: &Report, broken: Broken) {
    println!("{report}");
    assert_eq!(
        report.counterexample.as_ref().map(|found| found.broken),
        Some(broken),
        "the rule is not needed"
    );
}

#[test]
fn one_owner_is_effective_in_a_flow_of_two_acts() {
    let kinds = [
        "Check",
        "Send",
        "Advance",
        "Turn",
        "End",
        "Lost",
        "Crash",
        "Pause",
        "Expire",
        "RenewLease",
        "Adopt",
        "Accept",
        "Attach",
        "Repeat",
        "Start",
        "Refuse",
        "Effect",
        "Done",
        "Fail",
        "Restart",
    ];
    holds(TWO_ACTS, 1_000_000, &kinds);
}

#[test]
fn one_owner_is_effective_in_two_flows_in_succession() {
    holds(TWO_FLOWS, 1_000_000, &["Begin", "Crash", "Pause", "Adopt", "Turn", "Repeat", "Refuse", "Restart"]);
}

#[test]
fn one_owner_is_effective_when_a_host_is_lost_and_comes_back() {
    holds(
        LOST_HOST,
        500_000,
        &["Begin", "GiveUp", "Connect", "Renewed", "Refuse", "Adopt", "Pause", "Restart"],
    );
}

#[test]
fn dropping_save_then_send_leaves_an_effect_that_nobody_undoes() {
    dropped(TWO_ACTS, Rule::SaveThenSend, Broken::WrongOutcome);
}

#[test]
fn dropping_the_guard_of_writes_lets_a_paused_owner_undo_what_its_successor_completed() {
    dropped(TWO_ACTS, Rule::WriteOnlyOwn, Broken::TwoWriters);
    dropped(TWO_ACTS, Rule::WriteOnlyOwn, Broken::WrongOutcome);
}

#[test]
fn dropping_the_new_epoch_of_adoption_lets_two_owners_write_under_one() {
    dropped(TWO_ACTS, Rule::AdoptUnderNewEpoch, Broken::TwoWriters);
}

#[test]
fn dropping_the_new_epoch_of_turning_lets_a_delayed_command_act_after_its_undo() {
    dropped(TWO_ACTS, Rule::TurnUnderNewEpoch, Broken::WrongOutcome);
}

#[test]
fn dropping_the_undo_of_what_failed_leaves_half_an_effect() {
    dropped(TWO_ACTS, Rule::UndoWhatFailed, Broken::WrongOutcome);
}

#[test]
fn taking_silence_for_an_outcome_leaves_an_effect() {
    dropped(TWO_ACTS, Rule::SilenceIsNoOutcome, Broken::WrongOutcome);
}

#[test]
fn taking_stale_for_a_failure_leaves_an_effect() {
    dropped(LOST_HOST, Rule::StaleIsNoFailure, Broken::WrongOutcome);
}

#[test]
fn dropping_the_epoch_check_lets_a_late_command_act() {
    dropped(TWO_ACTS, Rule::HighestWins, Broken::LateEffect);
    dropped(TWO_ACTS, Rule::HighestWins, Broken::WrongOutcome);
    dropped(TWO_FLOWS, Rule::HighestWins, Broken::WrongOutcome);
}

#[test]
fn dropping_the_agents_journal_lets_a_late_command_act_after_a_restart() {
    dropped(TWO_ACTS, Rule::JournalFirst, Broken::LateEffect);
}

#[test]
fn running_a_known_task_again_repeats_its_effect() {
    dropped(TWO_ACTS, Rule::KnownIsNotRunAgain, Broken::RanTwice);
}

#[test]
fn forgetting_at_a_later_epoch_of_the_same_flow_repeats_an_effect() {
    dropped(TWO_ACTS, Rule::ForgetByGeneration, Broken::RanTwice);
}

#[test]
fn running_two_tasks_of_a_resource_at_once_lets_the_undo_overtake() {
    dropped(TWO_ACTS, Rule::OneAtATime, Broken::LateEffect);
}

#[test]
fn dropping_the_second_look_lets_a_waiting_command_act_below_the_floor() {
    dropped(LOST_HOST, Rule::LookAgain, Broken::LateEffect);
}

#[test]
fn dropping_the_floor_lets_a_given_up_flow_act_on_a_host_that_came_back() {
    dropped(LOST_HOST, Rule::RaiseFloor, Broken::WrongOutcome);
}

#[test]
fn a_floor_that_does_not_wait_lets_a_running_command_act_below_it() {
    dropped(LOST_HOST, Rule::FloorWaits, Broken::LateEffect);
}

#[test]
fn one_controller_at_a_time_believes_that_its_lease_holds() {
    let report = search(&mut Leases::new(Rules::all()), None);
    println!("{report}\n{:?}", report.fired);
    assert!(report.counterexample.is_none(), "{report}");
    assert!(report.states >= 200_000, "only {} states", report.states);
    report.assert_fired(&["Tick", "Lag", "Ask", "Grant", "Hear", "Adopt", "Stop", "Resume", "Crash"]);
}

#[test]
fn dropping_any_rule_of_leases_lets_two_controllers_act() {
    let rules = [
        Rule::ExpiryByDatabase,
        Rule::ActUnderLease,
        Rule::TrustFromStart,
        Rule::Margin,
        Rule::ForgetWhenLost,
    ];
    for rule in rules {
        println!("{rule:?}");
        breaks(&search(&mut Leases::new(Rules::all().without(rule)), None), Broken::TwoActors);
    }
}
