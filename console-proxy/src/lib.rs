//! The console proxy: shows VMs' screens in a browser.
//!
//! The controller makes a ticket for one VM's screen ([`console`]); a browser that has it loads the viewer
//! and is relayed to the screen, once ([`front`]). Tickets live in memory ([`tickets`]): a restart voids
//! them and cuts every viewer off, and no more.

mod assets;
pub mod config;
pub mod console;
pub mod front;
mod relay;
mod target;
pub mod tickets;
