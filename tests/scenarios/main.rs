//! A real controller process, simulated hosts on the real wire, and faults.

mod cancel;
mod cascade;
mod chaos;
mod controllers;
mod crash;
mod doors;
mod drift;
mod errors;
mod secrecy;
mod site;
mod sweep;
mod tags;
mod tenants;
