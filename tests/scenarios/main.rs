//! A real controller process, simulated hosts on the real wire, and faults.

mod crash;
mod doors;
mod errors;
mod secrecy;
mod site;
mod sweep;
