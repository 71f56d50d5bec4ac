//! Memory modules, NUMA nodes, USB devices and huge pages, as the kernel and the firmware describe them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One memory module: SMBIOS structure type 17.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    pub manufacturer: String,
    pub locator: String,
    pub serial: String,
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// MT/s; 0 when the firmware does not know.
    pub speed: u16,
    pub configured: u16,
    pub rank: u8,
    /// Millivolts.
    pub voltage: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub id: u32,
    pub cpus: Vec<u32>,
    pub distances: Vec<String>,
    /// Bytes.
    pub total: u64,
    pub free: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usb {
    pub bus: String,
    pub device: String,
    pub vendor: String,
    pub product: String,
    pub maker: String,
    pub name: String,
    pub serial: String,
    pub version: String,
}

const MEMORY_DEVICE: u8 = 17;
const END_OF_TABLE: u8 = 127;

/// None where the firmware has no table.
pub fn memory_modules() -> Vec<Module> {
    modules(&fs::read("/sys/firmware/dmi/tables/DMI").unwrap_or_default())
}

/// A structure is its fixed part, whose length stands in it, and texts ended by an empty one.
fn modules(mut table: &[u8]) -> Vec<Module> {
    let mut modules = Vec::new();
    while let [kind, length, ..] = *table {
        let length = usize::from(length);
        let Some(fixed) = table.get(..length).filter(|_| length >= 4) else { break };
        let texts = &table[length..];
        let end = texts.windows(2).position(|pair| pair == [0, 0]).map_or(texts.len(), |end| end + 2);
        if kind == MEMORY_DEVICE {
            modules.extend(Module::read(fixed, &texts[..end]));
        }
        if kind == END_OF_TABLE {
            break;
        }
        table = &texts[end..];
    }
    modules
}

impl Module {
    /// `None` for a slot with nothing in it.
    fn read(fixed: &[u8], texts: &[u8]) -> Option<Self> {
        let byte = |at: usize| fixed.get(at).copied().unwrap_or_default();
        let word = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
        let text = |at: usize| {
            let number = usize::from(byte(at)).checked_sub(1);
            let found = number.and_then(|number| texts.split(|byte| *byte == 0).nth(number));
            found.map(|text| String::from_utf8_lossy(text).trim().to_owned()).unwrap_or_default()
        };
        let size = match word(0x0c) {
            0 | 0xffff => return None,
            0x7fff => u64::from(word(0x1c)) << 20 | u64::from(word(0x1e) & 0x7fff) << 36,
            kib if kib & 0x8000 != 0 => u64::from(kib & 0x7fff) << 10,
            mib => u64::from(mib) << 20,
        };
        Some(Module {
            size,
            locator: text(0x10),
            kind: memory_type(byte(0x12)).to_owned(),
            speed: word(0x15),
            manufacturer: text(0x17),
            serial: text(0x18),
            rank: byte(0x1b) & 0xf,
            configured: word(0x20),
            voltage: word(0x26),
        })
    }
}

/// Of SMBIOS 3.7, those that a server has.
fn memory_type(code: u8) -> &'static str {
    match code {
        0x07 => "RAM",
        0x0f => "SDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x20 => "HBM",
        0x22 => "DDR5",
        _ => "Unknown",
    }
}

pub fn numa_nodes() -> io::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/sys/devices/system/node")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix("node")?.parse().ok());
        if let Some(id) = number {
            nodes.push(node(id, &path));
        }
    }
    nodes.sort_by_key(|node| node.id);
    Ok(nodes)
}

fn node(id: u32, path: &Path) -> Node {
    let meminfo = text(&path.join("meminfo"));
    // `Node 0 MemTotal:       24689252 kB`
    let bytes = |what: &str| {
        let line = meminfo.lines().find(|line| line.contains(what));
        let kib = line.and_then(|line| line.split_ascii_whitespace().rev().nth(1)?.parse::<u64>().ok());
        kib.unwrap_or_default() << 10
    };
    let distances = text(&path.join("distance"));
    Node {
        id,
        cpus: listed(&text(&path.join("cpulist"))),
        distances: distances.split_ascii_whitespace().map(str::to_owned).collect(),
        total: bytes("MemTotal:"),
        free: bytes("MemFree:"),
    }
}

/// `0-3,8` as numbers.
fn listed(text: &str) -> Vec<u32> {
    let ends = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(ends).flatten().collect()
}

