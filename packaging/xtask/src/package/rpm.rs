//! RPM packages, by `rpmbuild`, from a spec that copies the laid-out tree.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cumulet_tests::lab::program::run;

use super::table::{Program, USER};
use super::tree::{Entry, Tree, entries, make_dir, only_file, write};
use super::{Build, script};

/// Nothing of the machine that builds shall change what is built: no stripping, no build ids, no debug package.
const DEFINES: &str = "%global debug_package %{nil}
%global _build_id_links none
%global __os_install_post %{nil}
";

/// Makes the package of a program; where it lies.
pub fn build(build: &Build, program: &Program) -> Result<PathBuf> {
    let entries = entries(program, &build.binary(program));
    let work = build.work(program, "rpm");
    let tree = Tree::lay(work.join("tree"), &entries)?;
    let arch = std::env::consts::ARCH;
    let spec = work.join(format!("{}.spec", program.name));
    write(&spec, &text(program, build.version, &entries)?)?;
    let top = work.join("top");
    let args: [OsString; _] = [
        "-bb".into(),
        "--target".into(),
        format!("{arch}-linux").into(),
        "--define".into(),
        define("_topdir", &top.to_string_lossy()),
        "--define".into(),
        define("tree", &tree.root.to_string_lossy()),
        spec.into(),
    ];
    let made = top.join("RPMS").join(arch);
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot empty {}", made.display()))?;
    }
    make_dir(&top)?;
    run("rpmbuild", args)?;
    keep(build, &only_file(&made, "rpm")?)
}

fn keep(build: &Build, made: &std::path::Path) -> Result<PathBuf> {
    let file = build.out.join(made.file_name().context("a package without a name")?);
    fs::copy(made, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn define(name: &str, value: &str) -> OsString {
    format!("{name} {value}").into()
}

fn text(program: &Program, version: &str, entries: &[Entry]) -> Result<String> {
    let mut text = DEFINES.to_owned();
    writeln!(text, "Name: {}\nVersion: {version}\nRelease: 1", program.name)?;
    writeln!(text, "Summary: {}\nLicense: Apache-2.0", program.summary)?;
    for required in program.rpm_requires {
        writeln!(text, "Requires: {required}")?;
    }
    if program.needs_user() {
        writeln!(text, "Requires(pre): shadow-utils")?;
    }
    writeln!(text, "\n%description\n{}", program.description)?;
    writeln!(text, "\n%install\nmkdir -p \"%{{buildroot}}\"\ncp -a \"%{{tree}}/.\" \"%{{buildroot}}/\"")?;
    for (name, script) in script::rpm(program) {
        writeln!(text, "\n%{name}\n{script}")?;
    }
    writeln!(text, "\n%files")?;
    for entry in entries {
        writeln!(text, "{}", file(program, entry))?;
    }
    Ok(text)
}

fn file(program: &Program, entry: &Entry) -> String {
    let group = if entry.is_config && program.needs_user() { USER } else { "root" };
    let kind = if entry.is_config { "%config(noreplace) " } else { "" };
    let dir = if entry.is_config { "%dir %attr(0755, root, root) /etc/cumulet\n" } else { "" };
    format!("{dir}%attr({:04o}, root, {group}) {kind}{}", entry.mode, entry.path)
}
