//! Looks at a storage and its files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use host::qcow2;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::localstorage::{BitsChecked, Capacity, CheckBits, GetCapacity, GetSize, Size};

use crate::state::Host;

pub async fn get_capacity(cx: Cx<Host>, cmd: GetCapacity) -> Result<Capacity, Fault> {
    let storage = cx.storage(&cmd.storage_path)?;
    let space = tokio::task::spawn_blocking(move || storage.space()).await??;
    Ok(Capacity { total_capacity: Some(space.total), available_capacity: Some(space.available) })
}

pub async fn check_bits(cx: Cx<Host>, cmd: CheckBits) -> Result<BitsChecked, Fault> {
    let path = cx.storage(&cmd.storage_path)?.resolve(&cmd.path)?;
    Ok(BitsChecked { existing: tokio::fs::try_exists(path).await? })
}

pub async fn get_size(cx: Cx<Host>, cmd: GetSize) -> Result<Size, Fault> {
    let path = cx.storage(&cmd.storage_path)?.resolve(&cmd.install_path)?;
    tokio::task::spawn_blocking(move || size_of(&path)).await?
}

/// Also of a volume that a guest has open.
pub(super) fn size_of(path: &Path) -> Result<Size, Fault> {
    let header = qcow2::read_header(path).map_err(|error| Fault::new(format!("{path:?}: {error}")))?;
    Ok(Size { size: header.virtual_size, actual_size: std::fs::metadata(path)?.blocks() * 512 })
}
