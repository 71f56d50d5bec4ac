//! Snapshots of volumes that no VM has open.

use std::path::PathBuf;

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::localstorage::{
    Capacity, Merge, MergeAndRebase, Merged, NewVolume, OfflineMerge, RebaseAll, Reinit, Revert, VerifyChain,
};

use host::qcow2::Format;

use super::capacity::size_of;
use super::layers::{self, sibling};
use crate::state::Host;

/// A volume that shows a snapshot until it is written to, beside the snapshot.
pub async fn revert(cx: Cx<Host>, cmd: Revert) -> Result<NewVolume, Fault> {
    renew(&cx, &cmd.snapshot_install_path, &cmd.snapshot_install_path).await
}

/// A volume that shows its image again, beside the old one.
pub async fn reinit(cx: Cx<Host>, cmd: Reinit) -> Result<NewVolume, Fault> {
    renew(&cx, &cmd.image_path, &cmd.volume_path).await
}

/// All that a snapshot shows, in one file.
pub async fn merge(cx: Cx<Host>, cmd: Merge) -> Result<Merged, Fault> {
    flatten(&cx, &cmd.snapshot_install_path, &cmd.workspace_install_path).await
}

/// Puts each snapshot on the one before it, then copies the last into one file.
pub async fn merge_and_rebase(cx: Cx<Host>, cmd: MergeAndRebase) -> Result<Merged, Fault> {
    let paths = &cmd.snapshot_install_paths;
    for pair in paths.windows(2) {
        layers::relink(&cx, &pair[1], &pair[0]).await?;
    }
    let last = paths.last().ok_or_else(|| Fault::new("no snapshot is named: there is nothing to merge"))?;
    flatten(&cx, last, &cmd.workspace_install_path).await
}

/// Puts a volume directly on `src_path`, or on nothing.
pub async fn offline_merge(cx: Cx<Host>, cmd: OfflineMerge) -> Result<Capacity, Fault> {
    let base = Some(cmd.src_path.as_str()).filter(|_| !cmd.full_rebase);
    layers::rebase(&cx, &cmd.dest_path, base).await?;
    let space = layers::storage_of(&cx, &cmd.dest_path).await?.space()?;
    Ok(Capacity { total_capacity: Some(space.total), available_capacity: Some(space.available) })
}

pub async fn verify_chain(cx: Cx<Host>, cmd: VerifyChain) -> Result<Done, Fault> {
    for snapshot in cmd.snapshots {
        let path = layers::existing(&cx, &snapshot.path).await?;
        let expected = snapshot.parent_path.filter(|parent| !parent.is_empty()).map(PathBuf::from);
        let found = layers::backing(&path)?;
        if expected.is_some() && found != expected {
            let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
            return Err(Fault::new(format!("{path:?} stands on {found:?}, not on {expected:?}")));
        }
    }
    Ok(Done {})
}

/// Names the backing files again, as after a move: nothing is copied.
pub async fn rebase_all(cx: Cx<Host>, cmd: RebaseAll) -> Result<Done, Fault> {
    for snapshot in cmd.snapshots {
        if let Some(parent) = snapshot.parent_path.filter(|parent| !parent.is_empty()) {
            layers::relink(&cx, &snapshot.path, &parent).await?;
        }
    }
    Ok(Done {})
}

/// The new file's name is the task's: a repeated command finds it.
async fn renew(cx: &Cx<Host>, base: &str, beside: &str) -> Result<NewVolume, Fault> {
    let path = layers::existing(cx, base).await?;
    let format = tokio::task::spawn_blocking(move || layers::format_of(&path)).await??;
    let format = if format == Format::Qcow2 { format } else { Format::Raw };
    let new_volume_install_path = sibling(beside, cx.task().id.as_str());
    layers::overlay(cx, &new_volume_install_path, base, format).await?;
    let made = layers::existing(cx, &new_volume_install_path).await?;
    let size = tokio::task::spawn_blocking(move || size_of(&made)).await??.size;
    Ok(NewVolume { new_volume_install_path, size })
}