/// Hubs are no devices for VMs.
pub fn usb_devices() -> Vec<Usb> {
    usb_below(Path::new("/sys/bus/usb/devices"))
}

fn usb_below(dir: &Path) -> Vec<Usb> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<Usb> = entries.filter_map(|path| usb(&path)).collect();
    found.sort_by(|a, b| (&a.bus, &a.device).cmp(&(&b.bus, &b.device)));
    found
}

fn usb(path: &Path) -> Option<Usb> {
    const HUB: &str = "09";
    let word = |what: &str| text(&path.join(what));
    let number = |what: &str| word(what).parse::<u32>().map(|number| format!("{number:03}")).ok();
    if word("bDeviceClass") == HUB {
        return None;
    }
    Some(Usb {
        bus: number("busnum")?,
        device: number("devnum")?,
        vendor: word("idVendor"),
        product: word("idProduct"),
        maker: word("manufacturer"),
        name: word("product"),
        serial: word("serial"),
        version: word("version"),
    })
}

/// How many huge pages of `kib` KiB are set aside; `None`: this kernel has no pages of that size.
pub fn huge_pages(kib: u64) -> Option<u64> {
    text(&pool(kib)).parse().ok()
}

/// The kernel sets aside as many as it finds room for.
pub fn set_huge_pages(kib: u64, count: u64) -> io::Result<()> {
    fs::write(pool(kib), count.to_string())
}

/// The sizes that this kernel knows, KiB.
pub fn huge_page_sizes() -> Vec<u64> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok();
    let mut sizes: Vec<u64> = entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect();
    sizes.sort_unstable();
    sizes
}

fn pool(kib: u64) -> PathBuf {
    format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages").into()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(kind: u8, fixed: &[(usize, &[u8])], length: usize, texts: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0; length];
        (bytes[0], bytes[1]) = (kind, u8::try_from(length).unwrap());
        for (at, value) in fixed {
            bytes[*at..*at + value.len()].copy_from_slice(value);
        }
        for text in texts {
            bytes.extend(text.bytes().chain([0]));
        }
        bytes.extend(if texts.is_empty() { &[0, 0][..] } else { &[0][..] });
        bytes
    }

    #[test]
    fn modules_are_read_from_the_firmwares_table() {
        let fields: [(usize, &[u8]); 9] = [
            (0x0c, &[0xff, 0x7f]),
            (0x10, &[1]),
            (0x12, &[0x1a]),
            (0x15, &3200_u16.to_le_bytes()),
            (0x17, &[2]),
            (0x18, &[3]),
            (0x1b, &[2]),
            (0x1c, &65536_u32.to_le_bytes()),
            (0x26, &1200_u16.to_le_bytes()),
        ];
        let mut table = structure(1, &[], 0x1b, &["Maker"]);
        table.extend(structure(17, &fields, 0x28, &["DIMM A1", "Maker ", "S1"]));
        table.extend(structure(17, &[], 0x28, &["DIMM A2"]));
        table.extend(structure(127, &[], 4, &[]));
        let found = modules(&table);
        assert_eq!(found.len(), 1, "an empty slot is no module");
        let Module { size, locator, manufacturer, serial, kind, speed, rank, voltage, .. } = &found[0];
        assert_eq!((*size, *speed, *rank, *voltage), (64 << 30, 3200, 2, 1200));
        assert_eq!([locator, manufacturer, serial, kind], ["DIMM A1", "Maker", "S1", "DDR4"]);
        for cut in 0..table.len() {
            modules(&table[..cut]);
        }
    }

    #[test]
    fn this_machine_has_a_node_with_processors_and_memory() {
        let nodes = numa_nodes().unwrap();
        assert!(!nodes[0].cpus.is_empty() && nodes[0].total > nodes[0].free && nodes[0].free > 0);
        assert_eq!(listed("0-2,8"), [0, 1, 2, 8]);
    }

    #[test]
    fn a_device_is_told_and_its_hub_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (name, class, serial) in [("1-0", "09", ""), ("1-1", "00", "X7")] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            let told = [
                ("busnum", "1"),
                ("devnum", "4"),
                ("idVendor", "0951"),
                ("bDeviceClass", class),
                ("serial", serial),
            ];
            for (file, text) in told {
                fs::write(path.join(file), format!("{text}\n")).unwrap();
            }
        }
        let found = usb_below(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].bus.as_str(), found[0].device.as_str(), found[0].serial.as_str()),
            ("001", "004", "X7")
        );
    }
}
