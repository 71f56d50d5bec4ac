//! The script that puts rules in force, and what it stands on. Nothing gets into it unread: names are checked,
//! addresses and ports are written anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use host::netlink::{Link, check_name};
use wire::Fault;
use wire::calls::security_group::{Members, Nic, Rule};

use super::ranges;
use super::rule::{self, Direction};
use crate::sys::domain_xml::is_uuid;

pub const TABLE: &str = "cumulet_sg";
/// Of a connection that was let through before.
#[cfg(test)]
const KNOWN: &str = "0x01000000";
/// Of no connection, and none that could begin so.
pub const INVALID: &str = "0x02000000";

type Rules = BTreeMap<String, Vec<Rule>>;

/// The connections of one bridge.
pub struct Zone {
    bridge: String,
    mac: String,
    number: u32,
}

#[derive(Default)]
pub struct Script {
    anew: bool,
    lines: String,
}

/// What every script begins with; said again it changes nothing.
const BASE: &str = "\
add table inet cumulet_sg
add chain inet cumulet_sg zone { type filter hook prerouting priority -300; policy accept; }
flush chain inet cumulet_sg zone
add chain inet cumulet_sg state { type filter hook prerouting priority -150; policy accept; }
flush chain inet cumulet_sg state
add rule inet cumulet_sg state ct state established,related meta mark set meta mark or 0x01000000
add rule inet cumulet_sg state ct state invalid meta mark set meta mark or 0x02000000
add table bridge cumulet_sg
add map bridge cumulet_sg from { type ifname : verdict; }
add map bridge cumulet_sg to { type ifname : verdict; }
add chain bridge cumulet_sg default
flush chain bridge cumulet_sg default
add rule bridge cumulet_sg default ether type arp accept
add rule bridge cumulet_sg default meta mark and 0x01000000 == 0x01000000 accept
add rule bridge cumulet_sg default udp sport 68 udp dport 67 accept
add rule bridge cumulet_sg default udp sport 67 udp dport 68 accept
add rule bridge cumulet_sg default udp sport 546 udp dport 547 accept
add rule bridge cumulet_sg default udp sport 547 udp dport 546 accept
add rule bridge cumulet_sg default icmpv6 type \
{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept
add chain bridge cumulet_sg from_vm { type filter hook forward priority 100; policy accept; }
flush chain bridge cumulet_sg from_vm
add rule bridge cumulet_sg from_vm jump default
add rule bridge cumulet_sg from_vm udp dport 53 accept
add rule bridge cumulet_sg from_vm iifname vmap @from
add chain bridge cumulet_sg to_vm { type filter hook forward priority 101; policy accept; }
flush chain bridge cumulet_sg to_vm
add rule bridge cumulet_sg to_vm jump default
add rule bridge cumulet_sg to_vm oifname vmap @to
";

impl Zone {
    /// `None` for a name that no script can hold.
    pub fn of(bridge: &Link) -> Option<Zone> {
        let mac = bridge.mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        let sound = is_word(&bridge.name) && bridge.mac.len() == 6;
        sound.then(|| Zone { bridge: bridge.name.clone(), mac, number: bridge.index % 65535 + 1 })
    }
}

impl Script {
    /// Forgets all NICs and groups first.
    pub fn anew() -> Self {
        Script { anew: true, ..Script::default() }
    }

    pub fn nic(&mut self, nic: &Nic, rules: &Rules, ip6_rules: &Rules) -> Result<(), Fault> {
        let name = checked(&nic.internal_name)?;
        match nic.action_code.as_str() {
            "deleteChain" => self.without(name),
            "applyChain" | "" => {
                let groups = in_order(nic);
                self.groups(&groups, rules, false)?;
                self.groups(&groups, ip6_rules, true)?;
                for (direction, policy) in
                    [(Direction::Ingress, &nic.ingress_policy), (Direction::Egress, &nic.egress_policy)]
                {
                    let mut lines = Vec::new();
                    for (rules, v6) in [(rules, false), (ip6_rules, true)] {
                        lines.extend(told(&groups, rules, direction, v6)?);
                    }
                    self.chain(name, direction, &lines, policy_of(policy)?);
                }
            }
            odd => {
                return Err(Fault::new(format!("actionCode {odd:?} is neither applyChain nor deleteChain")));
            }
        }
        Ok(())
    }

    /// Adding before deleting makes the deletion succeed when there was none.
    pub fn without(&mut self, nic: &str) {
        for direction in ["from", "to"] {
            let chain = format!("{direction}_{nic}");
            self.line(&format!("add chain bridge {TABLE} {chain}"));
            self.line(&format!("add element bridge {TABLE} {direction} {{ \"{nic}\" : jump {chain} }}"));
            self.line(&format!("delete element bridge {TABLE} {direction} {{ \"{nic}\" }}"));
            self.line(&format!("flush chain bridge {TABLE} {chain}"));
            self.line(&format!("delete chain bridge {TABLE} {chain}"));
        }
    }

    pub fn without_group(&mut self, set: &str) {
        self.line(&format!("delete set bridge {TABLE} {set}"));
    }

    pub fn members(&mut self, group: &Members) -> Result<(), Fault> {
        let gone = match group.action_code.as_str() {
            "updateGroup" | "" => false,
            "deleteGroup" => true,
            odd => {
                return Err(Fault::new(format!("actionCode {odd:?} is neither updateGroup nor deleteGroup")));
            }
        };
        let of = |ips: &[String], v6, member| match gone {
            true => Ok(Vec::new()),
            false => ranges::members(ips, v6, member),
        };
        let uuid = &group.security_group_uuid;
        let (ips, ip6s) = (&group.security_group_vm_ips, &group.security_group_vm_ip6s);
        self.set(&group_set(uuid, false)?, false, &of(ips, false, "securityGroupVmIps")?);
        self.set(&group_set(uuid, true)?, true, &of(ip6s, true, "securityGroupVmIp6s")?);
        Ok(())
    }

    pub fn text(&self, zones: &[Zone]) -> String {
        let mut text = String::new();
        if self.anew {
            let _ = writeln!(text, "add table bridge {TABLE}\ndelete table bridge {TABLE}");
        }
        text.push_str(BASE);
        for Zone { bridge, mac, number } in zones {
            let rule = format!("iifname \"{bridge}\" ether daddr != {mac} ct zone set {number}");
            let _ = writeln!(text, "add rule inet {TABLE} zone {rule}");
        }
        text.push_str(&self.lines);
        text
    }

    /// The groups that rules name, with the members that came along.
    fn groups(&mut self, groups: &[&str], rules: &Rules, v6: bool) -> Result<(), Fault> {
        let all = groups.iter().filter_map(|group| rules.get(*group)).flatten();
        for rule in all {
            if let Some(remote) = rule::remote(rule) {
                let members = ranges::members(&rule.remote_group_vm_ips, v6, "remoteGroupVmIps")?;
                self.set(&group_set(remote, v6)?, v6, &members);
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, v6: bool, members: &[String]) {
        let kind = if v6 { "ipv6_addr" } else { "ipv4_addr" };
        self.line(&format!("add set bridge {TABLE} {name} {{ type {kind}; }}"));
        self.line(&format!("flush set bridge {TABLE} {name}"));
        if !members.is_empty() {
            self.line(&format!("add element bridge {TABLE} {name} {{ {} }}", members.join(", ")));
        }
    }

    fn chain(&mut self, nic: &str, direction: Direction, lines: &[String], policy: &str) {
        let map = if direction == Direction::Ingress { "to" } else { "from" };
        let chain = format!("{map}_{nic}");
        self.line(&format!("add chain bridge {TABLE} {chain}"));
        self.line(&format!("flush chain bridge {TABLE} {chain}"));
        self.line(&format!("add rule bridge {TABLE} {chain} meta mark and {INVALID} == {INVALID} drop"));
        for line in lines {
            self.line(&format!("add rule bridge {TABLE} {chain} {line}"));
        }
        self.line(&format!("add rule bridge {TABLE} {chain} {policy}"));
        self.line(&format!("add element bridge {TABLE} {map} {{ \"{nic}\" : jump {chain} }}"));
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }
}

/// The set of a group's members.
pub fn group_set(uuid: &str, v6: bool) -> Result<String, Fault> {
    if !is_uuid(uuid) {
        return Err(Fault::new(format!("security group uuid {uuid:?} is not 32 lower-case hex digits")));
    }
    Ok(format!("{}_{uuid}", if v6 { "g6" } else { "g4" }))
}

/// The NICs that a table, as nft writes it, has rules for.
pub fn nics_in(table: &str) -> Vec<String> {
    let chains = table.lines().filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"));
    let nic = |chain: &str| chain.strip_prefix("to_").filter(|nic| *nic != "vm").map(str::to_owned);
    chains.filter_map(nic).filter(|nic| is_word(nic)).collect()
}

/// The groups in a table that no rule names.
pub fn unused_in(table: &str) -> Vec<String> {
    let sets = table.lines().filter_map(|line| line.trim().strip_prefix("set ")?.strip_suffix(" {"));
    let unused = |set: &&str| !table.contains(&format!("@{set} "));
    sets.filter(unused).map(str::to_owned).collect()
}

/// The groups of a NIC, the first first.
fn in_order(nic: &Nic) -> Vec<&str> {
    let mut groups: Vec<_> = nic.security_group_refs.iter().collect();
    groups.sort_by_key(|(_, priority)| **priority);
    groups.into_iter().map(|(uuid, _)| uuid.as_str()).collect()
}

fn told(groups: &[&str], rules: &Rules, direction: Direction, v6: bool) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    for group in groups {
        let mut rules: Vec<&Rule> = rules.get(*group).into_iter().flatten().collect();
        rules.sort_by_key(|rule| rule.priority);
        for rule in rules {
            lines.extend(rule::line(rule, direction, v6)?);
        }
    }
    Ok(lines)
}

fn policy_of(policy: &str) -> Result<&'static str, Fault> {
    match policy.to_ascii_uppercase().as_str() {
        "ALLOW" => Ok("accept"),
        "DENY" => Ok("drop"),
        _ => Err(Fault::new(format!("policy {policy:?} is neither ALLOW nor DENY"))),
    }
}

fn checked(name: &str) -> Result<&str, Fault> {
    check_name(name)?;
    let odd = || Fault::new(format!("internalName {name:?} has signs that no interface of a vm has"));
    is_word(name).then_some(name).ok_or_else(odd)
}

/// A name that nftables takes as it is.
fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_says_what_the_constants_say() {
        assert!(BASE.contains(&format!("meta mark or {KNOWN}")) && BASE.contains(&format!("or {INVALID}")));
        assert!(BASE.lines().all(|line| line.contains(TABLE)));
    }

    #[test]
    fn what_a_table_has_is_read() {
        let table = "table bridge cumulet_sg {\n\tset g4_a {\n\t}\n\tset g4_b {\n\t}\n\tchain to_vm {\n\t}\n\
                     \tchain to_vnic1.0 {\n\t\tip saddr @g4_a accept\n\t}\n\tchain from_vnic1.0 {\n\t}\n}\n";
        assert_eq!(nics_in(table), ["vnic1.0"]);
        assert_eq!(unused_in(table), ["g4_b"]);
    }

    #[test]
    fn a_name_that_would_be_more_than_a_name_is_refused() {
        let nic = Nic { internal_name: "a}drop".into(), ..Nic::default() };
        let none = Rules::new();
        let error = Script::default().nic(&nic, &none, &none).unwrap_err().error;
        assert!(error.starts_with("internalName"), "{error}");
    }
}
