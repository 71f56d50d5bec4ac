//! Makes and changes disk images by `qemu-img`. Every call names the format of every image it opens, so
//! that nothing is ever guessed from contents that a guest or a stranger wrote.
//!
//! Paths must be absolute: `qemu-img` reads a relative one with a colon as a protocol. None of these
//! calls is atomic; whoever must survive a crash makes the image under another name and renames it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{self, Program, program};
use crate::qcow2::Format;

const LIMIT: Duration = Duration::from_secs(120);
/// For what copies or walks a whole image.
const LONG: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("path {0:?} is not absolute")]
    Relative(PathBuf),
    #[error("cannot read what qemu-img says of {path:?}: {source}")]
    Answer { path: PathBuf, source: serde_json::Error },
    #[error("image {path:?} cannot shrink from {from} to {to} bytes: the end of its data would be lost")]
    Shrinks { path: PathBuf, from: u64, to: u64 },
    #[error("cannot read {path:?}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// Sizes of an image, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Info {
    pub virtual_size: u64,
    /// What it takes on the disk.
    pub actual_size: u64,
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Check {
    pub corruptions: u64,
    pub leaks: u64,
    pub check_errors: u64,
}

/// A copy into another file, flattened.
#[derive(Clone, Copy, Debug)]
pub struct Convert<'a> {
    pub from: &'a Path,
    pub from_format: Format,
    pub to: &'a Path,
    pub to_format: Format,
    /// Compresses the clusters; qcow2 only.
    pub compress: bool,
}

/// An empty image of `size` bytes. Overwrites what is there.
pub async fn create(path: &Path, format: Format, size: u64) -> Result<(), Error> {
    qemu_img("create")
        .args(["-q", "-f", format.driver()])
        .arg(absolute(path)?)
        .arg(size.to_string())
        .run()
        .await?;
    Ok(())
}

/// An empty qcow2 image that shows `backing` until it is written to; as large as `backing` when no size
/// is named. Overwrites what is there.
pub async fn create_overlay(
    path: &Path,
    backing: &Path,
    backing_format: Format,
    size: Option<u64>,
) -> Result<(), Error> {
    let size = size.map(|size| size.to_string());
    qemu_img("create")
        .args(["-q", "-f", "qcow2", "-F", backing_format.driver(), "-b"])
        .arg(absolute(backing)?)
        .arg(absolute(path)?)
        .args(size)
        .run()
        .await?;
    Ok(())
}

/// The sizes of an image; of one that a guest has open, too.
pub async fn info(path: &Path, format: Format) -> Result<Info, Error> {
    let info = qemu_img("info").args(["-U", "--output=json", "-f", format.driver()]);
    let answer = info.arg(absolute(path)?).run().await?;
    serde_json::from_slice(&answer).map_err(|source| Error::Answer { path: path.to_owned(), source })
}

/// Grows an image that nobody has open. Succeeds when it has that size already; never shrinks.
pub async fn resize(path: &Path, format: Format, size: u64) -> Result<(), Error> {
    let now = info(path, format).await?.virtual_size;
    if now > size {
        return Err(Error::Shrinks { path: path.to_owned(), from: now, to: size });
    }
    if now < size {
        let resize = qemu_img("resize").args(["-q", "-f", format.driver()]);
        resize.arg(absolute(path)?).arg(size.to_string()).run().await?;
    }
    Ok(())
}

/// Copies an image into a new one; tells its percentage as it goes.
pub async fn convert(job: Convert<'_>, mut progress: impl FnMut(f32)) -> Result<(), Error> {
    let mut convert = qemu_img("convert").args(["-p", "-f", job.from_format.driver()]);
    convert = convert.args(["-O", job.to_format.driver()]).limit(LONG);
    if job.compress {
        convert = convert.arg("-c");
    }
    let mut meter = Meter::default();
    let convert = convert.arg(absolute(job.from)?).arg(absolute(job.to)?);
    convert.run_watched(|chunk| meter.feed(chunk).into_iter().for_each(&mut progress)).await?;
    Ok(())
}

/// Puts a qcow2 image that nobody has open on another one, or on nothing: what it would no longer show is
/// copied into it first, so that killed at any moment it shows the same as before.
pub async fn rebase(path: &Path, onto: Option<(&Path, Format)>) -> Result<(), Error> {
    let rebase = qemu_img("rebase").args(["-q", "-f", "qcow2"]).limit(LONG);
    let rebase = match onto {
        Some((base, format)) => rebase.args(["-F", format.driver(), "-b"]).arg(absolute(base)?),
        None => rebase.args(["-b", ""]),
    };
    rebase.arg(absolute(path)?).run().await?;
    Ok(())
}

/// Names another backing file in a qcow2 image; nothing is copied, so both must show the same.
pub async fn relink(path: &Path, base: &Path, format: Format) -> Result<(), Error> {
    let rebase = qemu_img("rebase").args(["-q", "-u", "-f", "qcow2", "-F", format.driver(), "-b"]);
    rebase.arg(absolute(base)?).arg(absolute(path)?).run().await?;
    Ok(())
}

