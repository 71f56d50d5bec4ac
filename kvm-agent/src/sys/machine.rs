//! The machine itself, read from `/proc`, `/sys` and `/etc`. What is not there is empty, never invented.

use std::fs;

/// The processor, as `/proc/cpuinfo` describes the first of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    pub model: String,
    pub flags: String,
    pub megahertz: String,
    pub count: u64,
}

/// The operating system, as `/etc/os-release` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatingSystem {
    pub id: String,
    pub version: String,
    pub codename: String,
}

pub fn processor() -> Processor {
    Processor::parse(&text("/proc/cpuinfo"))
}

pub fn operating_system() -> OperatingSystem {
    let primary = text("/etc/os-release");
    OperatingSystem::parse(&if primary.is_empty() { text("/usr/lib/os-release") } else { primary })
}

/// What the firmware calls `what`: `product_name`, `sys_vendor`, …
pub fn firmware(what: &str) -> String {
    text(&format!("/sys/class/dmi/id/{what}"))
}

pub fn architecture() -> &'static str {
    std::env::consts::ARCH
}

/// When the kernel started, seconds since 1970.
pub fn boot_time() -> Option<u64> {
    let stat = text("/proc/stat");
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Names this run of the kernel; another after every boot.
pub fn boot_id() -> String {
    text("/proc/sys/kernel/random/boot_id")
}

/// Tells this host from others that share a directory with it. One path component.
pub fn id() -> String {
    let name = |path: &str| text(path).replace('/', "-");
    format!("{}-{}", name("/proc/sys/kernel/hostname"), name("/etc/machine-id"))
}

/// Whether a program of this name would be found.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

impl Processor {
    fn parse(info: &str) -> Self {
        let field = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        let count = info.lines().filter(|line| line.starts_with("processor")).count();
        Processor {
            model: field("model name").unwrap_or_default(),
            flags: field("flags").unwrap_or_default(),
            megahertz: field("cpu MHz").unwrap_or_default(),
            count: count as u64,
        }
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.split_ascii_whitespace().any(|has| has == flag)
    }

    /// With two digits after the point.
    pub fn gigahertz(&self) -> String {
        self.megahertz.parse::<f64>().map(|mhz| format!("{:.2}", mhz / 1000.0)).unwrap_or_default()
    }
}

impl OperatingSystem {
    fn parse(release: &str) -> Self {
        let field = |name: &str| {
            let mut lines = release.lines().filter_map(|line| line.split_once('='));
            let value =
                lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned());
            value.unwrap_or_default()
        };
        OperatingSystem { id: field("ID"), version: field("VERSION_ID"), codename: field("VERSION_CODENAME") }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_read() {
        let info = "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2449.998\nflags\t\t: fpu svm\n\n\
                    processor\t: 1\nmodel name\t: AMD EPYC\n";
        let processor = Processor::parse(info);
        assert_eq!((processor.count, processor.model.as_str()), (2, "AMD EPYC"));
        assert_eq!(processor.gigahertz(), "2.45");
        assert!(processor.has("svm") && !processor.has("sv"));
    }

    #[test]
    fn an_operating_system_is_read() {
        let system = OperatingSystem::parse("ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n");
        assert_eq!((system.id.as_str(), system.version.as_str()), ("debian", "12"));
        assert_eq!(system.codename, "bookworm");
    }

    #[test]
    fn this_machine_has_a_boot_id_and_a_processor() {
        assert_eq!(boot_id().len(), 36);
        assert!(processor().count > 0 && boot_time().is_some());
    }
}
