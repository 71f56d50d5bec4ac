//! The screen of a running VM, in a browser.
//!
//! A ticket is 256 random bits that two programs are told: the kvm-agent of the VM's host, which lets one
//! viewer with it through to the screen, and the console proxy, which serves the page and relays to that
//! host. Both keep it in memory only and forget it when it is used or its time is over.

mod api;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::Result;
use engine::module::Module;
use engine::setting::{AnySetting, Setting, number};

pub(crate) const TOKEN_TIMEOUT: Setting<Duration> = Setting {
    category: "console",
    name: "proxy.tokenTimeout",
    default: "600",
    help: "how long a console's address may be opened after it was asked for, seconds (60 to 86400)",
    read: span,
};
pub(crate) const IDLE_TIMEOUT: Setting<Duration> = Setting {
    category: "console",
    name: "proxy.idleTimeout",
    default: "3600",
    help: "a console over which nothing passes for so long is closed, seconds (60 to 86400)",
    read: span,
};

fn span(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(number::<60, 86_400>(text)?.unsigned_abs()))
}

const SETTINGS: &[AnySetting] = &[
    TOKEN_TIMEOUT.entry(|text| TOKEN_TIMEOUT.accepts(text)).within(60, 86_400),
    IDLE_TIMEOUT.entry(|text| IDLE_TIMEOUT.accepts(text)).within(60, 86_400),
];

pub fn module() -> Module {
    Module::new("console").api::<api::RequestConsoleAccess>().settings(SETTINGS)
}
