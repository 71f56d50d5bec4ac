//! Who should own what: consistent hashing over the live controllers.
//!
//! A pure value: the same members give the same ring in every controller, of every version. It gives
//! affinity, never exclusion; it may be wrong for a moment.

use xxhash_rust::xxh3::xxh3_64;

use super::Node;
use crate::id::Id;

/// Points of one member; so many that shares differ by less than a tenth.
const POINTS: u32 = 1000;

/// A controller that lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, crate::db::Row)]
pub struct Member {
    #[row(column = "uuid")]
    pub id: Id<Node>,
    /// Where the others reach it.
    pub url: String,
}

/// The members on a circle of 64-bit numbers.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    members: Vec<Member>,
    /// Each with the index of its member, in order.
    points: Vec<(u64, u16)>,
}

impl Ring {
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort();
        members.dedup_by(|one, other| one.id == other.id);
        let mut points = Vec::with_capacity(members.len() * POINTS as usize);
        for (index, member) in members.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let id = member.id.to_string();
            points.extend((0..POINTS).map(|point| (xxh3_64(format!("{id}#{point}").as_bytes()), index)));
        }
        points.sort_unstable();
        Ring { members, points }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of the first point at or behind the key's; `None` when there are no members.
    pub fn owner(&self, key: &str) -> Option<&Member> {
        let hash = xxh3_64(key.as_bytes());
        let at = self.points.partition_point(|(point, _)| *point < hash);
        let (_, member) = self.points.get(at).or_else(|| self.points.first())?;
        self.members.get(usize::from(*member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Vec<Member> {
        (0..count)
            .map(|n| Member { id: Id::derived(&["node", &n.to_string()]), url: format!("http://{n}") })
            .collect()
    }

    fn keys() -> impl Iterator<Item = String> {
        (0..100_000).map(|n| Id::<Node>::derived(&["key", &n.to_string()]).to_string())
    }

    #[test]
    fn shares_are_within_a_tenth_of_even() {
        for count in 2..=10 {
            let ring = Ring::new(members(count));
            let mut shares = std::collections::HashMap::<Id<Node>, usize>::new();
            for key in keys() {
                *shares.entry(ring.owner(&key).unwrap().id).or_default() += 1;
            }
            let even = 100_000.0 / count as f64;
            for share in shares.values() {
                let ratio = *share as f64 / even;
                assert!((0.9..1.1).contains(&ratio), "{count} members: {ratio}");
            }
        }
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_keys() {
        let all = members(5);
        let (before, after) = (Ring::new(all.clone()), Ring::new(all[..4].to_vec()));
        let mut moved = 0;
        for key in keys() {
            let owner = before.owner(&key).unwrap();
            if owner.id == all[4].id {
                moved += 1;
            } else {
                assert_eq!(after.owner(&key).unwrap(), owner);
            }
        }
        assert!(moved > 10_000);
    }

    #[test]
    fn every_version_gives_the_same_answer() {
        let ring = Ring::new(members(3));
        let owners: Vec<_> =
            ["a", "b", "c", "d", "e", "f"].map(|key| ring.owner(key).unwrap().url.clone()).into();
        assert_eq!(owners, GOLDEN);
        let mut turned = members(3);
        turned.reverse();
        assert_eq!(Ring::new(turned).owner("a"), ring.owner("a"));
        assert_eq!(Ring::default().owner("a"), None);
    }

    const GOLDEN: [&str; 6] = ["http://2", "http://0", "http://2", "http://0", "http://0", "http://2"];
}
