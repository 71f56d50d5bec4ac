//! Sends a growing file to the disk while it grows, so that the last sync has little left to do and the
//! machine's memory does not fill with what is not written yet.

use std::fs::File;
use std::io;
use std::thread::JoinHandle;

/// Bytes between two syncs.
const STRIDE: u64 = 64 << 20;

/// At most one sync at a time, on a thread of its own. An error of any is an error of the file.
#[derive(Default)]
pub struct Writeback {
    begun: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Writeback {
    /// Call it as the file grows.
    pub fn reach(&mut self, file: &File, length: u64) -> io::Result<()> {
        if length < self.begun.saturating_add(STRIDE) {
            return Ok(());
        }
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return Ok(());
        }
        self.wait()?;
        self.begun = length;
        let file = file.try_clone()?;
        self.running =
            Some(std::thread::Builder::new().name("writeback".into()).spawn(move || file.sync_data())?);
        Ok(())
    }

    /// The outcome of what is under way.
    pub fn wait(&mut self) -> io::Result<()> {
        let running = self.running.take();
        running.map_or(Ok(()), |running| running.join().map_err(|_| io::Error::other("the sync panicked"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_runs_once_per_stride_and_its_failure_is_told() {
        let file = tempfile::tempfile().unwrap();
        let mut writeback = Writeback::default();
        writeback.reach(&file, STRIDE - 1).unwrap();
        assert!(writeback.running.is_none());
        writeback.reach(&file, STRIDE).unwrap();
        assert!(writeback.running.is_some());
        writeback.wait().unwrap();
        // A pipe cannot be synced.
        let (_, pipe) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        writeback.reach(&pipe, STRIDE + 1).unwrap();
        assert!(writeback.running.is_none(), "not before the next stride");
        writeback.reach(&pipe, 2 * STRIDE).unwrap();
        assert!(writeback.wait().is_err());
    }
}
