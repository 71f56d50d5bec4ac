//! A host for unit tests: libvirt's test driver, state in a directory of the test's own.

use std::path::Path;
use std::sync::Arc;

use wire::agent::Cx;
use wire::tls::Door;

use crate::config::Config;
use crate::state::Host;

/// The test driver's domains are shared by all tests of the process: name yours by a uuid of your own.
pub fn host(state_dir: &Path) -> Cx<Host> {
    let config = Config {
        libvirt_uri: "test:///default".into(),
        state_dir: state_dir.to_owned(),
        ..Config::default()
    };
    Cx::detached(Arc::new(Host::open(&config, &door()).unwrap()))
}

/// A plain one that nobody listens at.
pub fn door() -> Door {
    Door::Plain(([127, 0, 0, 1], 0).into())
}
