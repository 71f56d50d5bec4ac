//! A Linux guest, spoken to through its serial console.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Lab;

const HERE: &str = "qemu:///system";
/// Guests are emulated.
const BOOT: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(60);

pub struct Guest {
    input: File,
    log: PathBuf,
    commands: u32,
}

impl Guest {
    /// Waits for its prompt and logs in.
    pub async fn of(lab: &Lab, uuid: &str) -> Guest {
        Guest::at(HERE, lab.path(&format!("consoles/{uuid}.log")).into(), uuid).await
    }

    /// One of the libvirt at `uri`.
    pub async fn at(uri: &str, log: PathBuf, uuid: &str) -> Guest {
        let mut guest = Guest { input: terminal(uri, uuid), log, commands: 0 };
        guest.until("login:", BOOT, 0).await;
        writeln!(guest.input, "root").unwrap();
        guest.until("# ", ANSWER, 0).await;
        guest.says("stty cols 400; PS1=; true").await;
        guest
    }

    /// It runs there now, and says what it says to the same file.
    pub fn moved(&mut self, uri: &str, uuid: &str) {
        self.input = terminal(uri, uuid);
    }

    /// What the command prints.
    pub async fn says(&mut self, command: &str) -> String {
        self.commands += 1;
        let (from, number) = (self.heard().len(), self.commands);
        writeln!(self.input, "{command}; echo E''ND-{number}-").unwrap();
        let end = format!("END-{number}-");
        let text = self.until(&end, ANSWER, from).await;
        let text = text.split_once(&format!("E''ND-{number}-")).map_or(text.as_str(), |(_, after)| after);
        text.split(&end).next().unwrap_or_default().trim().to_owned()
    }

    /// Until the command prints the text.
    pub async fn comes_to_say(&mut self, command: &str, wanted: &str) {
        let until = Instant::now() + ANSWER;
        loop {
            let said = self.says(command).await;
            if said.contains(wanted) {
                return;
            }
            assert!(Instant::now() < until, "{command:?} never said {wanted:?}, but {said:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until(&self, wanted: &str, patience: Duration, from: usize) -> String {
        let until = Instant::now() + patience;
        loop {
            let heard = self.heard();
            let new = heard.get(from..).unwrap_or_default();
            if new.contains(wanted) {
                return new.to_owned();
            }
            assert!(Instant::now() < until, "the guest never said {wanted:?}, but\n{new}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn heard(&self) -> String {
        fs::read(&self.log).unwrap_or_default().iter().map(|byte| char::from(*byte & 0x7f)).collect()
    }
}

/// Made when it is not there: outside of a lab, since parts of it are fetched.
pub fn image() -> PathBuf {
    cumulet_tests::guest::image(&cumulet_tests::guest_cache()).unwrap()
}

/// A start command with a Linux guest on its root disk, which is laid down at `root`.
pub fn linux(uuid: &str, root: (&str, &str)) -> Value {
    let (volume, path) = root;
    fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
    fs::copy(image(), path).unwrap();
    json!({
        "vmInstanceUuid": uuid, "vmName": "linux", "memory": 256 << 20, "cpuNum": 1, "clock": "utc",
        "bootDev": ["hd"],
        "rootVolume": {
            "installPath": path, "deviceType": "file", "volumeUuid": volume, "useVirtio": true,
            "format": "qcow2", "cacheMode": "none",
        },
    })
}

fn terminal(uri: &str, uuid: &str) -> File {
    let terminal = ask(uri, &["ttyconsole", uuid]);
    File::options().write(true).open(terminal.trim()).unwrap()
}

pub fn virsh(args: &[&str]) -> String {
    ask(HERE, args)
}

fn ask(uri: &str, args: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "asks libvirt behind the agent's back")]
    let done = Command::new("virsh").args(["-c", uri]).args(args).output().unwrap();
    assert!(done.status.success(), "virsh {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
