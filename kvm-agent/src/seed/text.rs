//! The documents on a seed, as cloud-init's NoCloud wants them: YAML, in which every text is quoted as JSON
//! quotes it.

use wire::calls::seed::{Seed, SeedNic};

/// Who the guest is.
pub fn meta_data(seed: &Seed) -> String {
    let mut text = format!("instance-id: {}\n", quoted(&seed.instance_id));
    if let Some(name) = &seed.host_name {
        text += &format!("local-hostname: {}\n", quoted(name));
    }
    text + &list("public-keys", &seed.ssh_keys, 0)
}

/// Network configuration, version 2: NICs by their MACs. They get names: what does not write netplan's files knows
/// them by these alone. A VM without NICs needs none.
pub fn network_config(seed: &Seed) -> Option<String> {
    let nics = seed.nics.iter().enumerate().map(|(number, nic)| nic_config(number, nic));
    (!seed.nics.is_empty()).then(|| format!("version: 2\nethernets:\n{}", nics.collect::<String>()))
}

fn nic_config(number: usize, nic: &SeedNic) -> String {
    let mac = quoted(&nic.mac.to_ascii_lowercase());
    let head = format!("  eth{number}:\n    match:\n      macaddress: {mac}\n    set-name: eth{number}\n");
    let Some(address) = &nic.address else { return head + "    dhcp4: true\n" };
    let mut text = head + &list("addresses", std::slice::from_ref(address), 4);
    if let Some(gateway) = &nic.gateway {
        text += &format!("    routes:\n      - to: \"0.0.0.0/0\"\n        via: {}\n", quoted(gateway));
    }
    if !nic.dns.is_empty() {
        text += "    nameservers:\n";
        text += &list("addresses", &nic.dns, 6);
    }
    text
}

/// Nothing when there is nothing in it.
fn list(name: &str, texts: &[String], indent: usize) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let pad = " ".repeat(indent);
    let lines: String = texts.iter().map(|text| format!("{pad}  - {}\n", quoted(text))).collect();
    format!("{pad}{name}:\n{lines}")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        let nic = |address: Option<&str>| SeedNic {
            mac: "FA:00:00:00:00:01".into(),
            address: address.map(str::to_owned),
            gateway: address.map(|_| "10.0.0.1".into()),
            dns: address.map(|_| "8.8.8.8".into()).into_iter().collect(),
        };
        Seed {
            instance_id: "0a".into(),
            host_name: Some("web".into()),
            ssh_keys: vec!["ssh-ed25519 AAAA me \"at\" home".into()],
            nics: vec![nic(None), nic(Some("10.0.0.5/24"))],
            ..Seed::default()
        }
    }

    #[test]
    fn a_guest_is_told_its_name_and_its_keys() {
        let text = "instance-id: \"0a\"\nlocal-hostname: \"web\"\npublic-keys:\n  \
             - \"ssh-ed25519 AAAA me \\\"at\\\" home\"\n";
        assert_eq!(meta_data(&seed()), text);
        assert_eq!(meta_data(&Seed { instance_id: "b".into(), ..Seed::default() }), "instance-id: \"b\"\n");
    }

    #[test]
    fn a_nic_has_the_address_that_it_is_told_or_asks_for_one() {
        let text = "version: 2\nethernets:\n  eth0:\n    match:\n      macaddress: \"fa:00:00:00:00:01\"\n    \
             set-name: eth0\n    dhcp4: true\n  eth1:\n    match:\n      macaddress: \"fa:00:00:00:00:01\"\n    set-name: eth1\n    addresses:\n      \
             - \"10.0.0.5/24\"\n    routes:\n      - to: \"0.0.0.0/0\"\n        via: \"10.0.0.1\"\n    \
             nameservers:\n      addresses:\n        - \"8.8.8.8\"\n";
        assert_eq!(network_config(&seed()).as_deref(), Some(text));
        assert_eq!(network_config(&Seed::default()), None);
    }
}
