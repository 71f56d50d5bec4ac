//! The files of a package, laid out as they will lie on the machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cumulet_tests::workspace;

use super::table::{Program, USER};

/// A directory that stands for `/`.
pub struct Tree {
    pub root: PathBuf,
}

/// A file of the package, and where it comes from.
pub struct Entry {
    /// Absolute on the machine.
    pub path: String,
    pub mode: u32,
    /// The operator's to change: an upgrade leaves it alone.
    pub is_config: bool,
    content: Content,
}

enum Content {
    Copy(PathBuf),
    Text(String),
}

/// What a package consists of, given its program's file.
pub fn entries(program: &Program, binary: &Path) -> Vec<Entry> {
    let name = program.name;
    let mut entries = vec![
        copy(format!("/usr/bin/{name}"), 0o755, binary.to_owned()),
        copy(format!("/usr/share/doc/{name}/copyright"), 0o644, workspace().join("LICENSE")),
    ];
    if let Some(service) = &program.service {
        let unit = format!("{name}.service");
        for unit in service.beside.iter().copied().chain([unit.as_str()]) {
            entries.push(copy(format!("/usr/lib/systemd/system/{unit}"), 0o644, service.source(unit)));
        }
        let config = copy(service.config_path(), 0o640, service.source(service.config));
        entries.push(Entry { is_config: true, ..config });
    }
    if program.needs_user() {
        let text = format!("u {USER} - \"Cumulet\" /var/lib/cumulet -\n");
        let path = format!("/usr/lib/sysusers.d/{name}.conf");
        entries.push(Entry { path, mode: 0o644, is_config: false, content: Content::Text(text) });
    }
    entries
}

fn copy(path: String, mode: u32, from: PathBuf) -> Entry {
    Entry { path, mode, is_config: false, content: Content::Copy(from) }
}

impl Tree {
    /// Lays the files out in a directory, from which everything else goes away first.
    pub fn lay(root: PathBuf, entries: &[Entry]) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
        }
        make_dir(&root)?;
        let tree = Tree { root };
        for entry in entries {
            tree.write(entry)?;
        }
        Ok(tree)
    }

    /// Where a file of the machine lies in the tree.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn write(&self, entry: &Entry) -> Result<()> {
        let to = self.at(&entry.path);
        make_dir(to.parent().context("a file of a package lies nowhere")?)?;
        match &entry.content {
            Content::Copy(from) => {
                fs::copy(from, &to).with_context(|| format!("cannot pack {}", from.display()))?;
            }
            Content::Text(text) => write(&to, text)?,
        }
        set_mode(&to, entry.mode)
    }

    /// In KiB, as Debian counts: every file rounded up.
    pub fn size(&self, entries: &[Entry]) -> Result<u64> {
        let sizes = entries.iter().map(|entry| Ok(fs::metadata(self.at(&entry.path))?.len().div_ceil(1024)));
        sizes.sum()
    }
}

/// Makes a directory that everybody may read, whatever the umask.
pub fn make_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let made = fs::DirBuilder::new().mode(0o755).create(path);
    made.with_context(|| format!("cannot make directory {}", path.display()))?;
    set_mode(path, 0o755)
}

pub fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let set = fs::set_permissions(path, Permissions::from_mode(mode));
    set.with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// The one package file in a directory that a packager wrote into.
pub fn only_file(dir: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut found = paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (None, _) => bail!("no .{extension} file was made in {}", dir.display()),
        (Some(_), Some(_)) => bail!("more than one .{extension} file was made in {}", dir.display()),
    }
}
