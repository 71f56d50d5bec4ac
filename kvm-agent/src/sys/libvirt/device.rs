//! Devices of running domains. Changes are to what runs only: domains have no other definition.

use std::ffi::CString;

use virt::domain::SchedulerInfo;
use virt::sys;

use super::{ACT, Error, Libvirt, done};

const LIVE: u32 = sys::VIR_DOMAIN_AFFECT_LIVE;

impl Libvirt {
    /// The document of a running domain as libvirt has it now.
    pub async fn live_xml(&self, name: &str) -> Result<String, Error> {
        self.xml(name, 0).await
    }

    pub async fn attach(&self, name: &str, doing: &'static str, device: String) -> Result<(), Error> {
        self.on(name, doing, ACT, move |domain| domain.attach_device_flags(&device, LIVE).map(drop)).await
    }

    /// Asks the guest to let go of the device with this alias. Whether it did is for the caller to see.
    pub async fn detach(&self, name: &str, doing: &'static str, alias: &str) -> Result<(), Error> {
        let alias = c_string(alias);
        self.on(name, doing, ACT, move |domain| {
            // SAFETY: both pointers live as long as the call, which keeps neither.
            done(unsafe { sys::virDomainDetachDeviceAlias(domain.as_ptr(), alias.as_ptr(), LIVE) })
        })
        .await
    }

    /// Changes a device to what the element says; `force` does not ask the guest.
    pub async fn update(
        &self,
        name: &str,
        doing: &'static str,
        device: String,
        force: bool,
    ) -> Result<(), Error> {
        let flags = LIVE | if force { sys::VIR_DOMAIN_DEVICE_MODIFY_FORCE } else { 0 };
        self.on(name, doing, ACT, move |domain| domain.update_device_flags(&device, flags).map(drop)).await
    }

    pub async fn set_vcpus(&self, name: &str, count: u32) -> Result<(), Error> {
        self.on(name, "plug cpus in", ACT, move |domain| domain.set_vcpus_flags(count, LIVE).map(drop)).await
    }

    pub async fn set_cpu_shares(&self, name: &str, shares: u64) -> Result<(), Error> {
        self.on(name, "set the domain's cpu share", ACT, move |domain| {
            let mut scheduler = domain.get_scheduler_parameters()?;
            scheduler =
                SchedulerInfo { scheduler_type: scheduler.scheduler_type, ..SchedulerInfo::default() };
            scheduler.cpu_shares = Some(shares);
            domain.set_scheduler_parameters_flags(&scheduler, LIVE).map(drop)
        })
        .await
    }

    /// Keeps what QEMU does beside the guest's CPUs on these host CPUs.
    pub async fn pin_emulator(&self, name: &str, cpus: Vec<bool>) -> Result<(), Error> {
        let map = cpu_map(&cpus);
        self.on(name, "pin the emulator", ACT, move |domain| domain.pin_emulator(&map, LIVE).map(drop)).await
    }
}

/// As libvirt wants it: the first CPU is the lowest bit.
pub(super) fn cpu_map(cpus: &[bool]) -> Vec<u8> {
    let byte = |cpus: &[bool]| cpus.iter().rev().fold(0_u8, |bits, cpu| bits << 1 | u8::from(*cpu));
    cpus.chunks(8).map(byte).collect()
}

/// No text that goes to libvirt holds a NUL: paths, names and documents are checked before.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}
