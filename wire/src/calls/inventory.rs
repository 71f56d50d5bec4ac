//! `/inventory/changed`: all that an agent made, unless its peer knows it already. Ours; every agent with an
//! inventory serves it.

use uuid::Uuid;

use super::{call, message};
use crate::agent::Owned;

message! {
    /// `known` is the digest of the last answer; empty when there was none.
    List { known: String }
    /// `owned` is absent when the digest is the known one.
    Listed {
        digest: String,
        owned: Option<Vec<Owned>>,
    }
}

call!(List, "/inventory/changed", Sync, Reads, Listed);

impl Listed {
    /// What to answer one who knows the digest `known`.
    pub fn unless_known(mut owned: Vec<Owned>, known: &str) -> Self {
        owned.sort_unstable();
        let digest = digest(&owned);
        let owned = (digest != known).then_some(owned);
        Listed { digest, owned }
    }
}

/// The same for the same things, on every machine.
fn digest(owned: &[Owned]) -> String {
    const SPACE: Uuid = Uuid::from_u128(0x6375_6d75_6c65_7420_696e_7665_6e74_6f72);
    let text = serde_json::to_vec(owned).expect("has only string keys");
    Uuid::new_v5(&SPACE, &text).simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap(name: &str) -> Owned {
        Owned { kind: "tap".into(), name: name.into(), resource: None }
    }

    #[test]
    fn what_is_known_is_not_told_again_whatever_its_order() {
        let first = Listed::unless_known(vec![tap("a"), tap("b")], "");
        assert_eq!(first.owned.as_ref().map(Vec::len), Some(2));
        assert_eq!(Listed::unless_known(vec![tap("b"), tap("a")], &first.digest).owned, None);
        assert!(Listed::unless_known(vec![tap("a")], &first.digest).owned.is_some());
        let marked = Owned { resource: Some("x".into()), ..tap("a") };
        assert!(Listed::unless_known(vec![marked, tap("b")], &first.digest).owned.is_some());
    }
}
