//! An agent whose operations do nothing: what the wire itself costs.
//!
//! `null_agent ADDRESS STATE_DIR` serves `/null/look` (not journalled) and `/null/act` (journalled).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::agent::{Agent, Cx, Routes};
use wire::calls::Done;
use wire::tls::Door;
use wire::{Call, Effect, Fault, Mode};

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Look {}

impl Call for Look {
    const PATH: &'static str = "/null/look";
    const MODE: Mode = Mode::Async;
    const EFFECT: Effect = Effect::Reads;
    type Reply = Done;
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Act {}

impl Call for Act {
    const PATH: &'static str = "/null/act";
    const MODE: Mode = Mode::Async;
    const EFFECT: Effect = Effect::Acts;
    type Reply = Done;
}

async fn look(_: Cx<()>, _: Look) -> Result<Done, Fault> {
    Ok(Done {})
}

async fn act(_: Cx<()>, _: Act) -> Result<Done, Fault> {
    Ok(Done {})
}

#[tokio::main]
async fn main() -> io::Result<()> {
    wire::agent::main_setup();
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(state_dir)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: null_agent ADDRESS STATE_DIR"));
    };
    let listen = address.parse().map_err(io::Error::other)?;
    let agent = Agent { name: "null-agent", state_dir: PathBuf::from(state_dir), again: false };
    let routes = Routes::new(Arc::new(())).on(look).on(act);
    agent.serve(&Door::Plain(listen), routes, wire::agent::shutdown_signal()).await
}
