//! The guest's disk: a boot record, a FAT partition with the boot loader, an ext4 partition.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tree::BOOT_MENU;
use crate::lab::program::{run, run_with};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
const BOOT_RECORD: &str = "/usr/lib/syslinux/mbr/mbr.bin";
/// The last bytes of the first sector hold the partition table, the first ones the code.
const CODE_LENGTH: usize = 440;
const TABLE_AT: usize = 446;

/// A partition by its place on the disk.
struct Partition {
    start: u64,
    length: u64,
    kind: u8,
    active: bool,
}

const BOOT: Partition = Partition { start: MIB, length: 24 * MIB, kind: 0x06, active: true };
const ROOT: Partition = Partition { start: 25 * MIB, length: 32 * MIB, kind: 0x83, active: false };
const LENGTH: u64 = 64 * MIB;
const _: () = assert!(BOOT.start + BOOT.length <= ROOT.start && ROOT.start + ROOT.length <= LENGTH);

/// Writes the raw disk into `work`.
pub fn assemble(work: &Path, kernel: &Path, initrd: &Path, root: &Path) -> Result<PathBuf> {
    let boot = boot_partition(work, kernel, initrd)?;
    let root = root_partition(work, root)?;
    let path = work.join("guest.raw");
    let mut disk = File::create(&path)?;
    disk.set_len(LENGTH)?;
    disk.write_all(&boot_record()?)?;
    copy(&boot, &mut disk, BOOT.start)?;
    copy(&root, &mut disk, ROOT.start)?;
    Ok(path)
}

fn boot_record() -> Result<Vec<u8>> {
    let code = fs::read(BOOT_RECORD)
        .with_context(|| format!("cannot read {BOOT_RECORD}: install the package syslinux-common"))?;
    let mut sector = code;
    sector.truncate(CODE_LENGTH);
    sector.resize(TABLE_AT, 0);
    for partition in [BOOT, ROOT] {
        sector.extend(partition.entry());
    }
    sector.resize(SECTOR as usize - 2, 0);
    sector.extend([0x55, 0xaa]);
    Ok(sector)
}

impl Partition {
    /// Its line in the table; the cylinder fields say "see the sector numbers".
    fn entry(&self) -> [u8; 16] {
        let mut entry = [0xff; 16];
        entry[0] = if self.active { 0x80 } else { 0 };
        entry[4] = self.kind;
        entry[8..12].copy_from_slice(&((self.start / SECTOR) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&((self.length / SECTOR) as u32).to_le_bytes());
        entry
    }
}

fn boot_partition(work: &Path, kernel: &Path, initrd: &Path) -> Result<PathBuf> {
    let path = work.join("boot.fat");
    File::create(&path)?.set_len(BOOT.length)?;
    let hidden = (BOOT.start / SECTOR).to_string();
    let options = ["-F", "16", "-s", "4", "-h", &hidden].map(OsStr::new);
    run("mkfs.vfat", options.into_iter().chain([path.as_os_str()]))?;
    let menu = work.join("syslinux.cfg");
    fs::write(&menu, BOOT_MENU.text)?;
    for (file, name) in [(kernel, "::vmlinuz"), (initrd, "::initrd.gz"), (&menu, "::syslinux.cfg")] {
        let args = ["-i".as_ref(), path.as_os_str(), file.as_os_str(), name.as_ref()];
        run_with(&[("MTOOLS_SKIP_CHECK", "1")], "mcopy", args)?;
    }
    run_with(&[("MTOOLS_SKIP_CHECK", "1")], "syslinux", ["--install".as_ref(), path.as_os_str()])?;
    Ok(path)
}

fn root_partition(work: &Path, root: &Path) -> Result<PathBuf> {
    let path = work.join("root.ext4");
    let size = format!("{}k", ROOT.length / 1024);
    let options = ["-q", "-t", "ext4", "-m", "0", "-J", "size=1", "-b", "1024", "-d"].map(OsStr::new);
    let places = [root.as_os_str(), path.as_os_str(), size.as_ref()];
    run("mke2fs", options.into_iter().chain(places))?;
    Ok(path)
}

/// Copies a file to its place on the disk, leaving holes where it is empty.
fn copy(from: &Path, disk: &mut File, at: u64) -> Result<()> {
    let mut from = File::open(from)?;
    let mut block = vec![0; 64 << 10];
    let mut offset = at;
    loop {
        let length = from.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(offset))?;
            disk.write_all(&block[..length])?;
        }
        offset += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_listed_by_its_sectors() {
        let entry = BOOT.entry();
        assert_eq!((entry[0], entry[4]), (0x80, 0x06));
        assert_eq!(entry[8..16], [0x00, 0x08, 0, 0, 0x00, 0xc0, 0, 0]);
    }
}
