//! What the agent half takes from the machine below it. Tests put faults in its place.

use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine an agent runs on.
pub struct Machine {
    /// Another one means that the machine was started anew, and everything that ran is gone.
    pub boot_id: String,
    pub disk: Box<dyn Disk>,
}

/// How the journal is written.
pub trait Disk: Send + 'static {
    /// Appends all of `bytes`.
    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Makes durable what was appended.
    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

struct Plain;

impl Disk for Plain {}

impl Machine {
    /// This machine.
    pub fn here() -> io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Machine { boot_id, disk: Box::new(Plain) })
    }
}

/// Unix time in milliseconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
