use std::io::Cursor;

use super::*;
use crate::process::program;

const CLUSTER: u64 = 64 * 1024;

/// A sound version 3 header of a 1 GiB disk, with its tables, and a way to spoil it.
fn sound() -> Vec<u8> {
    let mut image = vec![0; 4 * CLUSTER as usize];
    image[..4].copy_from_slice(b"QFI\xfb");
    for (at, word) in [(4, 3), (20, 16), (36, 2), (56, 1), (96, 4), (100, 104)] {
        put32(&mut image, at, word);
    }
    for (at, word) in [(24, 1 << 30), (40, 3 * CLUSTER), (48, CLUSTER)] {
        put64(&mut image, at, word);
    }
    image
}

fn put32(image: &mut [u8], at: usize, word: u32) {
    image[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

fn put64(image: &mut [u8], at: usize, word: u64) {
    image[at..at + 8].copy_from_slice(&word.to_be_bytes());
}

fn look(image: &[u8]) -> Result<ImageHeader, Error> {
    inspect_from(&mut Cursor::new(image))
}

fn refusal(image: &[u8]) -> String {
    look(image).expect_err("refused").to_string()
}

fn spoilt(spoil: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut image = sound();
    spoil(&mut image);
    refusal(&image)
}

#[test]
fn a_sound_header_is_accepted() {
    let header = look(&sound()).unwrap();
    assert_eq!(header, ImageHeader { format: Format::Qcow2, virtual_size: 1 << 30, backing: None });
}

#[test]
fn every_way_to_reach_another_file_is_refused() {
    let backing = |image: &mut Vec<u8>| {
        put64(image, 8, 512);
        put32(image, 16, 11);
        image[512..523].copy_from_slice(b"/etc/shadow");
    };
    assert!(spoilt(backing).contains("needs the backing file \"/etc/shadow\""));
    assert!(spoilt(|image| put64(image, 8, 512)).contains("backing file"));
    assert!(spoilt(|image| put32(image, 16, 11)).contains("backing file"));
    assert!(spoilt(|image| put64(image, 72, 1 << 2)).contains("data in another file"));
    let extension = |image: &mut Vec<u8>| put32(image, 104, 0x4441_5441);
    assert!(spoilt(extension).contains("data in another file"));
}

#[test]
fn a_data_file_hides_behind_no_other_extension() {
    let hidden = |image: &mut Vec<u8>| {
        put32(image, 104, 0x6803_f857);
        put32(image, 108, 5);
        put32(image, 120, 0x4441_5441);
    };
    assert!(spoilt(hidden).contains("data in another file"));
}

#[test]
fn encryption_and_unknown_features_are_refused() {
    assert!(spoilt(|image| put32(image, 32, 1)).contains("encrypted"));
    assert!(spoilt(|image| put32(image, 32, 2)).contains("encrypted"));
    assert!(spoilt(|image| put32(image, 104, 0x0537_be77)).contains("encrypted"));
    assert!(spoilt(|image| put64(image, 72, 1 << 5)).contains("bits 0x20"));
    assert!(spoilt(|image| put64(image, 72, 1 << 63)).contains("bits 0x8000000000000000"));
    assert!(spoilt(|image| put64(image, 72, 1 << 1)).contains("marked as corrupt"));
}

#[test]
fn absurd_numbers_are_refused() {
    for bits in [0, 8, 22, u32::MAX] {
        assert!(spoilt(|image| put32(image, 20, bits)).contains("cluster size"));
    }
    assert!(spoilt(|image| put32(image, 4, 4)).contains("version"));
    assert!(spoilt(|image| put64(image, 24, 0)).contains("virtual size"));
    assert!(spoilt(|image| put64(image, 24, u64::MAX)).contains("virtual size"));
    assert!(spoilt(|image| put64(image, 24, 1 << 40)).contains("too small for its virtual size"));
    assert!(spoilt(|image| put32(image, 36, u32::MAX)).contains("L1 table is too large"));
    assert!(spoilt(|image| put32(image, 56, 0)).contains("refcount table"));
    assert!(spoilt(|image| put32(image, 56, u32::MAX)).contains("refcount table"));
    assert!(spoilt(|image| put32(image, 60, u32::MAX)).contains("snapshots"));
    assert!(spoilt(|image| put32(image, 96, 7)).contains("refcounts"));
    assert!(spoilt(|image| put32(image, 100, 72)).contains("too short"));
    assert!(spoilt(|image| put32(image, 100, 1 << 31)).contains("length"));
}

#[test]
fn tables_beyond_the_file_or_in_its_header_are_refused() {
    assert!(spoilt(|image| put64(image, 40, 1 << 40)).contains("ends within its L1 table"));
    assert!(spoilt(|image| put64(image, 40, !0xffff)).contains("ends within its L1 table"));
    assert!(spoilt(|image| put64(image, 40, CLUSTER + 8)).contains("one of its tables"));
    assert!(spoilt(|image| put64(image, 40, 0)).contains("one of its tables"));
    assert!(spoilt(|image| put64(image, 48, 1 << 40)).contains("ends within its refcount table"));
    let snapshots = |image: &mut Vec<u8>| {
        put32(image, 60, 3);
        put64(image, 64, 1 << 40);
    };
    assert!(spoilt(snapshots).contains("ends within its snapshot table"));
    let l2 = |image: &mut Vec<u8>| put64(image, 3 * CLUSTER as usize + 8, (1 << 63) | (1 << 40));
    assert!(spoilt(l2).contains("ends within its L2 tables"));
}

#[test]
fn an_extension_longer_than_the_header_is_refused() {
    let long = |image: &mut Vec<u8>| {
        put32(image, 104, 0x1234_5678);
        put32(image, 108, u32::MAX);
    };
    assert!(spoilt(long).contains("an extension does not end"));
}

#[test]
fn a_cut_image_is_refused_wherever_it_is_cut() {
    let image = sound();
    assert!(matches!(look(&[]), Err(Error::Empty)));
    for length in (4..image.len()).step_by(37).filter(|&length| length < 3 * CLUSTER as usize + 16) {
        assert!(refusal(&image[..length]).contains("ends within its"), "cut to {length}");
    }
}

#[test]
fn other_formats_do_not_pass_as_raw() {
    for (at, mark, name) in [
        (0, &b"KDMV"[..], "VMDK"),
        (0, b"# Disk DescriptorFile", "VMDK"),
        (0x40, b"\x7f\x10\xda\xbe", "VDI"),
        (0, b"vhdxfile", "VHDX"),
        (0, b"conectix", "VHD"),
        (4096 - 512, b"conectix", "VHD"),
        (4096 - 512, b"koly", "DMG"),
        (0, b"QED\0", "QED"),
        (0, b"QFI\xfb\0\0\0\x01", "qcow disk of version 1"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"WithoutFreeSpace", "Parallels"),
        (0, b"OOOM", "COW"),
        (0, b"\x1f\x8b\x08", "gzip"),
        (0, b"\xfd7zXZ\0", "xz"),
        (257, b"ustar", "tar"),
    ] {
        let mut image = vec![0; 4096];
        image[at..at + mark.len()].copy_from_slice(mark);
        assert!(refusal(&image).contains(name), "{name}");
    }
}

#[test]
fn raw_and_iso_are_told_apart() {
    let mut image = vec![0; 40_000];
    assert_eq!(look(&image).unwrap().format, Format::Raw);
    image[32769..32774].copy_from_slice(b"CD001");
    let header = look(&image).unwrap();
    assert_eq!((header.format, header.virtual_size), (Format::Iso, 40_448));
    assert_eq!(look(b"x").unwrap().virtual_size, 512);
}

#[test]
fn the_first_bytes_condemn_early_and_only_what_is_condemned_later() {
    let mut image = sound();
    assert_eq!(inspect_start(&image[..ENOUGH_TO_JUDGE]).unwrap(), Format::Qcow2);
    assert_eq!(inspect_start(&image[..50]).unwrap(), Format::Qcow2);
    put64(&mut image, 8, 512);
    put32(&mut image, 16, 4);
    assert!(matches!(inspect_start(&image[..ENOUGH_TO_JUDGE]), Err(Error::BackingFile(_))));
    assert!(matches!(inspect_start(b"KDMV"), Err(Error::Foreign(_))));
}

/// Mutations of sound headers: no panic, no loop, and nothing accepted that has a backing file.
#[test]
fn no_mutation_makes_the_parser_panic_or_accept_a_backing_file() {
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut dice = Dice(seed);
    for round in 0..20_000 {
        let mut image = sound();
        for _ in 0..=dice.below(6) {
            let at = if dice.below(4) == 0 { dice.below(image.len()) } else { dice.below(160) };
            let value = [0, 1, 0x7f, 0x80, 0xff, dice.below(256) as u8][dice.below(6)];
            image[at] = value;
        }
        image.truncate(if dice.below(3) == 0 { dice.below(image.len()) } else { image.len() });
        let named = image.get(8..20).is_some_and(|name| name.iter().any(|&byte| byte != 0));
        let data = image.get(79).is_some_and(|features| features & 4 != 0);
        let _early = inspect_start(&image[..image.len().min(ENOUGH_TO_JUDGE)]);
        if let Ok(found) = look(&image) {
            let linked = found.format == Format::Qcow2 && (named || data);
            assert!(!linked, "round {round} of seed {seed:#x}: {:x?}", &image[..160]);
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

async fn made(args: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let args = args.iter().map(|arg| arg.replace("DIR", dir.path().to_str().unwrap()));
    program("qemu-img").args(args).run().await.unwrap();
    (dir, path)
}

#[tokio::test]
async fn what_qemu_img_makes_is_accepted() {
    for options in [
        "compat=v3",
        "compat=0.10",
        "cluster_size=512",
        "cluster_size=2M",
        "lazy_refcounts=on",
        "extended_l2=on,cluster_size=64k",
        "compression_type=zstd",
        "preallocation=metadata",
        "preallocation=falloc",
        "refcount_bits=1",
    ] {
        let (_dir, path) = made(&["create", "-q", "-f", "qcow2", "-o", options, "DIR/image", "96M"]).await;
        let found = inspect(&path);
        assert_eq!(found.expect(options).virtual_size, 96 << 20, "{options}");
    }
}

#[tokio::test]
async fn an_image_of_qemu_img_with_snapshots_is_accepted() {
    let (_dir, path) = made(&["create", "-q", "-f", "qcow2", "DIR/image", "8M"]).await;
    for name in ["one", "two"] {
        program("qemu-img").args(["snapshot", "-c", name]).arg(&path).run().await.unwrap();
    }
    assert_eq!(inspect(&path).unwrap().virtual_size, 8 << 20);
}

#[tokio::test]
async fn what_qemu_img_links_or_encrypts_is_refused() {
    let (dir, base) = made(&["create", "-q", "-f", "qcow2", "DIR/image", "8M"]).await;
    let top = dir.path().join("top");
    let create = || program("qemu-img").args(["create", "-q", "-f", "qcow2"]);
    create().args(["-F", "qcow2", "-b"]).arg(&base).arg(&top).run().await.unwrap();
    assert!(matches!(inspect(&top), Err(Error::BackingFile(name)) if name == base.to_str().unwrap()));
    let backing = read_header(&top).unwrap().backing.unwrap();
    assert_eq!(backing, Backing { path: base, format: Some("qcow2".into()) });

    let data = format!("data_file={},data_file_raw=on", dir.path().join("data").display());
    create().args(["-o", &data]).arg(&top).arg("8M").run().await.unwrap();
    assert!(matches!(inspect(&top), Err(Error::DataFile)));

    let secret = ["--object", "secret,id=s,data=word", "-o", "encrypt.format=luks,encrypt.key-secret=s"];
    let luks =
        async || create().args(secret).args(["-o", "encrypt.iter-time=10"]).arg(&top).arg("8M").run().await;
    // It measures its own processor time, and gives up when it gets none meanwhile.
    while let Err(error) = luks().await {
        assert!(error.to_string().contains("accurate CPU usage"), "{error}");
    }
    assert!(matches!(inspect(&top), Err(Error::Encrypted)));
}

#[tokio::test]
async fn the_other_formats_of_qemu_img_are_refused() {
    for format in ["vmdk", "vdi", "vhdx", "vpc", "qed", "qcow", "parallels"] {
        let (_dir, path) = made(&["create", "-q", "-f", format, "DIR/image", "8M"]).await;
        assert!(matches!(inspect(&path), Err(Error::Foreign(_))), "{format}");
    }
    let (_dir, path) = made(&["create", "-q", "-f", "vpc", "-o", "subformat=fixed", "DIR/image", "8M"]).await;
    assert!(matches!(inspect(&path), Err(Error::Foreign("a VHD disk"))));
}
