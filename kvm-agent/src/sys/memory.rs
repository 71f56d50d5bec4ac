//! Keeps the agent small: memory of a hypervisor is there for guests.
//!
//! Starting (linking some forty libraries, most of them libvirt's, and connecting) touches many pages of
//! program text that are hardly used again. They are clean copies of files; the kernel would take them
//! back when memory is short, which is when the guests suffer already. Here they are given back at once.

use std::fs;
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// File pages above this are worth giving back.
const ENOUGH: usize = 8 << 20;
const LOOK: Duration = Duration::from_secs(60);

/// Gives pages back now, and whenever they have become many again.
pub async fn stay_small() {
    loop {
        if file_pages().is_ok_and(|bytes| bytes > ENOUGH)
            && let Err(error) = release()
        {
            tracing::debug!(%error, "cannot give memory back");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Bytes of files that are mapped into this process and in memory.
fn file_pages() -> io::Result<usize> {
    let counts = fs::read_to_string("/proc/self/statm")?;
    let shared = counts.split_ascii_whitespace().nth(2).and_then(|pages| pages.parse::<usize>().ok());
    Ok(shared.unwrap_or(0) * 4096)
}

fn release() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/smaps")?;
    for map in Map::parse(&maps).filter(Map::is_pristine) {
        let Some(start) = NonNull::new(map.start as *mut _) else { continue };
        // SAFETY: the mapping is a file's, nobody may write to it, and no page of it was ever changed:
        // whatever is needed again is read from the file again, and is the same.
        unsafe { madvise(start, map.end - map.start, MmapAdvise::MADV_DONTNEED)? };
    }
    Ok(())
}

/// A range of addresses, as `smaps` describes it.
#[derive(Debug, PartialEq, Eq)]
struct Map<'a> {
    start: usize,
    end: usize,
    access: &'a str,
    file: &'a str,
    /// KiB of pages that differ from the file.
    changed: usize,
}

impl<'a> Map<'a> {
    fn parse(maps: &'a str) -> impl Iterator<Item = Self> {
        let mut lines = maps.lines();
        std::iter::from_fn(move || {
            let mut map = lines.by_ref().find_map(Map::begin)?;
            let changed = lines.by_ref().find_map(|line| line.strip_prefix("Anonymous:"))?;
            map.changed = changed.trim().trim_end_matches(" kB").parse().ok()?;
            Some(map)
        })
    }

    /// `7f00-7f10 r-xp 00000000 08:01 1234    /usr/lib/libx.so`.
    fn begin(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).ok());
        let (access, file) = (words.next()?, words.nth(3).unwrap_or_default());
        Some(Map { start: start?, end: end?, access, file, changed: usize::MAX })
    }

    fn is_pristine(&self) -> bool {
        self.file.starts_with('/')
            && !self.access.contains('w')
            && self.access.ends_with('p')
            && self.changed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0-55d8 r-xp 00002000 08:01 99    /usr/bin/agent
Size: 32 kB
Anonymous: 0 kB
55d8-55da r--p 0000a000 08:01 99    /usr/bin/agent
Anonymous: 8 kB
55da-55db rw-p 0000c000 08:01 99    /usr/bin/agent
Anonymous: 0 kB
7f00-7f01 r-xp 00000000 00:00 0     [vdso]
Anonymous: 0 kB
7f01-7f02 r--s 00000000 08:01 98    /shared
Anonymous: 0 kB
";

    #[test]
    fn only_what_nobody_changed_or_may_change_is_given_back() {
        let pristine: Vec<_> = Map::parse(MAPS).filter(Map::is_pristine).map(|map| map.start).collect();
        assert_eq!(pristine, [0x55d0]);
        assert_eq!(Map::parse(MAPS).count(), 5);
    }

    #[test]
    fn the_program_goes_on_with_fewer_pages() {
        let before = file_pages().unwrap();
        release().unwrap();
        let after = file_pages().unwrap();
        assert!(after < before, "{after} of {before}");
    }
}
