//! A real controller process, simulated hosts on the real wire, and faults.

mod chaos;
mod controllers;
mod crash;
mod doors;
mod errors;
mod site;
mod sweep;
