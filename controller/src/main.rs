//! `cumulet-controller`: reads its configuration and serves until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cumulet_controller::Controller;
use cumulet_controller::config::Config;

/// Keeps the metadata of the cloud and drives the agents.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The configuration file (TOML).
    #[arg(long, default_value = "/etc/cumulet/controller.toml")]
    config: PathBuf,
    /// Print what the controller is made of, resource by resource, and stop.
    #[arg(long)]
    wiring: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.wiring {
        print!("{}", cumulet_controller::modules::wiring());
        return ExitCode::SUCCESS;
    }
    wire::agent::main_setup();
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cumulet-controller: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> engine::Result<()> {
    let config = Config::read(&args.config)?;
    let controller = Controller::start(config, wire::agent::shutdown_signal()).await?;
    tracing::info!(address = %controller.address, agents = %controller.agents, "the API is served");
    controller.ended().await;
    Ok(())
}
