//! The host as libvirt sees it.

use std::ffi::CStr;

use virt::connect::Connect;
use virt::sys;

use super::{Error, Libvirt, Outcome};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub cpus: u64,
    pub mhz: u64,
    pub sockets: u32,
    /// Libvirt's own, such as `9.0.0`.
    pub libvirt_version: String,
    pub qemu_version: String,
    /// The capabilities document.
    pub capabilities: String,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
}

impl Libvirt {
    /// The first such question after libvirtd's start makes it look at every QEMU: seconds.
    pub async fn node(&self) -> Result<Node, Error> {
        self.ask("ask about the host", |connect| {
            let info = connect.get_node_info()?;
            Ok(Node {
                cpus: info.cpus.into(),
                mhz: info.mhz.into(),
                sockets: info.sockets.saturating_mul(info.nodes),
                libvirt_version: dotted(connect.get_lib_version()?),
                qemu_version: dotted(connect.get_hyp_version()?),
                capabilities: connect.get_capabilities()?,
            })
        })
        .await
    }

    pub async fn versions(&self) -> Result<(String, String), Error> {
        self.ask("ask for the versions", |connect| {
            Ok((dotted(connect.get_lib_version()?), dotted(connect.get_hyp_version()?)))
        })
        .await
    }

    /// The memory of the host. `virNodeGetInfo` is wrong where memory is initialised lazily.
    pub async fn memory(&self) -> Result<Memory, Error> {
        self.ask("ask for the host's memory", |connect| match memory(connect) {
            // The test driver does not know this call.
            Err(_) => Ok(Memory { total: connect.get_node_info()?.memory * 1024 }),
            told => told,
        })
        .await
    }
}

/// Libvirt packs a version as major * 1,000,000 + minor * 1,000 + release.
fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000)
}

fn memory(connect: &Connect) -> Outcome<Memory> {
    const ROOM: usize = 32;
    let empty = sys::virNodeMemoryStats { field: [0; 80], value: 0 };
    let (mut stats, mut count) = ([empty; ROOM], 0);
    let cells = sys::VIR_NODE_MEMORY_STATS_ALL_CELLS;
    // SAFETY: a count of 0 with a null array asks for the number of fields; the array then has room for
    // as many as the second call is told, which writes no more.
    let failed = unsafe {
        sys::virNodeGetMemoryStats(connect.as_ptr(), cells, std::ptr::null_mut(), &mut count, 0) < 0 || {
            count = count.clamp(0, ROOM as i32);
            sys::virNodeGetMemoryStats(connect.as_ptr(), cells, stats.as_mut_ptr(), &mut count, 0) < 0
        }
    };
    if failed {
        return Err(virt::error::Error::last_error());
    }
    let told = stats.iter().take(usize::try_from(count).unwrap_or(0));
    let mut totals = told.filter(|stat| field_name(&stat.field) == c"total").map(|stat| stat.value * 1024);
    totals.next().map(|total| Memory { total }).ok_or_else(virt::error::Error::last_error)
}

/// A text in an array of the C library.
pub(super) fn field_name(field: &[std::ffi::c_char; 80]) -> &CStr {
    // SAFETY: `c_char` and `u8` have the same layout, and the length is the array's.
    let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast(), field.len()) };
    CStr::from_bytes_until_nul(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_version_is_unpacked() {
        assert_eq!(dotted(9_000_000), "9.0.0");
        assert_eq!(dotted(7_002_022), "7.2.22");
    }

    #[tokio::test]
    async fn the_test_driver_tells_what_it_is() {
        let libvirt = Libvirt::new("test:///default");
        let node = libvirt.node().await.unwrap();
        assert!(node.cpus > 0 && node.capabilities.contains("<capabilities>"));
        assert!(libvirt.memory().await.unwrap().total > 0);
    }
}
