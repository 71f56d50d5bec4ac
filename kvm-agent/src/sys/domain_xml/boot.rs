//! In what order the firmware tries the devices.

use wire::calls::vm::Start;

use super::model::Boot;

/// What may be booted from, in the words of `bootDev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Disk,
    CdRom,
    Network,
}

/// The orders of a VM's devices; `None` where a device is not booted from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    pub root: Option<u32>,
    pub cd_roms: Vec<Option<u32>>,
    pub nics: Vec<Option<u32>>,
}

impl Source {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "hd" => Some(Source::Disk),
            "cdrom" => Some(Source::CdRom),
            "network" => Some(Source::Network),
            _ => None,
        }
    }

    pub fn parse_all(words: &[String]) -> Result<Vec<Self>, String> {
        let unknown = |word: &String| format!("boot device {word:?} is not known: use hd, cdrom or network");
        words.iter().map(|word| Source::parse(word).ok_or_else(|| unknown(word))).collect()
    }
}

impl Orders {
    /// The devices' own orders where any is given; otherwise by `bootDev`; otherwise the root disk.
    pub fn of(start: &Start) -> Result<Self, String> {
        let own = |order: u32| Some(order).filter(|&order| order > 0);
        let given = Orders {
            root: own(start.root_volume.boot_order),
            cd_roms: start.cd_roms.iter().map(|cd| own(cd.boot_order)).collect(),
            nics: start.nics.iter().map(|nic| own(nic.boot_order)).collect(),
        };
        if given.all().next().is_none() {
            let sources = Source::parse_all(&start.boot_dev)?;
            return Ok(Orders::by_source(&sources, start.cd_roms.len(), start.nics.len()));
        }
        let mut orders: Vec<u32> = given.all().collect();
        orders.sort_unstable();
        match orders.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two devices have boot order {}", pair[0])),
            None => Ok(given),
        }
    }

    pub fn by_source(sources: &[Source], cd_roms: usize, nics: usize) -> Self {
        let sources = if sources.is_empty() { &[Source::Disk] } else { sources };
        let mut orders = Orders { root: None, cd_roms: vec![None; cd_roms], nics: vec![None; nics] };
        let mut next = 0;
        let mut number = |slot: &mut Option<u32>| {
            if slot.is_none() {
                next += 1;
                *slot = Some(next);
            }
        };
        for source in sources {
            match source {
                Source::Disk => number(&mut orders.root),
                Source::CdRom => orders.cd_roms.iter_mut().for_each(&mut number),
                Source::Network => orders.nics.iter_mut().for_each(&mut number),
            }
        }
        orders
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        let devices = self.cd_roms.iter().chain(&self.nics);
        self.root.into_iter().chain(devices.filter_map(|order| *order))
    }
}

impl Boot {
    pub fn at(order: Option<u32>) -> Option<Self> {
        order.map(|order| Boot { order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_devices_are_numbered_in_the_order_they_are_named() {
        let orders = Orders::by_source(&[Source::CdRom, Source::Disk, Source::CdRom], 2, 1);
        let expected = Orders { root: Some(3), cd_roms: vec![Some(1), Some(2)], nics: vec![None] };
        assert_eq!(orders, expected);
    }

    #[test]
    fn without_a_word_the_root_disk_boots() {
        assert_eq!(Orders::of(&Start::default()).unwrap().root, Some(1));
    }

    #[test]
    fn two_devices_cannot_have_one_place() {
        let mut start = Start { nics: vec![Default::default()], ..Start::default() };
        start.root_volume.boot_order = 1;
        start.nics[0].boot_order = 1;
        assert_eq!(Orders::of(&start).unwrap_err(), "two devices have boot order 1");
    }

    #[test]
    fn an_unknown_boot_device_is_named() {
        let start = Start { boot_dev: vec!["floppy".into()], ..Start::default() };
        assert!(Orders::of(&start).unwrap_err().contains("floppy"));
    }
}
