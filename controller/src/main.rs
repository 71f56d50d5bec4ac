//! `cumulet-controller`, as it is in the tree; `docs/plugins.md` says how to make one with plugins.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cumulet_controller::program(Vec::new()).await
}
