//! Debian packages: what is needed for what, what is missing, and getting it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cumulet_tests::lab::program::{command, run, show};

/// What the packages are for, besides building.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Demo,
    Test,
    Bench,
    Chaos,
    Package,
}

const BUILD: &[&str] = &["gcc", "libc6-dev", "libvirt-dev", "pkg-config"];

const DEMO: &[&str] = &[
    "busybox-static",
    "curl",
    "dnsmasq-base",
    "dosfstools",
    "e2fsprogs",
    "iproute2",
    "libvirt-clients",
    "libvirt-daemon",
    "mtools",
    "nftables",
    "qemu-system-x86",
    "qemu-utils",
    "syslinux",
    "syslinux-common",
];

/// Tests boot the same cloud and guests of every firmware, look at its pages with a browser, read discs by
/// another's program, and run Python programs beside it and against it.
const TEST: &[&str] = &[
    "chromium",
    "chromium-driver",
    "genisoimage",
    "libxml2-utils",
    "ovmf",
    "postgresql",
    "python3",
    "python3-venv",
    "qemu-guest-agent",
    "rabbitmq-server",
    "swtpm",
    "swtpm-tools",
    "systemd",
];

/// The programs that put packages together; tests make some too.
const PACKAGE: &[&str] = &["dpkg-dev", "rpm"];

/// The peer of some measurements is a Python program.
const BENCH: &[&str] = &["postgresql", "python3", "python3-venv"];

/// Parties of their own, parted by rules.
const CHAOS: &[&str] = &["iproute2", "nftables", "postgresql"];

/// Programs that may also come from elsewhere than Debian.
const PROGRAMS: &[(&str, &str)] = &[("node", "nodejs"), ("npm", "npm")];

/// Installs what is missing; says what.
pub fn install(purpose: Purpose) -> Result<()> {
    let missing = missing(purpose)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("these packages are missing: {}: install them, or run this as root", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    apt_get(&["update"])?;
    let mut args: Vec<&str> = vec!["install", "--no-install-recommends"];
    let downgrade = missing.contains(&"qemu-system-x86").then(foreign_qemu_utils).transpose()?.flatten();
    args.extend(missing.iter().filter(|name| downgrade.is_none() || **name != "qemu-utils"));
    if let Some(version) = &downgrade {
        args.extend(["--allow-downgrades", version]);
    }
    apt_get(&args)
}

fn missing(purpose: Purpose) -> Result<Vec<&'static str>> {
    let listed = run("dpkg-query", ["-W", "-f", "${db:Status-Status} ${Package}\n"])
        .context("cannot ask for installed packages: this needs Debian 12")?;
    let installed = installed(&listed);
    let mut needed = BUILD.to_vec();
    match purpose {
        Purpose::Demo => needed.extend(DEMO),
        Purpose::Test => needed.extend([DEMO, PACKAGE, TEST].concat()),
        Purpose::Bench => needed.extend([DEMO, BENCH].concat()),
        Purpose::Chaos => needed.extend(CHAOS),
        Purpose::Package => needed.extend(PACKAGE),
    }
    needed.retain(|name| !installed.contains(name));
    needed.extend(PROGRAMS.iter().filter(|(program, _)| !in_path(program)).map(|(_, package)| package));
    Ok(needed)
}

fn installed(listed: &str) -> HashSet<&str> {
    listed.lines().filter_map(|line| line.strip_prefix("installed ")).collect()
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}

/// A qemu-utils from a place that apt no longer knows keeps qemu-system-x86 out: apt must be told to replace it
/// by the archive's.
fn foreign_qemu_utils() -> Result<Option<String>> {
    let Ok(installed) = run("dpkg-query", ["-W", "-f", "${Version}", "qemu-utils"]) else { return Ok(None) };
    let offered = run("apt-cache", ["madison", "qemu-utils"])?;
    Ok(replacement(&installed, &offered).map(|version| format!("qemu-utils={version}")))
}

fn replacement<'a>(installed: &str, offered: &'a str) -> Option<&'a str> {
    let versions: Vec<_> = offered.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    if installed.is_empty() || versions.contains(&installed) { None } else { versions.first().copied() }
}

fn apt_get(args: &[&str]) -> Result<()> {
    let options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"];
    let mut apt = command("apt-get", options.iter().chain(args).map(OsString::from));
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    show(apt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wholly_installed_packages_count() {
        let listed = "installed gcc\nconfig-files nftables\ninstalled npm\n";
        assert_eq!(installed(listed), HashSet::from(["gcc", "npm"]));
    }

    #[test]
    fn a_version_that_no_archive_offers_is_replaced_by_the_newest_offered() {
        let offered = " qemu-utils | 1:7.2-7+u18 | http://deb bookworm/main\n qemu-utils | 1:7.2-7+u15 | x\n";
        assert_eq!(replacement("1:10.0.2", offered), Some("1:7.2-7+u18"));
        assert_eq!(replacement("1:7.2-7+u15", offered), None);
        assert_eq!(replacement("", offered), None);
    }
}
