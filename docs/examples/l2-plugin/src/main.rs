//! A controller that knows GRE networks.

mod gre;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cumulet_controller::program(vec![gre::module()]).await
}