/// How many bytes a copy of the image would take, at most.
pub async fn measure(path: &Path, format: Format) -> Result<u64, Error> {
    #[derive(serde::Deserialize)]
    struct Measured {
        required: u64,
    }
    let measure = qemu_img("measure").args(["-U", "--output=json", "-O", "qcow2"]).limit(LONG);
    let source = format!("driver={},file.driver=file,file.filename={}", format.driver(), option_value(path));
    let answer = measure.args(["--image-opts", &source]).run().await;
    let measured: Measured =
        serde_json::from_slice(&answer?).map_err(|source| Error::Answer { path: path.to_owned(), source })?;
    Ok(measured.required)
}

/// Walks an image's tables. Faults that it finds are an answer, not an error.
pub async fn check(path: &Path, format: Format) -> Result<Check, Error> {
    let check = qemu_img("check").args(["--output=json", "-f", format.driver()]).limit(LONG);
    // 2: corruptions, 3: leaks; both still answer.
    let answer = check.arg(absolute(path)?).run_accepting(&[2, 3]).await?;
    serde_json::from_slice(&answer).map_err(|source| Error::Answer { path: path.to_owned(), source })
}

/// Which one this is: `7.2.22` of `qemu-img version 7.2.22 (Debian …)`.
pub async fn version() -> Result<String, Error> {
    let told = program("qemu-img").arg("--version").limit(LIMIT).text().await?;
    Ok(told.split_ascii_whitespace().nth(2).unwrap_or_default().to_owned())
}

fn qemu_img(verb: &str) -> Program {
    program("qemu-img").arg(verb).limit(LIMIT)
}

/// A comma ends an option's value unless it is doubled.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn absolute(path: &Path) -> Result<&OsStr, Error> {
    if path.is_absolute() { Ok(path.as_os_str()) } else { Err(Error::Relative(path.to_owned())) }
}

/// Reads `    (12.34/100%)\r` out of pieces cut anywhere.
#[derive(Default)]
struct Meter {
    rest: String,
}

impl Meter {
    fn feed(&mut self, chunk: &[u8]) -> Vec<f32> {
        self.rest.push_str(&String::from_utf8_lossy(chunk));
        let mut found = Vec::new();
        while let Some(end) = self.rest.find("/100%)") {
            let number = self.rest[..end].rsplit('(').next().and_then(|number| number.parse::<f32>().ok());
            found.extend(number);
            self.rest.drain(..end + "/100%)".len());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qcow2;

    #[tokio::test]
    async fn an_overlay_names_its_backing_file_and_format() {
        let dir = tempfile::tempdir().unwrap();
        let (base, top) = (dir.path().join("base, with comma"), dir.path().join("top"));
        create(&base, Format::Raw, 1 << 20).await.unwrap();
        create_overlay(&top, &base, Format::Raw, Some(2 << 20)).await.unwrap();
        let header = qcow2::read_header(&top).unwrap();
        assert_eq!(header.virtual_size, 2 << 20);
        let backing = header.backing.unwrap();
        assert_eq!((backing.path, backing.format.as_deref()), (base, Some("raw")));
    }

    #[tokio::test]
    async fn an_image_grows_once_and_never_shrinks() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        create(&disk, Format::Qcow2, 1 << 20).await.unwrap();
        for _ in 0..2 {
            resize(&disk, Format::Qcow2, 3 << 20).await.unwrap();
        }
        assert_eq!(info(&disk, Format::Qcow2).await.unwrap().virtual_size, 3 << 20);
        assert!(matches!(resize(&disk, Format::Qcow2, 1 << 20).await, Err(Error::Shrinks { .. })));
    }

    #[tokio::test]
    async fn a_conversion_flattens_and_tells_its_progress() {
        let dir = tempfile::tempdir().unwrap();
        let [base, top, flat] = ["base", "top", "flat"].map(|name| dir.path().join(name));
        tokio::fs::write(&base, vec![7; 1 << 20]).await.unwrap();
        create_overlay(&top, &base, Format::Raw, None).await.unwrap();
        let mut seen = Vec::new();
        let job = Convert {
            from: &top,
            from_format: Format::Qcow2,
            to: &flat,
            to_format: Format::Qcow2,
            compress: true,
        };
        convert(job, |percent| seen.push(percent)).await.unwrap();
        assert_eq!(seen.last(), Some(&100.0));
        assert_eq!(qcow2::inspect(&flat).unwrap().virtual_size, 1 << 20);
        assert_eq!(check(&flat, Format::Qcow2).await.unwrap(), Check::default());
    }

    #[tokio::test]
    async fn a_check_counts_corruptions() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        create(&disk, Format::Qcow2, 1 << 30).await.unwrap();
        let mut bits = tokio::fs::read(&disk).await.unwrap();
        let l1 = u64::from_be_bytes(*bits[40..].first_chunk().unwrap()) as usize;
        bits[l1..l1 + 8].copy_from_slice(&((1_u64 << 63) | (1 << 16)).to_be_bytes());
        tokio::fs::write(&disk, bits).await.unwrap();
        assert!(check(&disk, Format::Qcow2).await.unwrap().corruptions > 0);
    }

    #[tokio::test]
    async fn a_relative_path_is_refused() {
        assert!(matches!(create(Path::new("nbd:x"), Format::Raw, 512).await, Err(Error::Relative(_))));
    }

    #[test]
    fn percentages_are_read_from_pieces_cut_anywhere() {
        let mut meter = Meter::default();
        assert_eq!(meter.feed(b"    (0.00/100%)\r    (5"), [0.0]);
        assert!(meter.feed(b"0.25/10").is_empty());
        assert_eq!(meter.feed(b"0%)\r"), [50.25]);
    }
}
