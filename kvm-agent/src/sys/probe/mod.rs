//! Whether KVM really works here: found out by booting, never by looking.
//!
//! A host may offer `/dev/kvm` and start guests that never get anywhere (a hypervisor below it that
//! emulates what it cannot virtualise). So a trial guest is run under KVM, bounded in time; only when it
//! passes every stage do guests get KVM. The verdict holds for one boot of the host and one QEMU.

mod payload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::process::program;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::domain_xml::VirtType;
use super::machine;
use crate::config::VirtChoice;
use crate::record::replace;

/// A processor that works needs a tenth of a second for the trial, an emulated one minutes.
const LIMIT: Duration = Duration::from_secs(10);
const EMULATORS: [&str; 3] = ["/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm"];

/// How guests run here, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub virt: VirtType,
    pub why: String,
}

/// Asked by whoever needs the verdict; found out once.
pub struct Probe {
    choice: Choice,
    emulator: Option<PathBuf>,
    memory: PathBuf,
    verdict: OnceCell<Verdict>,
}

enum Choice {
    Given(VirtType, &'static str),
    Try,
}

/// A verdict and what it holds for.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    boot: String,
    qemu: String,
    verdict: Verdict,
}

impl Probe {
    /// `memory` is the file that keeps the verdict.
    pub fn new(choice: VirtChoice, test_driver: bool, emulator: Option<PathBuf>, memory: PathBuf) -> Self {
        let choice = match (test_driver, choice) {
            (true, _) => Choice::Given(VirtType::Test, "libvirt's test driver runs no guests"),
            (false, VirtChoice::Kvm) => Choice::Given(VirtType::Kvm, "the configuration says so"),
            (false, VirtChoice::Qemu) => Choice::Given(VirtType::Qemu, "the configuration says so"),
            (false, VirtChoice::Auto) => Choice::Try,
        };
        Probe { choice, emulator, memory, verdict: OnceCell::new() }
    }

    /// Waits for the trial when it is not over.
    pub async fn verdict(&self) -> &Verdict {
        self.verdict.get_or_init(|| self.find_out()).await
    }

    async fn find_out(&self) -> Verdict {
        let verdict = match &self.choice {
            Choice::Given(virt, why) => Verdict { virt: *virt, why: (*why).to_owned() },
            Choice::Try => self.recall_or_try().await,
        };
        tracing::info!(virt = verdict.virt.as_str(), why = verdict.why, "how guests run");
        verdict
    }

    async fn recall_or_try(&self) -> Verdict {
        let Some(emulator) = self.emulator() else { return emulated("no qemu was found to try kvm with") };
        let qemu = match program(&emulator).arg("--version").text().await {
            Ok(version) => version.lines().next().unwrap_or_default().to_owned(),
            Err(error) => return emulated(error.to_string()),
        };
        let boot = machine::boot_id();
        if let Some(verdict) = self.recall(&boot, &qemu) {
            return verdict;
        }
        let verdict = try_kvm(&emulator).await;
        self.remember(&Remembered { boot, qemu, verdict: verdict.clone() });
        verdict
    }

    fn emulator(&self) -> Option<PathBuf> {
        let mut known = EMULATORS.iter().map(PathBuf::from);
        self.emulator.clone().or_else(|| known.find(|path| path.exists()))
    }

    fn recall(&self, boot: &str, qemu: &str) -> Option<Verdict> {
        let remembered: Remembered = serde_json::from_slice(&fs::read(&self.memory).ok()?).ok()?;
        (remembered.boot == boot && remembered.qemu == qemu).then_some(remembered.verdict)
    }

    /// A verdict that is not kept costs a trial at the next start, no more.
    fn remember(&self, remembered: &Remembered) {
        let kept = serde_json::to_vec(remembered).map_err(io::Error::from);
        if let Err(error) = kept.and_then(|text| replace(&self.memory, &text)) {
            tracing::warn!(%error, "cannot keep the verdict about kvm");
        }
    }
}

