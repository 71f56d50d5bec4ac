//! What the guest's processor runs first: BIOS or UEFI, Secure Boot, a TPM.

use super::Machine;
use super::build::{Build, Outcome, architecture};
use super::model::*;

/// Where the variables of UEFI firmwares are kept. libvirt's own place: it may write there.
const NVRAM: &str = "/var/lib/libvirt/qemu/nvram";

/// The file of a VM's firmware variables.
pub fn nvram(uuid: &str) -> String {
    format!("{NVRAM}/{uuid}_VARS.fd")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BootMode {
    Bios,
    Uefi,
}

impl Build<'_> {
    pub(super) fn os(&self) -> Outcome<Os> {
        let start = self.start;
        let uefi = self.boot_mode()? == BootMode::Uefi;
        let menu = Enable { enable: "yes", timeout: start.boot_menu_splash_timeout };
        Ok(Os {
            firmware: uefi.then_some("efi"),
            kind: OsType {
                arch: architecture(&start.image_architecture).to_owned(),
                machine: Some(self.machine.as_str().to_owned()).filter(|_| self.is_real()),
                kind: if self.is_real() { "hvm" } else { "xen" },
            },
            wanted: uefi.then(|| self.wanted_firmware()),
            loader: self.is_secure().then_some(Loader { secure: "yes" }),
            nvram: uefi.then(|| Text { text: nvram(&start.vm_instance_uuid) }),
            smbios: self.sysinfo().map(|_| Mode { mode: "sysinfo" }),
            boot_menu: start.use_boot_menu.then_some(menu),
        })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.start.secure_boot
    }

    pub(super) fn tpm(&self) -> Vec<Tpm> {
        let backend = TpmBackend { kind: "emulator", version: "2.0", persistent: "yes" };
        let model = if self.machine == Machine::Q35 { "tpm-crb" } else { "tpm-tis" };
        self.start.tpm.then_some(Tpm { model, backend }).into_iter().collect()
    }

    /// Secure Boot without keys would refuse nothing, and plain UEFI with them would refuse most.
    fn wanted_firmware(&self) -> Firmware {
        let enabled = if self.is_secure() { "yes" } else { "no" };
        let feature = |name| FirmwareFeature { enabled, name };
        Firmware { feature: vec![feature("enrolled-keys"), feature("secure-boot")] }
    }

    fn boot_mode(&self) -> Outcome<BootMode> {
        let mode = match self.start.boot_mode.as_deref().unwrap_or_default() {
            "" | "Legacy" => BootMode::Bios,
            "UEFI" => BootMode::Uefi,
            other => return Err(format!("boot mode {other:?} is not known: use Legacy or UEFI")),
        };
        match (self.is_secure(), mode, self.machine) {
            (true, BootMode::Bios, _) => Err("secure boot needs boot mode UEFI".into()),
            (true, _, Machine::Pc) => Err("secure boot needs machine type q35".into()),
            _ => Ok(mode),
        }
    }
}
