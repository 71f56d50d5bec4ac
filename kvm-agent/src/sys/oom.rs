//! Whom the kernel kills first when memory is short.

use std::fs;
use std::io;

use nix::unistd::Pid;

pub fn set_score(pid: Pid, score: i32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
}
