//! How the next address is chosen.

use engine::Result;
use engine::boxed;
use engine::db::Tx;
use engine::driver::Family;

use super::store;
use crate::l3::range::Span;

/// Chooses addresses that nobody has; taking them is another matter.
#[boxed]
pub trait IpAllocator: Sync {
    /// In which order ranges are tried.
    fn order(&self, ranges: Vec<Span>) -> Vec<Span>;

    /// A free address of the range, or none.
    async fn pick(&self, tx: &mut Tx, range: &Span) -> Result<Option<i64>>;
}

/// All of them; a new one is a type and a line here.
pub static IP_ALLOCATORS: Family<dyn IpAllocator> = Family::new(
    "ip allocator strategy",
    &[("RandomIpAllocatorStrategy", &Random), ("FirstAvailableIpAllocatorStrategy", &FirstAvailable)],
);

/// Anywhere: an address that was given back is not soon given to another.
struct Random;

#[boxed]
impl IpAllocator for Random {
    fn order(&self, mut ranges: Vec<Span>) -> Vec<Span> {
        use rand::seq::SliceRandom;
        ranges.shuffle(&mut rand::rng());
        ranges
    }

    async fn pick(&self, tx: &mut Tx, range: &Span) -> Result<Option<i64>> {
        let middle = rand::random_range(range.start_long..=range.end_long);
        match store::first_free(tx, range, middle, range.end_long).await? {
            Some(ip) => Ok(Some(ip)),
            None if middle > range.start_long => {
                store::first_free(tx, range, range.start_long, middle - 1).await
            }
            None => Ok(None),
        }
    }
}

/// The lowest.
struct FirstAvailable;

#[boxed]
impl IpAllocator for FirstAvailable {
    fn order(&self, ranges: Vec<Span>) -> Vec<Span> {
        ranges
    }

    async fn pick(&self, tx: &mut Tx, range: &Span) -> Result<Option<i64>> {
        store::first_free(tx, range, range.start_long, range.end_long).await
    }
}

/// The highest: where the DHCP servers of a network stand, whatever guests get. People who choose addresses
/// themselves begin at the other end.
pub(super) struct LastAvailable;

#[boxed]
impl IpAllocator for LastAvailable {
    fn order(&self, mut ranges: Vec<Span>) -> Vec<Span> {
        ranges.reverse();
        ranges
    }

    async fn pick(&self, tx: &mut Tx, range: &Span) -> Result<Option<i64>> {
        store::last_free(tx, range).await
    }
}
