//! A disc of a few small files: ISO 9660 (ECMA-119), with their names as they are by Joliet.
//!
//! Written here: what crates for it bring, boot records and partitions and sessions, is many times what is needed.
//! A disc rather than a FAT disk, as a drive for discs has sectors of 2048 bytes and every guest expects one that it
//! cannot write to. The files lie once; two trees lead to them. The same files make the same bytes: no time stands
//! in them.

const SECTOR: usize = 2048;
/// The first sectors are for boot code, which there is none of.
const RESERVED: usize = 16;
/// Volume descriptors, then two tables of directories for each tree, then each tree's only directory.
const TABLES: usize = RESERVED + 3;
const ROOTS: usize = TABLES + 4;
const FIRST_FILE: usize = ROOTS + 2;

/// A name has letters, digits, dots and hyphens.
pub struct File {
    pub name: &'static str,
    pub content: Vec<u8>,
}

/// How a tree writes names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    Plain,
    Joliet,
}

/// Where something lies.
#[derive(Clone, Copy)]
struct Extent {
    sector: usize,
    length: usize,
}

/// The whole disc.
pub fn disc(label: &str, files: &[File]) -> Vec<u8> {
    let mut at = FIRST_FILE;
    let mut placed = Vec::new();
    for file in files {
        placed.push((file.name, Extent { sector: at, length: file.content.len() }));
        at += file.content.len().div_ceil(SECTOR);
    }
    let mut disc = vec![0; RESERVED * SECTOR];
    for tree in [Tree::Plain, Tree::Joliet] {
        append(&mut disc, &descriptor(tree, label, at));
    }
    append(&mut disc, b"\xffCD001\x01");
    for tree in [Tree::Plain, Tree::Joliet] {
        append(&mut disc, &table(tree, u32::to_le_bytes, u16::to_le_bytes));
        append(&mut disc, &table(tree, u32::to_be_bytes, u16::to_be_bytes));
    }
    for tree in [Tree::Plain, Tree::Joliet] {
        append(&mut disc, &directory(tree, &placed));
    }
    for file in files {
        append(&mut disc, &file.content);
    }
    disc
}

/// In sectors of its own.
fn append(disc: &mut Vec<u8>, bytes: &[u8]) {
    disc.extend(bytes);
    disc.resize(disc.len().next_multiple_of(SECTOR), 0);
}

impl Tree {
    fn number(self) -> usize {
        usize::from(self == Tree::Joliet)
    }

    fn root(self) -> Extent {
        Extent { sector: ROOTS + self.number(), length: SECTOR }
    }

    /// A text that fills its field.
    fn text(self, text: &str, width: usize) -> Vec<u8> {
        let padded = text.chars().chain(std::iter::repeat(' '));
        let mut bytes = match self {
            Tree::Plain => padded.take(width).map(|c| c as u8).collect(),
            Tree::Joliet => wide(padded.take(width / 2)),
        };
        bytes.resize(width, 0);
        bytes
    }

    /// Plain names have a version, and no lower-case letters.
    fn name(self, name: &str) -> Vec<u8> {
        match self {
            Tree::Plain => format!("{};1", name.to_ascii_uppercase()).into_bytes(),
            Tree::Joliet => wide(name.chars()),
        }
    }
}

fn wide(text: impl Iterator<Item = char>) -> Vec<u8> {
    text.flat_map(|c| u16::try_from(u32::from(c)).unwrap_or(b'_'.into()).to_be_bytes()).collect()
}

