//! Where files lie in a storage that is a directory, as ZStack lays them out.

use super::PrimaryStorageInventory;
use super::driver::{NewVolume, Wanted};

pub(super) fn root(storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
    let NewVolume { uuid, account, .. } = volume;
    format!("{}/rootVolumes/acct-{account}/vol-{uuid}/{uuid}.qcow2", storage.mount_path)
}

pub(super) fn data(storage: &PrimaryStorageInventory, volume: &NewVolume) -> String {
    let NewVolume { uuid, account, .. } = volume;
    format!("{}/dataVolumes/acct-{account}/vol-{uuid}/{uuid}.qcow2", storage.mount_path)
}

/// Another file of the volume that has one at `path`: all lie in its own directory.
pub(super) fn layer(path: &str, volume: &str, name: &str) -> String {
    let own = format!("/vol-{volume}/");
    let dir = match path.find(&own) {
        Some(at) => &path[..at + own.len() - 1],
        None => path.rsplit_once('/').map_or("", |(dir, _)| dir),
    };
    format!("{dir}/snapshots/{name}.qcow2")
}

pub(super) fn cache(storage: &PrimaryStorageInventory) -> String {
    format!("{}/imagecache", storage.mount_path)
}

pub(super) fn cached(storage: &PrimaryStorageInventory, image: &Wanted) -> String {
    format!("{}/template/{}/{}", cache(storage), image.image, image.image)
}

/// Bytes as rows hold them.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_volume_lie_in_its_own_directory() {
        let own = "/ps/dataVolumes/acct-1/vol-2";
        let at = |path: &str| layer(path, "2", "3");
        assert_eq!(at(&format!("{own}/2.qcow2")), format!("{own}/snapshots/3.qcow2"));
        assert_eq!(at(&format!("{own}/snapshots/9.qcow2")), format!("{own}/snapshots/3.qcow2"));
        assert_eq!(at("/ps/odd.qcow2"), "/ps/snapshots/3.qcow2");
    }
}
