//! What lies in the guest: its initial RAM disk and its root file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::BUSYBOX;
use super::cpio::Archive;
use super::kernel::Kernel;
use crate::lab::program::run;

/// A text file of the guest and where it lies there; empty: not in the root file system.
pub struct Script {
    pub path: &'static str,
    pub text: &'static str,
}

const INIT: Script = Script { path: "", text: include_str!("files/init") };
pub const BOOT_MENU: Script = Script { path: "", text: include_str!("files/syslinux.cfg") };

pub const SCRIPTS: [Script; 6] = [
    INIT,
    BOOT_MENU,
    Script { path: "etc/rc", text: include_str!("files/rc") },
    Script { path: "etc/lease", text: include_str!("files/lease") },
    Script { path: "etc/announce", text: include_str!("files/announce") },
    Script { path: "etc/acpi/PWRF/00000080", text: include_str!("files/poweroff") },
];

const DIRECTORIES: [&str; 13] = [
    "bin",
    "dev",
    "proc",
    "sys",
    "etc",
    "etc/acpi",
    "etc/acpi/PWRF",
    "mnt",
    "root",
    "run",
    "tmp",
    "var",
    "var/log",
];

/// Root has no password: this guest is for tests and demonstrations.
const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root::0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/hostname", "guest\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];

/// Writes the compressed initial RAM disk into `work`.
pub fn initrd(kernel: &Kernel, work: &Path) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for name in ["bin", "dev", "proc", "sys", "root", "modules"] {
        archive.directory(name);
    }
    archive.program("bin/busybox", &fs::read(BUSYBOX).context("cannot read busybox")?);
    archive.link("bin/sh", "busybox");
    archive.program("init", INIT.text.as_bytes());
    for (at, module) in kernel.drivers()?.into_iter().enumerate() {
        archive.program(&format!("modules/{at:03}-{}.ko", module.name), &fs::read(&module.file)?);
    }
    let plain = work.join("initrd");
    fs::write(&plain, archive.finish())?;
    run("gzip", ["-n".as_ref(), "-6".as_ref(), plain.as_os_str()])?;
    Ok(work.join("initrd.gz"))
}

/// Lays the root file system out as a directory below `work`.
pub fn root(work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    fs::create_dir(&root)?;
    for name in DIRECTORIES {
        fs::create_dir(root.join(name))?;
    }
    for (path, text) in FILES {
        fs::write(root.join(path), text)?;
    }
    for script in SCRIPTS.iter().filter(|script| !script.path.is_empty()) {
        program(&root.join(script.path), script.text.as_bytes())?;
    }
    busybox(&root)?;
    Ok(root)
}

fn busybox(root: &Path) -> Result<()> {
    program(&root.join("bin/busybox"), &fs::read(BUSYBOX).context("cannot read busybox")?)?;
    for name in run(BUSYBOX, ["--list"])?.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name))?;
    }
    Ok(())
}

fn program(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
