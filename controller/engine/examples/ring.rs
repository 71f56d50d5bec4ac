//! Figures of the ring, for measurements: one line of JSON.

use std::hint::black_box;
use std::time::Instant;

use engine::Id;
use engine::node::Node;
use engine::node::ring::{Member, Ring};

const KEYS: u32 = 200_000;

fn members(count: usize) -> Vec<Member> {
    (0..count).map(|n| Member { id: Id::derived(&["node", &n.to_string()]), url: String::new() }).collect()
}

fn main() {
    let keys: Vec<_> = (0..KEYS).map(|n| Id::<Node>::derived(&["key", &n.to_string()]).to_string()).collect();
    let (ten, eleven) = (Ring::new(members(10)), Ring::new(members(11)));
    let owners = |ring: &Ring| keys.iter().map(|key| ring.owner(key).map(|one| one.id)).collect::<Vec<_>>();
    let (before, after) = (owners(&ten), owners(&eleven));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let largest =
        ten.members().iter().map(|one| before.iter().filter(|own| **own == Some(one.id)).count()).max();
    let began = Instant::now();
    for key in &keys {
        black_box(ten.owner(black_box(key)));
    }
    let lookup = began.elapsed().as_nanos() as f64 / f64::from(KEYS);
    let (share, moved) =
        (largest.unwrap_or(0) as f64 * 10.0 / f64::from(KEYS), moved as f64 / f64::from(KEYS));
    println!("{{\"moved\":{moved},\"ideal\":{},\"largest\":{share},\"lookup\":{lookup}}}", 1.0 / 11.0);
}