fn emulated(why: impl Into<String>) -> Verdict {
    Verdict { virt: VirtType::Qemu, why: why.into() }
}

async fn try_kvm(emulator: &Path) -> Verdict {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return emulated(format!("/dev/kvm cannot be opened: {error}"));
    }
    match trial(emulator, "kvm", "host").await {
        Ok(()) => Verdict { virt: VirtType::Kvm, why: "the trial guest booted under kvm".into() },
        Err(why) => emulated(format!("/dev/kvm is there, but the trial guest did not boot: {why}")),
    }
}

/// Boots the trial guest; an error tells how far it came.
async fn trial(emulator: &Path, accelerator: &str, cpu: &str) -> Result<(), String> {
    let sector = payload::boot_sector().ok_or("there is no trial guest for this architecture")?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (disk, serial) = (dir.path().join("disk"), dir.path().join("serial"));
    let mut image = vec![0; 1 << 20];
    image[..sector.len()].copy_from_slice(sector);
    fs::write(&disk, image).map_err(|error| error.to_string())?;
    let ended = program(emulator)
        .args(["-machine", &format!("pc,accel={accelerator}"), "-cpu", cpu, "-m", "32", "-smp", "1"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", &format!("file:{}", serial.display())])
        .arg("-drive")
        .arg(format!("if=none,id=boot,format=raw,read-only=on,file={}", option_value(&disk)))
        .args(["-device", "virtio-blk-pci,drive=boot"])
        .limit(LIMIT)
        .run()
        .await;
    let written = fs::read(&serial).unwrap_or_default();
    let written = String::from_utf8_lossy(&written);
    if written == payload::PASSED {
        return Ok(());
    }
    let end = ended.err().map_or_else(|| "it reset itself".to_owned(), |error| brief(&error));
    Err(format!("{} ({end})", payload::failed_stage(&written)))
}

fn brief(error: &host::process::Error) -> String {
    match error {
        host::process::Error::Slow { limit, .. } => format!("stopped after {} s", limit.as_secs()),
        host::process::Error::Failed { stderr, .. } => stderr.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

/// QEMU ends an option's value at a comma; two stand for one.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(choice: VirtChoice, memory: PathBuf) -> Probe {
        Probe::new(choice, false, None, memory)
    }

    #[tokio::test]
    async fn the_trial_guest_passes_on_a_processor_that_works() {
        trial(Path::new(EMULATORS[0]), "tcg", "max").await.unwrap();
    }

    #[tokio::test]
    async fn a_processor_without_long_mode_fails_the_trial() {
        let why = trial(Path::new(EMULATORS[0]), "tcg", "qemu32").await.unwrap_err();
        assert!(why.starts_with("it did not reach long mode"), "{why}");
    }

    #[tokio::test]
    async fn a_qemu_that_does_not_start_fails_the_trial_with_its_words() {
        let why = trial(Path::new(EMULATORS[0]), "nosuch", "max").await.unwrap_err();
        assert!(why.contains("nosuch"), "{why}");
    }

    #[tokio::test]
    async fn the_configuration_can_overrule_the_trial() {
        let memory = PathBuf::from("/no/such/dir/probe");
        assert_eq!(probe(VirtChoice::Kvm, memory.clone()).verdict().await.virt, VirtType::Kvm);
        assert_eq!(probe(VirtChoice::Qemu, memory).verdict().await.virt, VirtType::Qemu);
    }

    #[tokio::test]
    async fn a_verdict_is_remembered_for_this_boot_and_this_qemu_only() {
        let dir = tempfile::tempdir().unwrap();
        let probe = probe(VirtChoice::Auto, dir.path().join("probe"));
        let verdict = emulated("as a test says");
        probe.remember(&Remembered { boot: "b".into(), qemu: "q".into(), verdict: verdict.clone() });
        assert_eq!(probe.recall("b", "q"), Some(verdict));
        assert_eq!(probe.recall("b2", "q"), None);
        assert_eq!(probe.recall("b", "q2"), None);
    }
}
