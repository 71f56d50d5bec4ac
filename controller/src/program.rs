//! The program: reads its configuration and serves until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::module::Module;

use crate::config::Config;
use crate::{Controller, Extra, modules};

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
    /// Print the API as an OpenAPI document, and stop.
    #[arg(long)]
    openapi: bool,
}

/// The whole program, with the modules of other crates: what a `main` calls.
pub async fn program(plugins: Vec<Module>) -> ExitCode {
    let args = Args::parse();
    let done = if args.wiring {
        modules::wiring(plugins).map(|wiring| print!("{wiring}"))
    } else if args.openapi {
        print!("{}", modules::openapi(&plugins));
        Ok(())
    } else {
        wire::agent::main_setup();
        serve(args, plugins).await
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cumulet-controller: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args, plugins: Vec<Module>) -> engine::Result<()> {
    let config = Config::read(&args.config)?;
    let extra = Extra { plugins, ..Extra::default() };
    let controller = Controller::start_with(config, wire::agent::shutdown_signal(), extra).await?;
    tracing::info!(address = %controller.address, agents = %controller.agents, "the API is served");
    controller.ended().await;
    Ok(())
}

#[cfg(test)]
mod tests;
