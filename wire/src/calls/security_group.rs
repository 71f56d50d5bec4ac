//! `/securitygroup/*`: what may pass to and from VMs' NICs (kvm-agent).

use std::collections::BTreeMap;

use super::{Done, call, message};

message! {
    /// One NIC: the groups that it is in, by their priority, and what becomes of what no rule names.
    Nic {
        vm_nic_uuid: String,
        internal_name: String,
        mac: String,
        vm_nic_ips: Vec<String>,
        /// `ALLOW` or `DENY`.
        ingress_policy: String,
        egress_policy: String,
        /// `applyChain` or `deleteChain`.
        action_code: String,
        security_group_refs: BTreeMap<String, i64>,
    }
    Rule {
        ip_version: u32,
        /// The lowest comes first.
        priority: i64,
        /// `Ingress` or `Egress`.
        #[serde(rename = "type")]
        kind: String,
        remote_group_uuid: Option<String>,
        remote_group_vm_ips: Vec<String>,
        /// `Enabled` or `Disabled`.
        state: String,
        /// `TCP`, `UDP`, `ICMP` or `ALL`.
        protocol: String,
        /// `10.0.0.1,10.1.0.0/16,10.2.0.5-10.2.0.9`; absent means any.
        src_ip_range: Option<String>,
        dst_ip_range: Option<String>,
        /// `22,8000-8080`; absent means any.
        dst_port_range: Option<String>,
        /// `ACCEPT` or `DROP`.
        action: String,
    }
    /// The NICs that are named get these rules; the others keep theirs. Rules by their group.
    Apply {
        #[serde(rename = "vmNicTOs")]
        nics: Vec<Nic>,
        #[serde(rename = "ruleTOs")]
        rules: BTreeMap<String, Vec<Rule>>,
        #[serde(rename = "ip6RuleTOs")]
        ip6_rules: BTreeMap<String, Vec<Rule>>,
    }
    /// The NICs that are named get these rules; the others of this host get none.
    Refresh {
        #[serde(rename = "vmNicTOs")]
        nics: Vec<Nic>,
        #[serde(rename = "ruleTOs")]
        rules: BTreeMap<String, Vec<Rule>>,
        #[serde(rename = "ip6RuleTOs")]
        ip6_rules: BTreeMap<String, Vec<Rule>>,
    }
    /// The addresses of a group's members.
    Members {
        security_group_uuid: String,
        security_group_vm_ips: Vec<String>,
        security_group_vm_ip6s: Vec<String>,
        /// `updateGroup` or `deleteGroup`.
        action_code: String,
    }
    UpdateMembers {
        #[serde(rename = "updateGroupTOs")]
        groups: Vec<Members>,
    }
    /// Removes the rules of NICs that are not here any more, and groups that no rule names.
    CleanUp { skip_ipv6: Option<bool> }
    /// Makes what all rules stand on; succeeds when it is there.
    CheckDefault { skip_ipv6: Option<bool> }
}

call!(Apply, "/securitygroup/applyrules", Async, Acts, Done);
call!(Refresh, "/securitygroup/refreshrulesonhost", Async, Acts, Done);
call!(UpdateMembers, "/securitygroup/updategroupmember", Async, Acts, Done);
call!(CleanUp, "/securitygroup/cleanupunusedrules", Async, Acts, Done);
call!(CheckDefault, "/securitygroup/checkdefaultrulesonhost", Async, Acts, Done);
