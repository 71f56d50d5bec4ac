//! What the host is.

use jiff::Timestamp;
use serde::Deserialize;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::host::{Fact, GetFact, VirtualizerInfo};

use crate::state::Host;
use crate::sys::domain_xml::VirtType;
use crate::sys::machine::{self, Processor};

pub async fn fact(cx: Cx<Host>, _: GetFact) -> Result<Fact, Fault> {
    let node = cx.libvirt.node().await?;
    let capabilities = Capabilities::read(&node.capabilities)?;
    let system = machine::operating_system();
    let processor = machine::processor();
    let virt = cx.probe.verdict().await.virt;
    Ok(Fact {
        os_distribution: system.id,
        os_version: system.version,
        os_release: system.codename,
        qemu_img_version: host::qemu_img::version().await?,
        libvirt_version: node.libvirt_version,
        hvm_cpu_flag: first_flag(&processor, &["vmx", "svm"]),
        ept_flag: first_flag(&processor, &["ept", "npt"]),
        cpu_architecture: machine::architecture().to_owned(),
        cpu_ghz: processor.gigahertz(),
        cpu_processor_num: processor.count.to_string(),
        cpu_model_name: processor.model,
        host_cpu_model_name: capabilities.cpu_model(),
        system_product_name: machine::firmware("product_name"),
        system_serial_number: machine::firmware("product_serial"),
        system_manufacturer: machine::firmware("sys_vendor"),
        system_uuid: capabilities.host.uuid.clone().unwrap_or_default(),
        uptime: started_at(),
        ip_addresses: ip_addresses(&cx).await?,
        libvirt_capabilities: capabilities.guests(),
        virtualizer_info: virtualizer(&cx, virt, &node.qemu_version).await,
        virt_type: virt.as_str().to_owned(),
    })
}

/// In ZStack's words.
pub fn virtualizer_name(virt: VirtType) -> &'static str {
    match virt {
        VirtType::Kvm => "qemu-kvm",
        VirtType::Qemu => "qemu",
        VirtType::Test => "test",
    }
}

async fn virtualizer(cx: &Cx<Host>, virt: VirtType, version: &str) -> VirtualizerInfo {
    VirtualizerInfo {
        uuid: cx.introduction.get().await.host_uuid,
        virtualizer: virtualizer_name(virt).to_owned(),
        version: version.to_owned(),
    }
}

fn first_flag(processor: &Processor, flags: &[&str]) -> String {
    flags.iter().find(|flag| processor.has(flag)).map(|flag| (*flag).to_owned()).unwrap_or_default()
}

/// As `uptime -s`, in UTC.
fn started_at() -> String {
    let seconds = machine::boot_time().and_then(|seconds| i64::try_from(seconds).ok());
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| time.strftime("%F %T").to_string()).unwrap_or_default()
}

async fn ip_addresses(cx: &Cx<Host>) -> Result<Vec<String>, Fault> {
    let addresses = cx.net.all_addresses().await?;
    let reachable = addresses.iter().filter(|address| !address.local && address.ip.is_ipv4());
    Ok(reachable.map(|address| address.ip.to_string()).collect())
}

/// The part of libvirt's capabilities document that is told on.
#[derive(Debug, Deserialize)]
struct Capabilities {
    host: HostCapabilities,
    #[serde(default)]
    guest: Vec<Guest>,
}

#[derive(Debug, Deserialize)]
struct HostCapabilities {
    uuid: Option<String>,
    cpu: Option<HostCpu>,
}

#[derive(Debug, Deserialize)]
struct HostCpu {
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Guest {
    os_type: String,
    arch: Arch,
}

#[derive(Debug, Deserialize)]
struct Arch {
    #[serde(rename = "@name")]
    name: String,
    #[serde(default)]
    domain: Vec<DomainType>,
}

#[derive(Debug, Deserialize)]
struct DomainType {
    #[serde(rename = "@type")]
    kind: String,
}

impl Capabilities {
    fn read(xml: &str) -> Result<Self, Fault> {
        quick_xml::de::from_str(xml)
            .map_err(|e| Fault::new(format!("cannot read libvirt's capabilities: {e}")))
    }

    fn cpu_model(&self) -> String {
        self.host.cpu.as_ref().and_then(|cpu| cpu.model.clone()).unwrap_or_default()
    }

    /// `hvm/x86_64/kvm` and so on: what libvirt offers, not what was proven to work.
    fn guests(&self) -> Vec<String> {
        let of = |guest: &Guest| {
            let (os, arch) = (guest.os_type.clone(), guest.arch.name.clone());
            let kinds = guest.arch.domain.iter().map(move |domain| format!("{os}/{arch}/{}", domain.kind));
            kinds.collect::<Vec<_>>()
        };
        self.guest.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[tokio::test]
    async fn every_fact_that_zstack_insists_on_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let fact = fact(host(dir.path()), GetFact::default()).await.unwrap();
        for (name, value) in [
            ("osDistribution", &fact.os_distribution),
            ("qemuImgVersion", &fact.qemu_img_version),
            ("libvirtVersion", &fact.libvirt_version),
            ("cpuModelName", &fact.cpu_model_name),
            ("cpuGHz", &fact.cpu_ghz),
            ("uptime", &fact.uptime),
        ] {
            assert!(!value.is_empty(), "{name}");
        }
        assert!(fact.qemu_img_version.starts_with(|c: char| c.is_ascii_digit()), "{}", fact.qemu_img_version);
        assert_eq!(fact.virt_type, "test");
        assert!(!fact.libvirt_capabilities.is_empty());
    }
}