async fn flatten(cx: &Cx<Host>, from: &str, to: &str) -> Result<Merged, Fault> {
    layers::copy(cx, from, Format::Qcow2, to).await?;
    let (storage, made) = (layers::storage_of(cx, to).await?, layers::existing(cx, to).await?);
    tokio::task::spawn_blocking(move || {
        let (size, space) = (size_of(&made)?, storage.space()?);
        Ok(Merged {
            size: size.size,
            actual_size: size.actual_size,
            total_capacity: Some(space.total),
            available_capacity: Some(space.available),
        })
    })
    .await?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use host::process::program;
    use host::qemu_img;
    use wire::calls::localstorage::{
        BatchGetSize, CheckMd5, CreateTemplate, GetBackingChain, GetBackingFile, GetMd5, GetReferences,
        HardLink, Init, Layer, Md5, Resize,
    };
    use wire::calls::snapshot::{Take, TakeMany};

    use super::*;
    use crate::{localstorage, testing, vm};

    const SIZE: u64 = 1 << 20;

    /// A storage with a volume that begins with ones, and a layer upon it that goes on with twos.
    struct Bed {
        _dir: tempfile::TempDir,
        cx: Cx<Host>,
        ps: String,
    }

    impl Bed {
        async fn new() -> Bed {
            let dir = tempfile::tempdir().unwrap();
            let cx = testing::host(&dir.path().join("state"));
            let ps = dir.path().join("ps").to_str().unwrap().to_owned();
            let init = Init { uuid: "ps".into(), path: ps.clone(), ..Init::default() };
            localstorage::init(cx.clone(), init).await.unwrap();
            let bed = Bed { _dir: dir, cx, ps };
            qemu_img::create(Path::new(&bed.path("base")), Format::Qcow2, SIZE).await.unwrap();
            bed.write("base", 1, 0).await;
            for _ in 0..2 {
                let take = Take {
                    volume_install_path: bed.path("base"),
                    install_path: bed.path("ignored"),
                    new_volume_install_path: Some(bed.path("top")),
                    ..Take::default()
                };
                let taken = vm::take_snapshot(bed.cx.clone(), take).await.unwrap();
                assert_eq!(
                    (taken.snapshot_install_path, taken.new_volume_install_path),
                    (bed.path("base"), bed.path("top"))
                );
                assert!(taken.size > 0);
            }
            bed.write("top", 2, 4096).await;
            bed
        }

        fn path(&self, name: &str) -> String {
            format!("{}/{name}.qcow2", self.ps)
        }

        async fn io(&self, name: &str, command: String) -> String {
            let image = self.path(name);
            program("qemu-io").args(["-f", "qcow2", "-c", &command]).arg(image).text().await.unwrap()
        }

        async fn write(&self, name: &str, pattern: u8, at: u64) {
            self.io(name, format!("write -q -P {pattern} {at} 4096")).await;
        }

        /// Whether the image shows these patterns at its first pages.
        async fn shows(&self, name: &str, pages: &[u8]) -> bool {
            for (page, pattern) in pages.iter().enumerate() {
                let said = self.io(name, format!("read -P {pattern} {} 4096", page * 4096)).await;
                if said.contains("verification failed") {
                    return false;
                }
            }
            true
        }

        fn backing(&self, name: &str) -> Option<String> {
            let path = self.path(name);
            layers::backing(Path::new(&path)).unwrap().map(|path| path.to_str().unwrap().to_owned())
        }
    }

    #[tokio::test]
    async fn a_snapshot_is_reverted_to_merged_and_told() {
        let bed = Bed::new().await;
        assert!(bed.shows("top", &[1, 2, 0]).await && bed.shows("base", &[1, 0]).await);
        let back = Revert { snapshot_install_path: bed.path("base"), ..Revert::default() };
        let first = revert(bed.cx.clone(), back.clone()).await.unwrap();
        assert_eq!((revert(bed.cx.clone(), back).await.unwrap(), first.size), (first.clone(), SIZE));
        assert_eq!(
            layers::backing(Path::new(&first.new_volume_install_path)).unwrap(),
            Some(bed.path("base").into())
        );

        let flat = Merge {
            snapshot_install_path: bed.path("top"),
            workspace_install_path: bed.path("flat"),
            ..Merge::default()
        };
        for _ in 0..2 {
            assert_eq!(merge(bed.cx.clone(), flat.clone()).await.unwrap().size, SIZE);
        }
        assert!(bed.backing("flat").is_none() && bed.shows("flat", &[1, 2, 0]).await);

        let chain = GetBackingChain { install_path: bed.path("top"), ..GetBackingChain::default() };
        let chain = localstorage::get_backing_chain(bed.cx.clone(), chain).await.unwrap();
        assert_eq!(chain.backing_chain, [bed.path("base")]);
        let asked = GetBackingFile { path: bed.path("top"), ..GetBackingFile::default() };
        let told = localstorage::get_backing_file(bed.cx.clone(), asked).await.unwrap();
        assert_eq!(told.backing_file_path, Some(bed.path("base")));
        let asked = GetReferences { path: bed.path("base"), searching_dir: bed.ps.clone() };
        let told = localstorage::get_references(bed.cx.clone(), asked).await.unwrap();
        assert_eq!(told.reference_paths.len(), 2);
        let asked = [("a".to_owned(), bed.path("top")), ("b".to_owned(), bed.path("none"))].into();
        let told =
            localstorage::batch_get_size(bed.cx.clone(), BatchGetSize { volume_uuid_install_paths: asked })
                .await;
        assert_eq!(told.unwrap().actual_sizes.into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test]
    async fn layers_are_put_on_others_and_show_the_same() {
        let bed = Bed::new().await;
        let jobs = serde_json::json!({ "snapshotJobs": [{
            "volumeUuid": "v", "previousInstallPath": bed.path("top"), "installPath": bed.path("last"),
        }] });
        let jobs: TakeMany = serde_json::from_value(jobs).unwrap();
        let taken = vm::take_snapshots(bed.cx.clone(), jobs).await.unwrap();
        assert_eq!(taken.snapshots[0].install_path, bed.path("last"));
        bed.write("last", 3, 8192).await;

        let onto = OfflineMerge {
            src_path: bed.path("base"),
            dest_path: bed.path("last"),
            ..OfflineMerge::default()
        };
        for _ in 0..2 {
            offline_merge(bed.cx.clone(), onto.clone()).await.unwrap();
        }
        assert_eq!(bed.backing("last"), Some(bed.path("base")));
        assert!(bed.shows("last", &[1, 2, 3, 0]).await);
        let layer = |path: &str, parent: &str| Layer {
            path: bed.path(path),
            parent_path: Some(bed.path(parent)),
            ..Layer::default()
        };
        let sound = VerifyChain { snapshots: vec![layer("last", "base")], ..VerifyChain::default() };
        verify_chain(bed.cx.clone(), sound).await.unwrap();
        let wrong = VerifyChain { snapshots: vec![layer("last", "top")], ..VerifyChain::default() };
        assert!(verify_chain(bed.cx.clone(), wrong).await.unwrap_err().error.contains("not on"));

        let alone =
            OfflineMerge { dest_path: bed.path("last"), full_rebase: true, ..OfflineMerge::default() };
        offline_merge(bed.cx.clone(), alone).await.unwrap();
        assert!(bed.backing("last").is_none() && bed.shows("last", &[1, 2, 3, 0]).await);
    }

    #[tokio::test]
    async fn templates_sums_and_links_are_made() {
        let bed = Bed::new().await;
        let made = CreateTemplate {
            volume_path: bed.path("top"),
            install_path: format!("{}/imagecache/t/t.qcow2", bed.ps),
            ..CreateTemplate::default()
        };
        assert_eq!(localstorage::create_template(bed.cx.clone(), made).await.unwrap().size, SIZE);
        assert!(bed.shows("imagecache/t/t", &[1, 2]).await);

        let ask = || vec![Md5 { path: bed.path("base"), ..Md5::default() }];
        let told =
            localstorage::get_md5(bed.cx.clone(), GetMd5 { md5s: ask(), ..GetMd5::default() }).await.unwrap();
        assert_eq!(told.md5s[0].md5.len(), 32);
        localstorage::check_md5(bed.cx.clone(), CheckMd5 { md5s: told.md5s, ..CheckMd5::default() })
            .await
            .unwrap();
        let changed =
            localstorage::check_md5(bed.cx.clone(), CheckMd5 { md5s: ask(), ..CheckMd5::default() }).await;
        assert!(changed.unwrap_err().error.contains("was changed on its way"));

        let grow = |size| Resize { install_path: bed.path("top"), size, ..Resize::default() };
        assert_eq!(localstorage::resize(bed.cx.clone(), grow(2 * SIZE)).await.unwrap().size, 2 * SIZE);
        assert!(
            localstorage::resize(bed.cx.clone(), grow(SIZE))
                .await
                .unwrap_err()
                .error
                .contains("cannot shrink")
        );
        let link = HardLink {
            storage_path: bed.ps.clone(),
            src_dir: format!("{}/imagecache", bed.ps),
            dst_dir: format!("{}/linked", bed.ps),
            ..HardLink::default()
        };
        for _ in 0..2 {
            localstorage::hard_link(bed.cx.clone(), link.clone()).await.unwrap();
        }
        assert!(bed.shows("linked/t/t", &[1, 2]).await);
    }
}
