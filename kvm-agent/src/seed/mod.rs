//! The discs that tell guests who they are: `meta-data`, `user-data` and `network-config`, on a volume labelled
//! `cidata`.
//!
//! A disc is written before its VM starts, anew for each start, and as a whole or not at all; it stays while
//! the VM is there, through its reboots, and goes with it. What stands on it may be secret: it is read by its
//! owner and by the QEMU that libvirt gives it to, and is never logged. A VM that moves takes its disc along,
//! as it is: its guest would not notice another.

mod disc;
mod text;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::seed::{Read, Seed, SeedTold, Write};

use crate::record::replace;
use crate::state::Host;
use crate::vm::checked;
use disc::{File, disc};

/// Beside what else libvirt's QEMUs are given; the way there must be open to their user.
pub const DIR: &str = "/var/lib/libvirt/cumulet-seeds";
const LABEL: &str = "cidata";
/// Of user data; no guest takes more.
const MOST: usize = 64 << 10;
/// Of a whole disc: user data, keys and what a disc needs.
const LARGEST: usize = 1 << 20;
/// As [`replace`] names what it has not finished.
const UNFINISHED: &str = ".new-";

pub struct Seeds {
    dir: Arc<Path>,
}

impl Seeds {
    /// Removes what an agent that died left half written.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        for name in names(&dir)?.into_iter().filter(|name| name.starts_with(UNFINISHED)) {
            fs::remove_file(dir.join(name))?;
        }
        Ok(Seeds { dir: dir.into() })
    }

    /// The VM's disc says this from now on, or there is none: where it is.
    pub async fn prepare(&self, uuid: &str, seed: Option<&Seed>) -> Result<Option<PathBuf>, Fault> {
        match seed {
            Some(seed) => self.put(uuid, disc(LABEL, &files(seed)?)).await.map(Some),
            None => Ok(self.forget(uuid).map(|()| None)?),
        }
    }

    /// Succeeds when there is none.
    pub fn forget(&self, uuid: &str) -> io::Result<()> {
        match fs::remove_file(self.path(uuid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whose discs there are, and where.
    pub fn all(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let names = names(&self.dir)?.into_iter();
        let of = |name: String| Some((name.strip_suffix(".iso")?.to_owned(), self.dir.join(&name)));
        Ok(names.filter_map(of).collect())
    }

    async fn put(&self, uuid: &str, bytes: Vec<u8>) -> Result<PathBuf, Fault> {
        let (dir, path) = (self.dir.clone(), self.path(uuid));
        let written = tokio::task::spawn_blocking(move || {
            fs::DirBuilder::new().recursive(true).mode(0o711).create(&dir)?;
            replace(&path, &bytes).map(|()| path)
        });
        Ok(written.await??)
    }

    fn path(&self, uuid: &str) -> PathBuf {
        self.dir.join(format!("{uuid}.iso"))
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn files(seed: &Seed) -> Result<Vec<File>, Fault> {
    if seed.instance_id.is_empty() {
        return Err(Fault::new("seed.instanceId is empty: give the vm's uuid"));
    }
    let user_data = STANDARD.decode(&seed.user_data).map_err(|_| Fault::new("seed.userData is no base64"))?;
    if user_data.len() > MOST {
        return Err(Fault::new(format!("seed.userData is larger than {MOST} bytes")));
    }
    let mut files = vec![
        File { name: "meta-data", content: text::meta_data(seed).into_bytes() },
        File { name: "user-data", content: user_data },
    ];
    let network = text::network_config(seed).map(String::into_bytes);
    files.extend(network.map(|content| File { name: "network-config", content }));
    Ok(files)
}

pub async fn read(cx: Cx<Host>, cmd: Read) -> Result<SeedTold, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    match fs::read(cx.seeds.path(&uuid)) {
        Ok(bytes) => Ok(SeedTold { disc: Some(STANDARD.encode(bytes)) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SeedTold::default()),
        Err(error) => Err(error.into()),
    }
}

/// A VM that is here has its own already.
pub async fn write(cx: Cx<Host>, cmd: Write) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let bytes = STANDARD.decode(&cmd.disc).map_err(|_| Fault::new("disc is no base64"))?;
    if bytes.len() > LARGEST {
        return Err(Fault::new(format!("disc is larger than {LARGEST} bytes")));
    }
    if cx.libvirt.find(&uuid).await?.is_none() {
        cx.seeds.put(&uuid, bytes).await?;
    }
    Ok(Done {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(user_data: &str) -> Seed {
        Seed { instance_id: "a".into(), user_data: STANDARD.encode(user_data), ..Seed::default() }
    }

    #[tokio::test]
    async fn a_disc_is_replaced_as_a_whole_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let seeds = Seeds::open(dir.path().join("seeds")).unwrap();
        assert_eq!(seeds.all().unwrap(), []);
        seeds.forget("vm").unwrap();
        let path = seeds.prepare("vm", Some(&seed("one"))).await.unwrap().unwrap();
        let first = fs::read(&path).unwrap();
        seeds.prepare("vm", Some(&seed("two"))).await.unwrap();
        assert_ne!(fs::read(&path).unwrap(), first);
        fs::write(path.with_file_name(".new-half"), "half").unwrap();
        let seeds = Seeds::open(dir.path().join("seeds")).unwrap();
        assert_eq!(seeds.all().unwrap(), [("vm".to_owned(), path.clone())]);
        assert_eq!(seeds.prepare("vm", None).await.unwrap(), None);
        assert_eq!(fs::read_dir(dir.path().join("seeds")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_no_guest_could_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let seeds = Seeds::open(dir.path().to_owned()).unwrap();
        let wrong = [
            (Seed::default(), "instanceId"),
            (Seed { user_data: "?".into(), ..seed("") }, "no base64"),
            (seed(&"x".repeat(MOST + 1)), "larger"),
        ];
        for (seed, why) in wrong {
            let refused = seeds.prepare("vm", Some(&seed)).await.unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(seeds.all().unwrap(), []);
    }
}
