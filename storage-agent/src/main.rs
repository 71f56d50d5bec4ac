//! `cumulet-storage-agent`: see the library's documentation.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use storage_agent::config::{Config, Listen};
use tokio::net::TcpListener;

/// Keeps images for a Cumulet cloud.
#[derive(Parser)]
#[command(name = "cumulet-storage-agent", version)]
struct Args {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serves without TLS and without authentication at this address; port 7171 when none is named.
    #[arg(long, value_name = "ADDRESS")]
    plain_listen: Option<Listen>,
    /// Keeps the task journal; one agent at a time.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    wire::agent::main_setup();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    config.plain_listen = args.plain_listen.or(config.plain_listen);
    config.state_dir = args.state_dir.unwrap_or(config.state_dir);
    let Some(listen) = config.plain_listen else {
        return Err("nothing to listen on: name an address with --plain-listen or plain-listen".into());
    };
    let listener = TcpListener::bind(listen.0).await;
    let listener = listener.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    tracing::warn!(%listen, "serving without TLS and without authentication");
    storage_agent::serve(config, listener, wire::agent::shutdown_signal()).await?;
    Ok(())
}
