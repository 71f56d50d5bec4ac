//! `cumulet-console-proxy`: the browsers' front door on one port, the controller's on another.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use console_proxy::config::Config;
use console_proxy::console::{self, Consoles};
use console_proxy::front::{self, Front};
use console_proxy::tickets::Tickets;
use tokio::net::TcpListener;
use wire::agent::{Agent, Routes};

fn main() -> ExitCode {
    let config = match Config::from_args() {
        Ok(config) => config,
        Err(command) => return command.execute(),
    };
    wire::agent::main_setup();
    match config.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = wire::agent::shutdown_signal();
    let door = config.entrance().open()?;
    let tickets = Arc::new(Tickets::default());
    let listener = TcpListener::bind(config.web_listen).await;
    let listener =
        listener.with_context(|| format!("cannot listen for browsers on {}", config.web_listen))?;
    let port = listener.local_addr()?.port();
    tracing::info!(address = %listener.local_addr()?, "browsers are served");
    let front = Front {
        tickets: tickets.clone(),
        allowed_origins: config.allowed_origins,
        live: door.live().cloned(),
        shutdown: shutdown.clone(),
    };
    let agent = Agent { name: "cumulet-console-proxy", state_dir: config.state_dir, again: false };
    let routes = console::routes(Routes::new(Arc::new(Consoles { tickets, port })));
    let stop = shutdown.clone();
    let commands = async {
        let ended = agent.serve(&door, routes, shutdown).await;
        stop.cancel();
        ended
    };
    let (commands, browsers) = tokio::join!(commands, front::serve(listener, front));
    commands.context("cannot serve commands")?;
    browsers.context("cannot serve browsers")
}
