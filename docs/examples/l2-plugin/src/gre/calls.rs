//! What the agent is told.

use serde::{Deserialize, Serialize};
use wire::{Call, Effect, Mode};

/// Makes the bridge of a network; succeeds when it is there.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateBridge {
    pub bridge_name: String,
    pub key: i64,
    pub l2_network_uuid: String,
}

/// Takes it away; succeeds when it is gone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBridge {
    pub bridge_name: String,
}

/// Has a tunnel ready for a VM, or none any more.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetTunnel {
    pub vm_uuid: String,
    pub wanted: bool,
}

/// Whether the daemon runs that keeps the tunnels.
#[derive(Serialize, Deserialize)]
pub struct CheckDaemon {}

#[derive(Default, Serialize, Deserialize)]
pub struct Done {}

#[derive(Default, Serialize, Deserialize)]
pub struct DaemonState {
    pub running: bool,
}

impl Call for CreateBridge {
    const PATH: &'static str = "/network/l2gre/createbridge";
    const MODE: Mode = Mode::Async;
    const EFFECT: Effect = Effect::Acts;
    type Reply = Done;
}

impl Call for DeleteBridge {
    const PATH: &'static str = "/network/l2gre/deletebridge";
    const MODE: Mode = Mode::Async;
    const EFFECT: Effect = Effect::Acts;
    type Reply = Done;
}

impl Call for SetTunnel {
    const PATH: &'static str = "/network/l2gre/tunnel";
    const MODE: Mode = Mode::Async;
    const EFFECT: Effect = Effect::Acts;
    type Reply = Done;
}

impl Call for CheckDaemon {
    const PATH: &'static str = "/network/l2gre/daemon";
    const MODE: Mode = Mode::Sync;
    const EFFECT: Effect = Effect::Reads;
    type Reply = DaemonState;
}
