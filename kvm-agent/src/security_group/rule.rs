//! One rule of a group, in nftables' words.

use wire::Fault;
use wire::calls::security_group::Rule;

use super::ranges;
use super::script::group_set;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the VM.
    Ingress,
    Egress,
}

impl Direction {
    fn of(rule: &Rule) -> Result<Self, Fault> {
        match rule.kind.to_ascii_lowercase().as_str() {
            "ingress" => Ok(Direction::Ingress),
            "egress" => Ok(Direction::Egress),
            _ => Err(Fault::new(format!("type {:?} of a rule is neither Ingress nor Egress", rule.kind))),
        }
    }
}

/// What a packet must meet, and what becomes of it; `None` when the rule says nothing of this direction.
pub fn line(rule: &Rule, direction: Direction, v6: bool) -> Result<Option<String>, Fault> {
    if rule.state.eq_ignore_ascii_case("disabled") || Direction::of(rule)? != direction {
        return Ok(None);
    }
    let ip = if v6 { "ip6" } else { "ip" };
    let mut words = vec![format!("ether type {ip}")];
    let source = ranges::addresses(rule.src_ip_range.as_deref(), v6, "srcIpRange")?;
    let target = ranges::addresses(rule.dst_ip_range.as_deref(), v6, "dstIpRange")?;
    words.extend(source.map(|set| format!("{ip} saddr {set}")));
    words.extend(target.map(|set| format!("{ip} daddr {set}")));
    if let Some(group) = remote(rule) {
        let side = if direction == Direction::Ingress { "saddr" } else { "daddr" };
        words.push(format!("{ip} {side} @{}", group_set(group, v6)?));
    }
    words.extend(protocol(rule, v6)?);
    words.push(verdict(rule)?.to_owned());
    Ok(Some(words.join(" ")))
}

pub fn remote(rule: &Rule) -> Option<&str> {
    rule.remote_group_uuid.as_deref().filter(|uuid| !uuid.is_empty())
}

fn protocol(rule: &Rule, v6: bool) -> Result<Option<String>, Fault> {
    let ports = ranges::ports(rule.dst_port_range.as_deref(), "dstPortRange")?;
    let word = match rule.protocol.to_ascii_uppercase().as_str() {
        "TCP" => "tcp",
        "UDP" => "udp",
        "ICMP" if v6 => "icmpv6",
        "ICMP" => "icmp",
        "" | "ALL" => return Ok(None),
        _ => return Err(Fault::new(format!("protocol {:?} is none of TCP, UDP, ICMP, ALL", rule.protocol))),
    };
    Ok(Some(match ports.filter(|_| matches!(word, "tcp" | "udp")) {
        Some(ports) => format!("{word} dport {ports}"),
        None => format!("meta l4proto {word}"),
    }))
}

fn verdict(rule: &Rule) -> Result<&'static str, Fault> {
    match rule.action.to_ascii_uppercase().as_str() {
        "ACCEPT" | "RETURN" | "ALLOW" | "" => Ok("accept"),
        "DROP" | "DENY" => Ok("drop"),
        _ => Err(Fault::new(format!("action {:?} is neither ACCEPT nor DROP", rule.action))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule {
            kind: "Ingress".into(),
            state: "Enabled".into(),
            protocol: "TCP".into(),
            action: "ACCEPT".into(),
            src_ip_range: Some("10.0.0.0/8".into()),
            dst_port_range: Some("80,443".into()),
            ..Rule::default()
        }
    }

    #[test]
    fn a_rule_is_said_in_nftables_words() {
        let told = line(&rule(), Direction::Ingress, false).unwrap().unwrap();
        let words = "ether type ip ip saddr { 10.0.0.0-10.255.255.255 } tcp dport { 80, 443 } accept";
        assert_eq!(told, words);
        assert_eq!(line(&rule(), Direction::Egress, false).unwrap(), None);
        let off = Rule { state: "Disabled".into(), ..rule() };
        assert_eq!(line(&off, Direction::Ingress, false).unwrap(), None);
        let group = "0123456789abcdef0123456789abcdef".to_owned();
        let remote =
            Rule { remote_group_uuid: Some(group), src_ip_range: None, protocol: "ICMP".into(), ..rule() };
        let told = line(&remote, Direction::Ingress, true).unwrap().unwrap();
        let words =
            "ether type ip6 ip6 saddr @g6_0123456789abcdef0123456789abcdef meta l4proto icmpv6 accept";
        assert_eq!(told, words);
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_not_left_out() {
        for odd in [
            Rule { protocol: "SCTP".into(), ..rule() },
            Rule { action: "accept; flush ruleset".into(), ..rule() },
            Rule { kind: "both".into(), ..rule() },
            Rule { remote_group_uuid: Some("x y".into()), ..rule() },
        ] {
            assert!(line(&odd, Direction::Ingress, false).is_err(), "{odd:?}");
        }
    }
}
