//! Debian packages, by `dpkg-deb`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::{run, run_in};

use super::table::Program;
use super::tree::{Entry, Tree, entries, make_dir, set_mode, write};
use super::{Build, script};

const MAINTAINER: &str = "Cumulet <packages@cumulet.invalid>";

/// Makes the package of a program; where it lies.
pub fn build(build: &Build, program: &Program) -> Result<PathBuf> {
    let entries = entries(program, &build.binary(program));
    let work = build.work(program, "deb");
    let tree = Tree::lay(work.join("tree"), &entries)?;
    let depends = depends(&work, &tree.at(&format!("/usr/bin/{}", program.name)), program)?;
    let control = control(program, build.version, &depends, tree.size(&entries)?)?;
    describe(&tree, program, &entries, &control)?;
    let file = build.out.join(format!("{}_{}-1_{}.deb", program.name, build.version, architecture()?));
    let mut args: Vec<OsString> = ["--root-owner-group", "-Zzstd", "--build"].map(OsString::from).into();
    args.extend([tree.root.into_os_string(), file.clone().into_os_string()]);
    run("dpkg-deb", args)?;
    Ok(file)
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("Debian's name for the architecture {other} is not known here"),
    }
}

fn control(program: &Program, version: &str, depends: &str, size: u64) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "Package: {}\nVersion: {version}-1\nArchitecture: {}", program.name, architecture()?)?;
    writeln!(text, "Maintainer: {MAINTAINER}\nSection: admin\nPriority: optional")?;
    writeln!(text, "Installed-Size: {size}\nDepends: {depends}")?;
    writeln!(text, "Description: {}\n {}", program.summary, program.description)?;
    Ok(text)
}

/// Everything that Debian keeps beside a package's files.
fn describe(tree: &Tree, program: &Program, entries: &[Entry], control: &str) -> Result<()> {
    let dir = tree.at("DEBIAN");
    let sums = run_in(&tree.root, "md5sum", entries.iter().map(|entry| entry.path.trim_start_matches('/')))?;
    make_dir(&dir)?;
    let config = entries.iter().filter(|entry| entry.is_config);
    let config: String = config.map(|entry| format!("{}\n", entry.path)).collect();
    let files = [("control", control), ("md5sums", &sums), ("conffiles", &config)];
    for (name, text) in files.into_iter().filter(|(_, text)| !text.is_empty()) {
        put(&dir.join(name), text, 0o644)?;
    }
    for (name, text) in script::deb(program) {
        put(&dir.join(name), &text, 0o755)?;
    }
    Ok(())
}

fn put(path: &Path, text: &str, mode: u32) -> Result<()> {
    write(path, text)?;
    set_mode(path, mode)
}

/// The packages that the program's libraries are in, and those that the table names.
fn depends(work: &Path, binary: &Path, program: &Program) -> Result<String> {
    // dpkg-shlibdeps wants to stand in a source package.
    make_dir(&work.join("debian"))?;
    let source = format!("Source: {0}\n\nPackage: {0}\nArchitecture: any\n", program.name);
    write(&work.join("debian/control"), &source)?;
    let mut option = OsString::from("-e");
    option.push(binary);
    let said = run_in(work, "dpkg-shlibdeps", ["-O".into(), option])?;
    let libraries = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    let libraries = libraries.with_context(|| format!("dpkg-shlibdeps says no dependencies but {said:?}"))?;
    let mut all: BTreeSet<&str> = libraries.split(", ").collect();
    all.extend(program.deb_depends);
    if program.needs_user() {
        all.insert("systemd | systemd-standalone-sysusers");
    }
    Ok(all.into_iter().collect::<Vec<_>>().join(", "))
}
