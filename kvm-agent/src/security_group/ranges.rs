//! Lists of addresses and ports as ZStack writes them, as nftables reads them.
//!
//! What overlaps is joined: nftables refuses a set in which two entries do.

use std::fmt::Display;
use std::net::IpAddr;

use wire::Fault;

/// Both ends are in.
type Range<T> = (T, T);

/// `10.0.0.1,10.1.0.0/16,10.2.0.5-10.2.0.9` as a set; `None` when it names all or nothing.
pub fn addresses(text: Option<&str>, v6: bool, member: &str) -> Result<Option<String>, Fault> {
    let mut ranges = Vec::new();
    for part in parts(text) {
        let odd = || Fault::new(format!("{member}: {part:?} is no {} address or range", family(v6)));
        let (first, last) = address_range(part).ok_or_else(odd)?;
        if first.is_ipv6() != v6 || last.is_ipv6() != v6 || first > last {
            return Err(odd());
        }
        ranges.push((bits(first), bits(last)));
    }
    let joined = joined(ranges);
    Ok(set(joined.into_iter().map(|(first, last)| (address(first, v6), address(last, v6)))))
}

/// `22,8000-8080`. ZStack writes `-1` and `ALL` for all.
pub fn ports(text: Option<&str>, member: &str) -> Result<Option<String>, Fault> {
    let mut ranges = Vec::new();
    for part in parts(text).filter(|part| !matches!(*part, "-1" | "ALL" | "all")) {
        let odd = || Fault::new(format!("{member}: {part:?} is no port or range of ports"));
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let ends: (u16, u16) = (first.parse().map_err(|_| odd())?, last.parse().map_err(|_| odd())?);
        if ends.0 > ends.1 {
            return Err(odd());
        }
        ranges.push((u128::from(ends.0), u128::from(ends.1)));
    }
    Ok(set(joined(ranges)))
}

/// The members of a group, one by one.
pub fn members(ips: &[String], v6: bool, member: &str) -> Result<Vec<String>, Fault> {
    let sound = |ip: &String| match ip.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() == v6 => Ok(ip.to_string()),
        _ => Err(Fault::new(format!("{member}: {ip:?} is no {} address", family(v6)))),
    };
    let mut ips = ips.iter().map(sound).collect::<Result<Vec<_>, _>>()?;
    ips.sort();
    ips.dedup();
    Ok(ips)
}

fn parts(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn family(v6: bool) -> &'static str {
    if v6 { "ipv6" } else { "ipv4" }
}

fn address_range(part: &str) -> Option<Range<IpAddr>> {
    if let Some((first, last)) = part.split_once('-') {
        return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    let Some((ip, prefix)) = part.split_once('/') else {
        let ip = part.parse().ok()?;
        return Some((ip, ip));
    };
    let (ip, prefix): (IpAddr, u32) = (ip.parse().ok()?, prefix.parse().ok()?);
    let width: u32 = if ip.is_ipv6() { 128 } else { 32 };
    let hosts = (1_u128.checked_shl(width.checked_sub(prefix)?).unwrap_or(0)).wrapping_sub(1);
    let first = bits(ip) & !hosts;
    Some((address(first, ip.is_ipv6()), address(first | hosts, ip.is_ipv6())))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    let v4 = u32::try_from(bits).ok().filter(|_| !v6);
    v4.map_or_else(|| IpAddr::V6(bits.into()), |bits| IpAddr::V4(bits.into()))
}

fn joined(mut ranges: Vec<Range<u128>>) -> Vec<Range<u128>> {
    ranges.sort_unstable();
    let mut joined: Vec<Range<u128>> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn set<T: Display + PartialEq>(ranges: impl IntoIterator<Item = Range<T>>) -> Option<String> {
    let told = |(first, last): Range<T>| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let entries: Vec<String> = ranges.into_iter().map(told).collect();
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_joined() {
        let set = |text| addresses(Some(text), false, "srcIpRange").unwrap().unwrap();
        assert_eq!(set("10.0.0.7"), "{ 10.0.0.7 }");
        assert_eq!(set("10.0.0.0/24, 10.0.0.5,10.0.1.0-10.0.1.9"), "{ 10.0.0.0-10.0.1.9 }");
        assert_eq!(set("10.0.0.9-10.0.0.12,10.0.0.1"), "{ 10.0.0.1, 10.0.0.9-10.0.0.12 }");
        assert_eq!(set("0.0.0.0/0"), "{ 0.0.0.0-255.255.255.255 }");
        let all = addresses(Some("::/0"), true, "srcIpRange").unwrap().unwrap();
        assert_eq!(all, "{ ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }");
        assert_eq!(ports(Some("8080,22,23-25"), "dstPortRange").unwrap().unwrap(), "{ 22-25, 8080 }");
        assert_eq!(ports(Some("ALL"), "dstPortRange").unwrap(), None);
        assert_eq!(addresses(None, false, "srcIpRange").unwrap(), None);
    }

    #[test]
    fn what_is_none_is_refused_by_its_member() {
        for odd in ["x", "10.0.0.0/33", "::1", "10.0.0.9-10.0.0.1", "10.0.0.1 accept", "1-"] {
            let error = addresses(Some(odd), false, "srcIpRange").unwrap_err().error;
            assert!(error.starts_with("srcIpRange: "), "{error}");
        }
        for odd in ["65536", "9-1", "http", "80;"] {
            assert!(ports(Some(odd), "dstPortRange").is_err(), "{odd}");
        }
    }
}
