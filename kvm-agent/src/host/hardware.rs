//! What the host is made of.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::machine::{
    DisableHugePages, EnableHugePages, GetMemoryFacts, GetNumaTopology, GetUsbDevices, MemoryFacts,
    MemoryModule, NumaNode, NumaTopology, UsbDevices,
};

use crate::state::Host;
use crate::sys::hardware::{self, Module, Node, Usb};

pub async fn memory_facts(_: Cx<Host>, _: GetMemoryFacts) -> Result<MemoryFacts, Fault> {
    let modules = tokio::task::spawn_blocking(hardware::memory_modules).await?;
    Ok(MemoryFacts { physical_memory_facts: modules.into_iter().map(module).collect() })
}

/// Which VMs are bound to a node stands in their start commands, not in the host.
pub async fn numa_topology(_: Cx<Host>, _: GetNumaTopology) -> Result<NumaTopology, Fault> {
    let nodes = tokio::task::spawn_blocking(hardware::numa_nodes).await??;
    Ok(NumaTopology {
        topology: nodes.into_iter().map(|found| (found.id.to_string(), node(found))).collect(),
    })
}

pub async fn usb_devices(_: Cx<Host>, _: GetUsbDevices) -> Result<UsbDevices, Fault> {
    let devices = tokio::task::spawn_blocking(hardware::usb_devices).await?;
    Ok(UsbDevices { usb_devices_info: devices.iter().map(usb).collect() })
}

/// All or nothing: what the kernel could not find room for is given back.
pub async fn enable_huge_pages(cx: Cx<Host>, cmd: EnableHugePages) -> Result<Done, Fault> {
    let kib = cmd.page_size << 10;
    let Some(before) = hardware::huge_pages(kib) else {
        let sizes: Vec<u64> = hardware::huge_page_sizes().into_iter().map(|kib| kib >> 10).collect();
        return Err(Fault::new(format!("pageSize {}: this host has pages of {sizes:?} MiB", cmd.page_size)));
    };
    let total = cx.libvirt.memory().await?.total >> 20;
    let left = total.checked_sub(cmd.reserve_size).filter(|left| *left >= cmd.page_size);
    let wanted = left.map(|left| left / cmd.page_size).ok_or_else(|| {
        let (reserved, size) = (cmd.reserve_size, cmd.page_size);
        Fault::new(format!("reserveSize {reserved}: of {total} MiB no page of {size} MiB is left"))
    })?;
    tokio::task::spawn_blocking(move || {
        hardware::set_huge_pages(kib, wanted)?;
        let got = hardware::huge_pages(kib).unwrap_or_default();
        if got >= wanted {
            tracing::info!(kib, pages = got, "huge pages are set aside");
            return Ok(Done {});
        }
        hardware::set_huge_pages(kib, before)?;
        Err(Fault::new(format!("only {got} of {wanted} huge pages are free: stop vms, or raise reserveSize")))
    })
    .await?
}

/// Those that VMs have stay until these stop.
pub async fn disable_huge_pages(_: Cx<Host>, _: DisableHugePages) -> Result<Done, Fault> {
    tokio::task::spawn_blocking(|| {
        for kib in hardware::huge_page_sizes() {
            hardware::set_huge_pages(kib, 0)?;
        }
        Ok(Done {})
    })
    .await?
}

fn module(found: Module) -> MemoryModule {
    let speed = |speed: u16| if speed == 0 { String::new() } else { format!("{speed} MT/s") };
    MemoryModule {
        size: format!("{} MB", found.size >> 20),
        speed: speed(found.speed),
        clock_speed: speed(found.configured),
        rank: found.rank.to_string(),
        voltage: format!("{}.{:03} V", found.voltage / 1000, found.voltage % 1000),
        manufacturer: found.manufacturer,
        locator: found.locator,
        serial_number: found.serial,
        kind: found.kind,
    }
}

fn node(found: Node) -> NumaNode {
    NumaNode {
        node_id: found.id.to_string(),
        cpus: found.cpus.iter().map(ToString::to_string).collect(),
        distance: found.distances,
        size: found.total,
        free: found.free,
        vms_uuid: Vec::new(),
    }
}

/// A name with a sign between names in it would be read as two.
fn usb(found: &Usb) -> String {
    let plain = |text: &String| text.replace([':', ';'], " ");
    let words = [
        &found.bus,
        &found.device,
        &found.vendor,
        &found.product,
        &found.maker,
        &found.name,
        &found.serial,
        &found.version,
    ];
    words.map(plain).join(":") + ";"
}
