//! Counting tests: what nextest and cargo's own test runner say at their end.

use std::fmt;
use std::ops::AddAssign;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Count {
    pub fn all(self) -> u64 {
        self.passed + self.failed
    }

    /// What a line says; most lines say nothing. An indented `test result` is nextest quoting a test that
    /// it has counted itself.
    pub fn of(line: &str) -> Self {
        let own = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "));
        let summary =
            || line.trim_start().strip_prefix("Summary [").and_then(|rest| rest.split_once(" run: "));
        let Some((_, numbers)) = own.or_else(summary) else {
            return Self::default();
        };
        let mut count = Self::default();
        for part in numbers.split([',', ';', '(']) {
            count.add(part.trim());
        }
        count
    }

    fn add(&mut self, part: &str) {
        let mut words = part.split(' ');
        let Some(number) = words.next().and_then(|number| number.parse::<u64>().ok()) else { return };
        match words.next().unwrap_or_default().trim_end_matches(')') {
            "passed" => self.passed += number,
            "failed" | "timed" | "exec" => self.failed += number,
            "skipped" | "ignored" => self.skipped += number,
            _ => {}
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(passed: u64, failed: u64, skipped: u64) -> Count {
        Count { passed, failed, skipped }
    }

    #[test]
    fn the_summary_of_nextest_is_read() {
        let line = "     Summary [   5.378s] 20 tests run: 17 passed (2 slow, 1 flaky), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(Count::of(line), count(17, 3, 4));
        assert_eq!(Count::of("     Summary [   0.1s] 1 test run: 1 passed, 0 skipped"), count(1, 0, 0));
    }

    #[test]
    fn the_result_line_of_the_standard_runner_is_read() {
        let line =
            "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 1s";
        assert_eq!(Count::of(line), count(5, 1, 2));
    }

    #[test]
    fn other_lines_count_nothing() {
        let quoted = "    test result: FAILED. 0 passed; 1 failed; 0 ignored";
        for line in ["running 3 tests", "        PASS [   0.005s] a::b", "3 passed", quoted] {
            assert_eq!(Count::of(line), Count::default(), "{line}");
        }
    }
}
