//! The guest image, on its own: firmware, screen, web page, power button.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use cumulet_tests::guest;
use cumulet_tests::lab::program::{command, run};

struct Qemu {
    dir: PathBuf,
    child: Child,
}

impl Qemu {
    fn boot(dir: &Path, disk: &Path) -> Self {
        let _new = std::fs::remove_file(dir.join("serial.log"));
        let serial = format!("file:{}", dir.join("serial.log").display());
        let control = format!("unix:{},server=on,wait=off", dir.join("qmp").display());
        let drive = format!("file={},format=qcow2,if=virtio", disk.display());
        let machine = ["-accel", "tcg", "-machine", "q35", "-m", "96", "-display", "none"];
        let devices = ["-serial", &serial, "-qmp", &control, "-drive", &drive];
        let network = ["-nic", "user,model=virtio-net-pci,restrict=on,hostname=hello"];
        let args = machine.into_iter().chain(devices).chain(network);
        let child = command("qemu-system-x86_64", args).spawn().unwrap();
        Self { dir: dir.to_owned(), child }
    }

    fn serial(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("serial.log")).unwrap_or_default()).into_owned()
    }

    fn says(&mut self, text: &str) {
        self.until(text, |qemu| qemu.serial().contains(text));
    }

    /// Presses the power button until the guest obeys: a busy guest may not listen to it yet.
    fn power_off(&mut self) {
        let mut pressed = None;
        self.until("the end of QEMU", |qemu| {
            if qemu.child.try_wait().unwrap().is_some() {
                return true;
            }
            if pressed.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(5)) {
                pressed = Some(Instant::now());
                qemu.order("{\"execute\":\"system_powerdown\"}");
            }
            false
        });
    }

    #[expect(clippy::disallowed_methods, reason = "a plain thread waits")]
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < patience, "not within 60 s: {what}; the guest says:\n{}", self.serial());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Does nothing when QEMU has just ended.
    fn order(&self, order: &str) {
        let Ok(mut stream) = UnixStream::connect(self.dir.join("qmp")) else { return };
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        lines.next().unwrap().unwrap();
        for order in ["{\"execute\":\"qmp_capabilities\"}", order] {
            writeln!(stream, "{order}").unwrap();
            let mut answers = lines.by_ref().map(Result::unwrap).filter(|line| !line.contains("\"event\""));
            let answer = answers.next().unwrap();
            assert!(answer.contains("return"), "{answer}");
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _already_ended = self.child.wait();
    }
}

#[test]
fn the_guest_boots_by_firmware_takes_its_name_by_dhcp_and_obeys_the_power_button() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
    std::fs::create_dir_all(&dir).unwrap();
    let image = guest::image(&cumulet_tests::guest_cache()).unwrap();
    let disk = dir.join("disk.qcow2");
    let _new = std::fs::remove_file(&disk);
    let backing = image.to_str().unwrap();
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, disk.to_str().unwrap()])
        .unwrap();
    for boots in 1..=2 {
        let mut qemu = Qemu::boot(&dir, &disk);
        qemu.says(&format!("GUEST-READY host=hello ip=10.0.2.15 boots={boots}"));
        qemu.says("hello login:");
        qemu.power_off();
        assert!(qemu.serial().contains("GUEST-POWEROFF"));
    }
}
