//! The guest's kernel: whatever Debian's `linux-image-cloud-amd64` stands for today.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::program::{run, run_in};

const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// What the guest cannot do without and the kernel does not have built in.
const DRIVERS: [&str; 12] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "isofs",
    "virtio_net",
    "virtio_console",
    "virtio_balloon",
    "virtio_rng",
    "evdev",
    "button",
];

/// The package that holds the kernel, at the version that this machine's package lists offer.
pub struct Package {
    pub name: String,
    pub version: String,
}

/// An unpacked kernel.
pub struct Kernel {
    pub image: PathBuf,
    modules: PathBuf,
}

/// One driver's file, by its name as the kernel writes it.
pub struct Module {
    pub name: String,
    pub file: PathBuf,
}

pub fn package() -> Result<Package> {
    let text = run("apt-cache", ["show", "--no-all-versions", META_PACKAGE])
        .context("this machine's package lists have no kernel for guests: run apt-get update")?;
    let name = field(&text, "Depends").and_then(|depends| depends.split([' ', ',']).next()).unwrap_or("");
    let version = field(&text, "Version").unwrap_or("");
    ensure!(name.starts_with("linux-image-"), "{META_PACKAGE} depends on {name:?}, which is no kernel");
    Ok(Package { name: name.to_owned(), version: version.to_owned() })
}

fn field<'a>(control: &'a str, name: &str) -> Option<&'a str> {
    control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Downloads and unpacks the package below `cache`, unless that has been done.
pub fn unpack(package: &Package, cache: &Path) -> Result<Kernel> {
    let dir = cache.join(format!("{}-{}", package.name, package.version));
    if !dir.exists() {
        let unfinished = cache.join("kernel");
        super::remove(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        run_in(&unfinished, "apt-get", ["-q", "download", package.name.as_str()])?;
        let archive = only_entry(&unfinished)?;
        run("dpkg-deb", ["-x".as_ref(), archive.as_os_str(), unfinished.as_os_str()])?;
        fs::remove_file(archive)?;
        fs::rename(&unfinished, &dir).context("cannot put the kernel in its place")?;
    }
    kernel(&dir)
}

fn kernel(dir: &Path) -> Result<Kernel> {
    let modules = only_entry(&dir.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image = dir.join("boot").join(format!("vmlinuz-{release}"));
    ensure!(image.exists(), "the kernel package has no {}", image.display());
    Ok(Kernel { image, modules: modules.join("kernel") })
}

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry?.path()),
        _ => bail!("{} should hold exactly one entry", dir.display()),
    }
}

impl Kernel {
    /// The drivers and what they need, in the order in which they load.
    pub fn drivers(&self) -> Result<Vec<Module>> {
        let mut found =
            Found { files: module_files(&self.modules)?, seen: HashSet::new(), order: Vec::new() };
        for name in DRIVERS {
            found.add(name)?;
        }
        Ok(found.order)
    }
}

struct Found {
    files: Vec<PathBuf>,
    seen: HashSet<String>,
    order: Vec<Module>,
}

impl Found {
    fn add(&mut self, name: &str) -> Result<()> {
        let name = module_name(name);
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let file = self.files.iter().find(|file| stem(file) == name).cloned();
        let file = file.with_context(|| format!("the kernel package has no driver {name}"))?;
        for needed in depends(&fs::read(&file)?) {
            self.add(&needed)?;
        }
        self.order.push(Module { name, file });
        Ok(())
    }
}

fn module_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(module_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            files.push(path);
        }
    }
    Ok(files)
}

fn stem(file: &Path) -> String {
    module_name(&file.file_stem().unwrap_or_default().to_string_lossy())
}

fn module_name(text: &str) -> String {
    text.replace('-', "_")
}

/// What the module itself says it needs: the text `depends=a,b` among its zero-ended strings.
fn depends(module: &[u8]) -> Vec<String> {
    let text = module.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"depends="));
    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(
            depends(b"\x7fELF\0license=GPL\0depends=virtio,virtio_ring\0x"),
            ["virtio", "virtio_ring"]
        );
        assert!(depends(b"\x7fELF\0depends=\0x").is_empty());
    }

    #[test]
    fn the_package_is_what_the_meta_package_depends_on() {
        let control = "Package: a\nVersion: 6.1-2\nDepends: linux-image-6.1-cloud (= 6.1-2), b\n";
        assert_eq!(field(control, "Depends"), Some("linux-image-6.1-cloud (= 6.1-2), b"));
        assert_eq!(field(control, "Version"), Some("6.1-2"));
        assert_eq!(field(control, "Pre-Depends"), None);
    }
}
