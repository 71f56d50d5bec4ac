//! The boot-sector guest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the nano guest prints on its first serial port.
pub const MARKER: &str = "GUEST-READY nano";

const SECTOR: usize = 512;
const LOADED_AT: u16 = 0x7c00;

/// 16-bit code: print the zero-ended text at `si` on COM1, then halt with interrupts off.
const CODE: [u8; 22] = [
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0, 0, // mov si, text (patched)
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x03, // jz stop
    0xee, // out dx, al
    0xeb, 0xf8, // jmp next
    0xfa, // stop: cli
    0xf4, // halt: hlt
    0xeb, 0xfd, // jmp halt
];

/// Writes the guest's raw disk of 1 MiB into `dir`.
pub fn nano(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("nano.raw");
    let mut disk = boot_sector(&format!("{MARKER}\r\n"));
    disk.resize(1 << 20, 0);
    fs::write(&path, disk).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn boot_sector(text: &str) -> Vec<u8> {
    let mut sector = CODE.to_vec();
    let at = LOADED_AT + CODE.len() as u16;
    sector[5..7].copy_from_slice(&at.to_le_bytes());
    sector.extend(text.as_bytes());
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_points_at_its_text_and_is_signed() {
        let sector = boot_sector("x\r\n");
        let text = usize::from(u16::from_le_bytes([sector[5], sector[6]]) - LOADED_AT);
        assert_eq!(&sector[text..text + 4], b"x\r\n\0");
        assert_eq!((sector.len(), &sector[510..]), (SECTOR, &[0x55, 0xaa][..]));
    }
}
