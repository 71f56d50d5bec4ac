//! Takes an image's bits: judges the first of them, hashes and writes all, inspects the whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use host::qcow2::{self, ENOUGH_TO_JUDGE, Format, ImageHeader};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::writeback::Writeback;
use super::{Error, Progress};
use crate::blocking;

/// Chunks between the network and the disk.
const AHEAD: usize = 16;

pub struct Sink {
    file: File,
    writeback: Writeback,
    path: PathBuf,
    limits: Limits,
    progress: Arc<Progress>,
    length: u64,
    md5: Md5,
    sha256: Sha256,
    /// The first bytes, until they are enough to be judged.
    start: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub most: u64,
    pub format: Option<Format>,
}

/// An accepted image, on the disk for good.
pub struct Bits {
    pub length: u64,
    pub md5: String,
    pub sha256: String,
    pub header: ImageHeader,
}

impl Sink {
    /// Continues after the bytes that are in the file already.
    pub fn open(path: PathBuf, limits: Limits, progress: Arc<Progress>) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(Error::disk("open", &path))?;
        let (md5, sha256, start) = (Md5::new(), Sha256::new(), Some(Vec::new()));
        let writeback = Writeback::default();
        let mut sink = Sink { file, writeback, path, limits, progress, length: 0, md5, sha256, start };
        sink.read_again()?;
        Ok(sink)
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Forgets all bytes.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.writeback = Writeback::default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(Error::disk("truncate", &self.path))?;
        (self.md5, self.sha256, self.start) = (Md5::new(), Sha256::new(), Some(Vec::new()));
        self.take(0);
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.admit(bytes)?;
        self.file.write_all(bytes).map_err(Error::disk("write", &self.path))?;
        self.take(self.length + bytes.len() as u64);
        self.writeback.reach(&self.file, self.length).map_err(Error::disk("sync", &self.path))
    }

    /// Syncs and inspects the whole.
    pub fn finish(mut self) -> Result<Bits, Error> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            self.judge(&start)?;
        }
        let synced = self.writeback.wait().and_then(|()| self.file.sync_all());
        synced.map_err(Error::disk("sync", &self.path))?;
        let header = qcow2::inspect_from(&mut self.file)?;
        self.check_format(header.format)?;
        let (md5, sha256) = (hex::encode(self.md5.finalize()), hex::encode(self.sha256.finalize()));
        Ok(Bits { length: self.length, md5, sha256, header })
    }

    fn read_again(&mut self) -> Result<(), Error> {
        let mut chunk = vec![0; 1 << 20];
        loop {
            let length = self.file.read(&mut chunk).map_err(Error::disk("read", &self.path))?;
            if length == 0 {
                break;
            }
            self.admit(&chunk[..length])?;
            self.take(self.length + length as u64);
        }
        self.file.seek(SeekFrom::Start(self.length)).map_err(Error::disk("seek", &self.path))?;
        Ok(())
    }

    fn admit(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.length + bytes.len() as u64 > self.limits.most {
            return Err(Error::TooLarge(self.limits.most));
        }
        if let Some(mut start) = self.start.take() {
            start.extend_from_slice(&bytes[..bytes.len().min(ENOUGH_TO_JUDGE - start.len())]);
            match start.len() < ENOUGH_TO_JUDGE {
                true => self.start = Some(start),
                false => self.judge(&start)?,
            }
        }
        self.md5.update(bytes);
        self.sha256.update(bytes);
        Ok(())
    }

    fn take(&mut self, length: u64) {
        self.length = length;
        self.progress.reach(length);
    }

    fn judge(&self, start: &[u8]) -> Result<(), Error> {
        self.check_format(qcow2::inspect_start(start)?)
    }

    fn check_format(&self, found: Format) -> Result<(), Error> {
        match self.limits.format {
            Some(named) if named != found => Err(Error::OtherFormat { named, found }),
            _ => Ok(()),
        }
    }
}

/// Lets a stream run into the sink until it ends, breaks, or is refused. An error of the sink goes
/// before one of the stream.
pub async fn pour<E: ToString>(
    mut sink: Sink,
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> (Sink, Result<(), Error>) {
    let (feed, mut chunks) = mpsc::channel::<Bytes>(AHEAD);
    let writing = pin!(blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            if let Err(error) = sink.write(&chunk) {
                return (sink, Err(error));
            }
        }
        (sink, Ok(()))
    }));
    let feeding = async move {
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk,
                // Refused: what is still to come may never come.
                () = feed.closed() => None,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            let chunk = chunk.map_err(|error| error.to_string())?;
            if feed.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let (fed, (sink, written)) = tokio::join!(feeding, writing);
    let received = sink.length();
    (sink, written.and(fed.map_err(|reason| Error::Broken { received, reason })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: u64) -> Limits {
        Limits { most, format: None }
    }

    fn sink(path: &std::path::Path, most: u64) -> Sink {
        Sink::open(path.to_owned(), limits(most), Arc::default()).unwrap()
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let file = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut sink = Sink { file, ..sink(&dir.path().join("image"), 1 << 20) };
        assert!(matches!(sink.write(b"x"), Err(Error::Full)));
    }

    #[test]
    fn a_continued_sink_hashes_as_an_uninterrupted_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let bits = vec![7; 200_000];
        let mut first = sink(&path, 1 << 20);
        first.write(&bits[..70_000]).unwrap();
        drop(first);
        let mut second = sink(&path, 1 << 20);
        assert_eq!(second.length(), 70_000);
        second.write(&bits[70_000..]).unwrap();
        let found = second.finish().unwrap();
        assert_eq!((found.length, found.sha256), (200_000, hex::encode(Sha256::digest(&bits))));
        assert_eq!(found.md5, hex::encode(Md5::digest(&bits)));
        assert_eq!(std::fs::read(&path).unwrap(), bits);
    }

    #[test]
    fn a_restarted_sink_knows_nothing_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut sink = sink(&path, 1 << 20);
        sink.write(&[1; 100_000]).unwrap();
        sink.restart().unwrap();
        sink.write(b"short").unwrap();
        let found = sink.finish().unwrap();
        assert_eq!((found.length, found.sha256), (5, hex::encode(Sha256::digest(b"short"))));
    }

    #[test]
    fn a_hostile_start_is_refused_before_the_rest_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = sink(&dir.path().join("image"), u64::MAX);
        let mut start = vec![0; ENOUGH_TO_JUDGE];
        start[..4].copy_from_slice(b"KDMV");
        assert!(sink.write(&start[..ENOUGH_TO_JUDGE - 1]).is_ok());
        assert!(matches!(sink.write(b"x"), Err(Error::Refused(_))));
    }

    #[tokio::test]
    async fn no_byte_beyond_the_limit_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let chunk = || Ok::<_, String>(Bytes::from(vec![1; 1000]));
        let mut stream = futures::stream::repeat_with(chunk).take(20);
        let (sink, ended) = pour(sink(&path, 4500), &mut stream).await;
        assert!(matches!(ended, Err(Error::TooLarge(4500))));
        assert_eq!(sink.length(), 4000);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4000);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_keeps_what_came() {
        let dir = tempfile::tempdir().unwrap();
        let chunks = [Ok(Bytes::from_static(b"abc")), Err("reset")];
        let (sink, ended) =
            pour(sink(&dir.path().join("image"), 100), &mut futures::stream::iter(chunks)).await;
        assert!(matches!(ended, Err(Error::Broken { received: 3, reason }) if reason == "reset"));
        assert_eq!(sink.length(), 3);
    }
}
