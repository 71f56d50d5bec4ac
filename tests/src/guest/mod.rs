//! The guests that tests and the demo boot: made here from Debian's packages, nothing downloaded as a disk.
//!
//! [`image`] is a small cloud image: a qcow2 disk that boots by BIOS firmware (MBR, syslinux on FAT, kernel,
//! initial RAM disk, ext4 root). The guest takes its address and name by DHCP, answers HTTP on port 80 with
//! `hello from <hostname> <ip> boots=<n>`, shows its name and a prompt on the screen and on the first serial
//! port, and obeys the power button. It needs 96 MiB and boots in about 3 s without KVM.
//!
//! [`nano`] is no system at all: a boot sector that prints a marker on the serial port and halts for ever. It
//! costs almost nothing, for tests that need many guests.

mod cpio;
mod disk;
mod kernel;
mod nano;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::lab::program::run;

pub use nano::{MARKER, nano};

const BUSYBOX: &str = "/bin/busybox";

/// Raised whenever the code that makes the image changes what comes out.
const RECIPE: &str = "2";

/// The image for this recipe below `cache`, made when it is not there yet. Blocks for some seconds then.
pub fn image(cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("cannot open the image cache's lock")?;
    lock.lock().context("cannot lock the image cache")?;
    ensure!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is missing: install the package busybox-static");
    let package = kernel::package()?;
    let image = cache.join(format!("guest-{}.qcow2", recipe(&package)?));
    if !image.exists() {
        make(cache, &package, &image)?;
    }
    Ok(image)
}

fn recipe(kernel: &kernel::Package) -> Result<String> {
    let mut hash = Sha256::new();
    for part in [RECIPE, &kernel.name, &kernel.version].into_iter().chain(tree::SCRIPTS.map(|s| s.text)) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(fs::read(BUSYBOX).context("cannot read busybox")?);
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn make(cache: &Path, package: &kernel::Package, image: &Path) -> Result<()> {
    let work = cache.join("work");
    remove(&work)?;
    fs::create_dir_all(&work)?;
    let kernel = kernel::unpack(package, cache)?;
    let initrd = tree::initrd(&kernel, &work)?;
    let root = tree::root(&work)?;
    let raw = disk::assemble(&work, &kernel.image, &initrd, &root)?;
    let unfinished = work.join("guest.qcow2");
    run(
        "qemu-img",
        ["convert", "-f", "raw", "-O", "qcow2"]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([raw.as_os_str(), unfinished.as_os_str()]),
    )?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, image).context("cannot put the guest image in its place")?;
    remove(&work)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
