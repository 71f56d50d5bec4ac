use super::*;

const STORE: &str = "3b8f1e52c6de4d3a9e4c4a5c2a5f7a11";

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(STORE, dir.path(), true).unwrap();
    (dir, store)
}

fn id() -> ImageId {
    "0a1b2c".parse().unwrap()
}

fn image(length: u64) -> Image {
    let format = host::qcow2::Format::Raw;
    Image { source: "s".into(), format, virtual_size: 512, length, md5: "m".into(), sha256: "h".into() }
}

fn resume(source: &str, boot: &str) -> Resume {
    Resume { source: source.into(), validator: None, boot: boot.into() }
}

fn arrived(store: &Store) {
    let (bits, _) = store.arrive(&id(), &resume("s", "b")).unwrap();
    fs::write(bits, b"bits").unwrap();
}

#[test]
fn an_image_is_there_only_after_it_is_published() {
    let (_dir, store) = store();
    arrived(&store);
    assert_eq!(store.image(&id()).unwrap(), None);
    assert_eq!(store.arriving().unwrap(), [id()]);
    store.publish(&id(), &image(4)).unwrap();
    assert_eq!(store.need_image(&id()).unwrap(), image(4));
    assert_eq!(store.arriving().unwrap(), []);
    let names: Vec<_> = fs::read_dir(store.image_dir(&id())).unwrap().collect();
    assert_eq!(names.len(), 2, "image and meta.json");
}

#[test]
fn an_image_that_changed_its_length_is_damaged() {
    let (_dir, store) = store();
    arrived(&store);
    store.publish(&id(), &image(4)).unwrap();
    fs::write(store.bits(&id()), b"bit").unwrap();
    assert!(matches!(store.image(&id()), Err(Error::Damaged(..))));
    fs::remove_file(store.image_dir(&id()).join(META)).unwrap();
    assert!(matches!(store.image(&id()), Err(Error::Damaged(..))));
    assert_eq!(store.images().unwrap(), [id()], "it is still listed, so that it can be deleted");
}

#[test]
fn deleting_twice_succeeds_and_leaves_nothing() {
    let (_dir, store) = store();
    arrived(&store);
    store.publish(&id(), &image(4)).unwrap();
    for _ in 0..2 {
        store.delete(&id()).unwrap();
        assert_eq!(store.images().unwrap(), []);
    }
    assert_eq!(fs::read_dir(store.incoming_dir()).unwrap().count(), 0);
}

#[test]
fn a_crash_within_a_deletion_is_completed_at_the_next_start() {
    let (_dir, store) = store();
    let left = store.incoming_dir().join(deleted_name(&id()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join(IMAGE), b"x").unwrap();
    Store::open(STORE, &store.root, false).unwrap();
    assert!(!left.exists());
}

#[test]
fn an_import_continues_only_from_its_own_source_and_boot() {
    let (_dir, store) = store();
    let mut first = resume("url", "boot");
    assert_eq!(store.arrive(&id(), &first).unwrap().1, None);
    first.validator = Some("etag".into());
    store.remember(&id(), &first).unwrap();
    fs::write(store.incoming(&id()).join(IMAGE), b"half").unwrap();
    assert_eq!(store.arrive(&id(), &resume("url", "boot")).unwrap().1, Some(first));
    for other in [resume("url", "reboot"), resume("other", "boot")] {
        let (bits, left) = store.arrive(&id(), &other).unwrap();
        assert_eq!((left, bits.exists()), (None, false));
        fs::write(bits, b"half").unwrap();
    }
}

#[test]
fn a_store_without_its_marker_is_not_used() {
    let (_dir, store) = store();
    fs::remove_file(store.root.join(MARKER)).unwrap();
    assert!(matches!(store.image(&id()), Err(Error::Unmarked(_))));
    assert!(matches!(store.arrive(&id(), &resume("s", "b")), Err(Error::Unmarked(_))));
    assert!(matches!(Store::open(STORE, &store.root, false), Err(Error::Unmarked(_))));
}

#[test]
fn a_directory_of_another_store_is_refused() {
    let (_dir, store) = store();
    let other = Store::open("ffff", &store.root, true);
    assert!(matches!(other, Err(Error::Foreign { owner, .. }) if owner == STORE));
}

#[test]
fn only_absolute_roots_and_plain_uuids_are_taken() {
    for root in ["images", "/srv/../etc"] {
        assert!(matches!(Store::open(STORE, Path::new(root), true), Err(Error::BadRoot(_))), "{root}");
    }
    for uuid in ["", "..", "-x", "a/b", "é", &"a".repeat(65)] {
        assert!(uuid.parse::<ImageId>().is_err(), "{uuid}");
    }
}

#[test]
fn an_install_path_names_its_image_in_four_ways() {
    let (dir, store) = store();
    let root = dir.path().to_str().unwrap();
    for path in ["images/0a1b2c", "images/0a1b2c/image"] {
        assert_eq!(store.image_at(path).unwrap(), id());
        assert_eq!(store.image_at(&format!("{root}/{path}")).unwrap(), id());
    }
    for path in ["", "images/", "images/../../etc", "/images/0a1b2c", "images/0a1b2c/image/x", "0a1b2c"] {
        assert!(matches!(store.image_at(path), Err(Error::Elsewhere { .. })), "{path}");
    }
    assert!(store.check_path(&id(), "images/ffff/image").is_err());
}

#[tokio::test]
async fn connected_stores_are_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (file, root) = (dir.path().join("state/stores.json"), dir.path().join("store"));
    let stores = Stores::open(file.clone()).await.unwrap();
    assert!(matches!(stores.get(STORE).await, Err(Error::Unknown(_))));
    for _ in 0..2 {
        stores.connect(STORE, &root).await.unwrap();
    }
    let again = Stores::open(file.clone()).await.unwrap();
    assert_eq!(again.get(STORE).await.unwrap(), stores.get(STORE).await.unwrap());
    fs::remove_file(root.join(MARKER)).unwrap();
    assert!(matches!(again.connect(STORE, &root).await, Err(Error::Unmarked(_))));
}

#[tokio::test]
async fn a_disconnected_store_leaves_its_directory_to_another_one() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stores = Stores::open(state.path().join("stores.json")).await.unwrap();
    stores.connect(STORE, dir.path()).await.unwrap();
    let store = stores.get(STORE).await.unwrap();
    arrived(&store);
    assert!(matches!(stores.disconnect(STORE).await, Err(Error::NotEmpty(_))), "an import is on its way");
    store.delete(&id()).unwrap();
    stores.disconnect(STORE).await.unwrap();
    stores.disconnect(STORE).await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left in the directory");
    stores.connect("0b8f1e52c6de4d3a9e4c4a5c2a5f7a11", dir.path()).await.unwrap();
}
