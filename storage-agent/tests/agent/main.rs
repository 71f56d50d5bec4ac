//! The agent as its peers see it: commands and plain HTTP, against hostile sources.

mod delivery;
mod imports;
mod lab;
mod redirects;
mod restarts;
mod site;
mod uploads;
