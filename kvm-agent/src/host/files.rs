//! Files of the host that are no volumes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::machine::{CheckFile, DeviceCapacity, FilesChecked, GetDeviceCapacity};

use crate::state::Host;

/// Which of the paths are there; sums are of plain files only.
pub async fn check_file(cx: Cx<Host>, cmd: CheckFile) -> Result<FilesChecked, Fault> {
    let paths = cmd.paths.iter().map(|path| absolute(path, "paths")).collect::<Result<Vec<_>, _>>()?;
    let (stop, stopped) = (cx.superseded().clone(), cx.stopped());
    tokio::task::spawn_blocking(move || {
        let mut exist_paths = BTreeMap::new();
        for path in paths.into_iter().filter(|path| path.exists()) {
            let sum = if cmd.md5_return { sum(&path, || stop.is_cancelled())? } else { Some(String::new()) };
            let Some(sum) = sum else { return Err(stopped) };
            exist_paths.insert(path.to_string_lossy().into_owned(), sum);
        }
        Ok(FilesChecked { exist_paths })
    })
    .await?
}

pub async fn device_capacity(_: Cx<Host>, cmd: GetDeviceCapacity) -> Result<DeviceCapacity, Fault> {
    let dir = absolute(&cmd.dir_path, "dirPath")?;
    tokio::task::spawn_blocking(move || {
        let missing = |error| Fault::new(format!("dirPath {dir:?}: {error}"));
        let space = host::file::space(&dir).map_err(missing)?;
        let dir_size = size_of(&dir).map_err(missing)?;
        Ok(DeviceCapacity { total_size: space.total, available_size: space.available, dir_size })
    })
    .await?
}

fn absolute(path: &str, member: &str) -> Result<PathBuf, Fault> {
    if Path::new(path).is_absolute() && !path.bytes().any(|byte| byte == 0) {
        return Ok(path.into());
    }
    Err(Fault::new(format!("{member}: {path:?} is not absolute")))
}

/// `None` when it was stopped.
fn sum(path: &Path, stop: impl Fn() -> bool) -> io::Result<Option<String>> {
    if !path.metadata()?.is_file() {
        return Ok(Some(String::new()));
    }
    let (mut file, mut hash, mut piece) = (File::open(path)?, Md5::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Some(hex::encode(hash.finalize()))),
            _ if stop() => return Ok(None),
            length => hash.update(&piece[..length]),
        }
    }
}

/// What all in it takes on the disk it lies on; other file systems below are not its own.
fn size_of(dir: &Path) -> io::Result<u64> {
    let (mut size, mut dirs, device) = (0, vec![dir.to_owned()], fs::metadata(dir)?.dev());
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            // Something may go while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() && found.dev() == device {
                dirs.push(entry.path());
            }
            size += found.blocks() * 512;
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn a_file_is_told_with_its_sum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        fs::write(&path, "abc").unwrap();
        let (cx, paths) = (host(&dir.path().join("state")), vec![path.clone(), "/no/such".into()]);
        let asked = CheckFile { paths, md5_return: true };
        let found = check_file(cx.clone(), asked).await.unwrap().exist_paths;
        assert_eq!(found, BTreeMap::from([(path, "900150983cd24fb0d6963f7d28e17f72".into())]));
        let odd = CheckFile { paths: vec!["etc/passwd".into()], md5_return: false };
        assert!(check_file(cx, odd).await.unwrap_err().error.starts_with("paths: "));
    }

    #[tokio::test]
    async fn a_directory_is_as_large_as_what_lies_in_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/a"), vec![1; 1 << 20]).unwrap();
        let cx = host(&dir.path().join("state"));
        let asked = GetDeviceCapacity { dir_path: dir.path().to_str().unwrap().to_owned() };
        let found = device_capacity(cx, asked).await.unwrap();
        assert!((1 << 20..2 << 20).contains(&found.dir_size), "{found:?}");
        assert!(found.total_size >= found.available_size && found.available_size > 0);
    }
}
