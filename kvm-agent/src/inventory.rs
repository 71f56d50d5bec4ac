//! All that this agent made and that is still there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::netlink::{Kind, Link};
use wire::Fault;
use wire::agent::Owned;

use crate::localstorage::{CACHE, Storage};
use crate::state::Host;
use crate::sys::domain_xml::is_uuid;

pub async fn list(host: Arc<Host>) -> Result<Vec<Owned>, Fault> {
    let domains = host.libvirt.marked_domains().await?;
    let mut owned: Vec<Owned> =
        domains.into_iter().map(|(name, uuid)| of("domain", name, Some(uuid))).collect();
    owned.extend(host.net.links().await?.into_iter().filter_map(link));
    owned.extend(host.seeds.all()?.into_iter().map(seed));
    let storages = host.storages.all().await;
    owned.extend(tokio::task::spawn_blocking(move || files(&storages)).await??);
    Ok(owned)
}

/// A tap is ours by its name (QEMU's end makes it before it can be marked), what a network is made of by its mark.
fn link(link: Link) -> Option<Owned> {
    let mark = link.mark().map(str::to_owned);
    match link.kind {
        Kind::Tun if link.name.starts_with("vnic") => Some(of("tap", link.name, mark)),
        Kind::Bridge => mark.map(|mark| of("bridge", link.name, Some(mark))),
        Kind::Vlan { .. } => mark.map(|mark| of("vlan", link.name, Some(mark))),
        Kind::Vxlan { .. } => mark.map(|mark| of("vxlan", link.name, Some(mark))),
        _ => None,
    }
}

fn seed((uuid, path): (String, PathBuf)) -> Owned {
    of("seed", path.to_string_lossy().into_owned(), Some(uuid))
}

fn files(storages: &[Storage]) -> std::io::Result<Vec<Owned>> {
    let mut owned = Vec::new();
    for storage in storages {
        owned.extend(storage.files()?.into_iter().map(file));
    }
    Ok(owned)
}

fn file(path: PathBuf) -> Owned {
    let cached = path.components().any(|component| component.as_os_str() == CACHE);
    let kind = if cached { "image" } else { "volume" };
    of(kind, path.to_string_lossy().into_owned(), uuid_in(&path))
}

/// Volumes and images are named by their uuid.
fn uuid_in(path: &Path) -> Option<String> {
    path.file_stem()?.to_str().filter(|stem| is_uuid(stem)).map(str::to_owned)
}

fn of(kind: &str, name: String, resource: Option<String>) -> Owned {
    Owned { kind: kind.to_owned(), name, resource }
}
