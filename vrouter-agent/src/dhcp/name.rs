//! The name of a namespace: `<bridge>_<uuid of the L3 network>`, and the names derived from it.

use std::fmt;

use host::netlink::check_name;
use serde::{Deserialize, Serialize};
use wire::Fault;

/// Interface names hold at most 15 bytes.
const LONGEST_LINK: usize = 15;
/// What a port's two ends start with; 12 digits of the network's uuid follow.
pub const OUTER: &str = "dho";
const INNER: &str = "dhi";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name {
    bridge: String,
    l3: String,
}

impl Name {
    /// Reads the name of a namespace and compares it with the bridge that came beside it.
    pub fn of(namespace: &str, bridge: &str) -> Result<Self, Fault> {
        let name = Name::parse(namespace).map_err(Fault::new)?;
        if name.bridge != bridge {
            return Err(Fault::new(format!(
                "namespace {namespace:?} belongs to bridge {:?}, not to {bridge:?}",
                name.bridge
            )));
        }
        Ok(name)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("namespace {text:?} is not named <bridge>_<uuid of the l3 network>");
        let (bridge, l3) = text.rsplit_once('_').ok_or_else(wrong)?;
        let sound = check_name(bridge).is_ok() && is_uuid(l3);
        sound.then(|| Name { bridge: bridge.into(), l3: l3.into() }).ok_or_else(wrong)
    }

    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// The L3 network's uuid: the mark of all that is made for it.
    pub fn l3(&self) -> &str {
        &self.l3
    }

    /// The end of the port on the bridge.
    pub fn outer(&self) -> String {
        self.link(OUTER)
    }

    /// The end of the port in the namespace.
    pub fn inner(&self) -> String {
        self.link(INNER)
    }

    /// The bridge-family table that keeps the network's DHCP on this host.
    pub fn table(&self) -> String {
        format!("cumulet_{}", self.link(OUTER))
    }

    /// The last digits of a uuid are random in every version, the first ones are a clock in some.
    fn link(&self, prefix: &str) -> String {
        let digits: String = self.l3.chars().filter(char::is_ascii_hexdigit).collect();
        format!("{prefix}{}", &digits[digits.len() - (LONGEST_LINK - prefix.len())..])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.bridge, self.l3)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Name::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.to_string()
    }
}

/// 32 hex digits, with dashes or without.
fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const L3: &str = "0189aabbccdd7eeeafff112233445566";

    #[test]
    fn a_namespace_is_named_after_bridge_and_network() {
        let name = Name::of(&format!("br_eth0_{L3}"), "br_eth0").unwrap();
        assert_eq!((name.bridge(), name.l3()), ("br_eth0", L3));
        assert_eq!(name.outer(), "dho112233445566");
        assert_eq!(name.inner().len(), LONGEST_LINK);
        assert_eq!(name.to_string(), format!("br_eth0_{L3}"));
    }

    #[test]
    fn a_name_that_is_a_path_or_of_another_bridge_is_refused() {
        let bridges = ["../../etc", "a/b", "", ".", "..", "a b", "a\nb", "sixteen-letters-"];
        for bridge in bridges {
            assert!(Name::of(&format!("{bridge}_{L3}"), bridge).is_err(), "{bridge:?}");
        }
        for namespace in
            ["br0", "br0_", "br0_xyz", &format!("br0_{L3}0"), &format!("br0_{}", L3.to_uppercase())]
        {
            assert!(Name::of(namespace, "br0").is_err(), "{namespace:?}");
        }
        assert!(Name::of(&format!("br0_{L3}"), "br1").is_err());
    }
}