/// What the volume is, and where its tree begins.
fn descriptor(tree: Tree, label: &str, sectors: usize) -> Vec<u8> {
    let table = TABLES + 2 * tree.number();
    let mut block = vec![if tree == Tree::Plain { 1 } else { 2 }];
    block.extend(b"CD001\x01\0");
    block.extend(tree.text("", 32));
    block.extend(tree.text(label, 32));
    block.extend([0; 8]);
    block.extend(both32(sectors));
    // The widest of the three character sets of Joliet.
    let escape: &[u8] = if tree == Tree::Joliet { b"%/E" } else { b"" };
    block.extend(escape);
    block.resize(120, 0);
    block.extend([both16(1), both16(1), both16(SECTOR)].concat());
    block.extend(both32(TABLE_LENGTH));
    block.extend((table as u32).to_le_bytes());
    block.extend([0; 4]);
    block.extend((table as u32 + 1).to_be_bytes());
    block.extend([0; 4]);
    block.extend(record(&[0], tree.root(), true));
    for width in [128, 128, 128, 128, 37, 37, 37] {
        block.extend(tree.text("", width));
    }
    for _moment in 0..4 {
        block.extend(b"0000000000000000\0");
    }
    block.push(1);
    block
}

const TABLE_LENGTH: usize = 10;

/// The only directory, which is its own parent.
fn table(tree: Tree, long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut table = vec![1, 0];
    table.extend(long(tree.root().sector as u32));
    table.extend(short(1));
    table.extend([0, 0]);
    table
}

fn directory(tree: Tree, files: &[(&str, Extent)]) -> Vec<u8> {
    let mut files: Vec<_> = files.iter().map(|(name, extent)| (tree.name(name), *extent)).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let own = [[0], [1]].map(|name| record(&name, tree.root(), true)).concat();
    files.iter().fold(own, |directory, (name, extent)| [directory, record(name, *extent, false)].concat())
}

fn record(name: &[u8], extent: Extent, is_directory: bool) -> Vec<u8> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![length as u8, 0];
    record.extend(both32(extent.sector));
    record.extend(both32(extent.length));
    // The first of January 1970.
    record.extend([70, 1, 1, 0, 0, 0, 0]);
    record.extend([if is_directory { 2 } else { 0 }, 0, 0]);
    record.extend(both16(1));
    record.push(name.len() as u8);
    record.extend(name);
    record.resize(length, 0);
    record
}

/// Numbers stand in both orders of bytes.
fn both32(number: usize) -> [u8; 8] {
    let number = number as u32;
    let mut both = [0; 8];
    both[..4].copy_from_slice(&number.to_le_bytes());
    both[4..].copy_from_slice(&number.to_be_bytes());
    both
}

fn both16(number: usize) -> [u8; 4] {
    let [a, b] = (number as u16).to_le_bytes();
    [a, b, b, a]
}

#[cfg(test)]
mod tests {
    use host::process::program;

    use super::*;

    async fn told(name: &str, args: &[&str]) -> Vec<u8> {
        program(name).args(args).run().await.unwrap()
    }

    /// Others read it: genisoimage's isoinfo both trees, util-linux the label.
    #[tokio::test]
    async fn a_disc_is_read_by_others() {
        let long = vec![b'x'; 5000];
        let files = [
            File { name: "meta-data", content: b"instance-id: a\n".to_vec() },
            File { name: "user-data", content: long.clone() },
            File { name: "empty", content: Vec::new() },
            File { name: "network-config", content: b"version: 2\n".to_vec() },
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disc.iso");
        std::fs::write(&path, disc("cidata", &files)).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(told("blkid", &["-p", "-o", "value", "-s", "LABEL", path]).await, b"cidata\n");
        assert_eq!(told("blkid", &["-p", "-o", "value", "-s", "TYPE", path]).await, b"iso9660\n");
        let listed = String::from_utf8(told("isoinfo", &["-J", "-f", "-i", path]).await).unwrap();
        assert_eq!(listed, "/empty\n/meta-data\n/network-config\n/user-data\n");
        for (tree, file, content) in [
            ("-J", "/meta-data", b"instance-id: a\n".to_vec()),
            ("-J", "/user-data", long.clone()),
            ("-R", "/USER-DATA;1", long),
            ("-R", "/NETWORK-CONFIG;1", b"version: 2\n".to_vec()),
            ("-J", "/empty", Vec::new()),
        ] {
            assert_eq!(told("isoinfo", &[tree, "-i", path, "-x", file]).await, content, "{file}");
        }
    }
}
