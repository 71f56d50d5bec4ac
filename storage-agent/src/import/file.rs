//! Imports from a directory of this machine, where the configuration allows it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tokio_util::io::ReaderStream;

use super::sink::{Sink, pour};
use super::{Error, Import};
use crate::blocking;

const CHUNK: usize = 1 << 20;

pub(super) async fn fetch(import: &mut Import<'_>, mut sink: Sink, path: PathBuf) -> Result<Sink, Error> {
    sink.restart()?;
    let (dirs, named) = (import.rules.import_dirs.clone(), path.clone());
    let (file, length) = blocking(move || open_within(&named, &dirs)).await?;
    import.expect(length, 0).await?;
    let mut chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
    let (sink, poured) = pour(sink, &mut chunks).await;
    poured?;
    match sink.length() == length {
        true => Ok(sink),
        false => Err(Error::File { path, reason: "it changed while it was read".into() }),
    }
}

/// Opens a regular file that really lies below one of `dirs`: asked of the open file, so that no link
/// can be changed in between.
fn open_within(path: &Path, dirs: &[PathBuf]) -> Result<(File, u64), Error> {
    let refuse = |reason: String| Error::File { path: path.to_owned(), reason };
    let dirs: Vec<PathBuf> = dirs.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
    let below = |real: &Path| dirs.iter().any(|dir| real.starts_with(dir));
    let outside = || refuse("it is not below any of import-dirs in the agent's configuration".into());
    // Before anything is opened: opening a device acts upon it. What is outside is never said to exist.
    let real = path
        .canonicalize()
        .map_err(|error| if lexically_below(path, &dirs) { refuse(error.to_string()) } else { outside() })?;
    if !below(&real) {
        return Err(outside());
    }
    let file = host::file::open_plainly(&real).map_err(|error| refuse(error.to_string()))?;
    let found = file.metadata().map_err(|error| refuse(error.to_string()))?;
    let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if !below(&opened.map_err(|error| refuse(error.to_string()))?) {
        return Err(outside());
    }
    match found.is_file() {
        true => Ok((file, found.len())),
        false => Err(refuse("it is not a regular file".into())),
    }
}

fn lexically_below(path: &Path, dirs: &[PathBuf]) -> bool {
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    plain && dirs.iter().any(|dir| path.starts_with(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(path: &Path, dir: &Path) -> Result<u64, String> {
        let opened = open_within(path, &[dir.to_owned(), "/no/such/dir".into()]);
        opened.map(|(_, length)| length).map_err(|error| error.to_string())
    }

    #[test]
    fn only_regular_files_below_an_import_dir_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir_all(inside.join("deep")).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        std::fs::write(inside.join("deep/image"), "bits").unwrap();
        symlink(&outside, inside.join("escape")).unwrap();
        symlink("deep/image", inside.join("link")).unwrap();
        nix::unistd::mkfifo(&inside.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        assert_eq!(open(&inside.join("deep/image"), &inside), Ok(4));
        assert_eq!(open(&inside.join("link"), &inside), Ok(4));
        for path in ["../out", "escape", "/etc/shadow", "/no/such/file"] {
            assert!(open(&inside.join(path), &inside).unwrap_err().contains("import-dirs"), "{path}");
        }
        for path in ["fifo", "deep"] {
            assert!(open(&inside.join(path), &inside).unwrap_err().contains("not a regular file"), "{path}");
        }
        assert!(open(&inside.join("none"), &inside).unwrap_err().contains("No such file"));
        assert!(open_within(&inside.join("deep/image"), &[]).is_err());
    }
}
