//! A short run of the chaos program: every promise is kept under some faults of every kind.

use cumulet_tests::lab::program::command;
use cumulet_tests::target;

#[test]
fn what_was_promised_is_true_after_a_minute_of_faults() {
    let dir = target().join("chaos-short");
    let fixed = ["--minutes", "1.1", "--seed", "1", "--lease", "3000", "--dir"].map(str::to_owned);
    let args = fixed.into_iter().chain([dir.to_string_lossy().into_owned()]);
    let program = target().join("debug/chaos");
    let output = command(&program.to_string_lossy(), args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let summary = said.lines().last().unwrap_or_default();
    assert!(summary.contains("findings: 0"), "{summary}");
}
