//! `cumulet-storage-agent`: see the library's documentation.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use storage_agent::config::{Config, Listen};
use wire::tls::Command;

/// Keeps images for a Cumulet cloud.
#[derive(Parser)]
#[command(name = "cumulet-storage-agent", version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This machine's identity, which enrol makes; by default /var/lib/cumulet/tls.
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Serves without TLS and without authentication at this address; port 7171 when none is named.
    #[arg(long, value_name = "ADDRESS")]
    plain_listen: Option<Listen>,
    /// Keeps the task journal; one agent at a time.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(command) = &args.command {
        return command.execute();
    }
    wire::agent::main_setup();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    config.plain_listen = args.plain_listen.or(config.plain_listen);
    config.state_dir = args.state_dir.unwrap_or(config.state_dir);
    config.tls_dir = args.tls_dir.unwrap_or(config.tls_dir);
    let door = config.entrance().open()?;
    let listener = wire::agent::bind(door.address()).await?;
    storage_agent::serve(config, listener, door.live().cloned(), wire::agent::shutdown_signal()).await?;
    Ok(())
}
