//! What a guest finds out about itself before anybody can log in to it: its name, whose SSH keys are let in, user
//! data, its addresses. Its host puts it on a small disc labelled `cidata`, which cloud-init and its like read.
//!
//! A VM has such a disc when it has a key or user data, or says so; each start makes it anew from the records. To
//! its guest it is the same VM for as long as it lives: what cloud-init does once it does not do again, unless
//! the root volume is a new one. User data may be secret: it is told to its owner's own, and is no tag.

mod api;
mod store;

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::db::Tx;
use engine::inventory::{Inventory, find};
use engine::module::Module;
use engine::tag::{Hold, SystemTag, Wanted};
use engine::{Id, Result, codes};
use wire::calls::seed::{Seed, SeedNic};

use super::{VmInstance, VmInstanceInventory};
use crate::l3;
use crate::nic::VmNicInventory;
use crate::ssh_key_pair::{self, SshKeyPair, SshKeyPairInventory};

/// Of user data, in bytes. EC2 takes 16 KiB, OpenStack this.
const MOST: usize = 64 << 10;

/// Keys that are nobody's key pair.
const SSH_KEY: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "sshkey::{sshkey}",
    help: "public SSH keys that the guest lets in, a line each; its first start brings them",
    hold: Hold::Free,
    once: &[],
    check: |tokens| check_keys(tokens.get("sshkey")),
};

const USER_DATA: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "userdata::{userdata}",
    help: "what cloud-init does in the guest at its first start, in base64; at most 64 KiB",
    hold: Hold::Kept,
    once: &[],
    check: |tokens| check_user_data(tokens.get("userdata")),
};

const CLOUD_INIT: SystemTag = SystemTag {
    resource: VmInstanceInventory::KIND,
    pattern: "cloudInit::{cloudInit}",
    help: "NoCloud: the guest is told its name and addresses by a disc even when it has neither key nor user \
           data; None: it is told nothing by a disc",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("cloudInit") {
        NO_CLOUD | NONE => Ok(()),
        other => Err(codes::INVALID_ARGUMENT.because(format!("it is NoCloud or None, not \"{other}\""))),
    },
};

const NO_CLOUD: &str = "NoCloud";
const NONE: &str = "None";

fn check_keys(text: &str) -> Result<()> {
    let keys = lines(text);
    if keys.is_empty() {
        return Err(
            codes::INVALID_ARGUMENT.because("\"sshKey\" must hold a public key, or several, a line each")
        );
    }
    keys.iter().try_for_each(|key| ssh_key_pair::must_be_key("sshKey", key))
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn check_user_data(text: &str) -> Result<()> {
    let wrong = |why: String| codes::INVALID_ARGUMENT.because(format!("\"userData\" {why}"));
    let bytes = STANDARD.decode(text).map_err(|_| wrong("must be base64".into()))?;
    match bytes.len() {
        0 => Err(wrong("must not be empty: delete it instead".into())),
        1..=MOST => Ok(()),
        many => Err(wrong(format!("has {many} bytes, at most {MOST} may be"))),
    }
}

/// What a creation says of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub keys: Vec<Id<SshKeyPair>>,
    pub user_data: Option<String>,
}

impl Asked {
    pub async fn of(tx: &mut Tx, keys: &[Id<SshKeyPair>], tags: &Wanted) -> Result<Asked> {
        for key in keys {
            find::<SshKeyPairInventory>(tx, *key).await?;
        }
        let said = tags.tokens(&USER_DATA);
        let user_data = said.first().map(|tokens| tokens.get("userdata").to_owned());
        Ok(Asked { keys: keys.to_vec(), user_data })
    }
}

/// It is written down with the VM.
pub(super) async fn enter(
    tx: &mut Tx,
    vm: Id<VmInstance>,
    keys: &[Id<SshKeyPair>],
    user_data: Option<&str>,
) -> Result<()> {
    for key in keys {
        find::<SshKeyPairInventory>(tx, *key).await?;
        store::attach(tx, vm, *key).await?;
    }
    match user_data {
        Some(text) => store::set_user_data(tx, vm, text).await,
        None => Ok(()),
    }
}

/// What a start tells the host of it, if anything. `tags` are the VM's.
pub(super) async fn told(
    tx: &mut Tx,
    vm: &VmInstanceInventory,
    nics: &[VmNicInventory],
    tags: &[String],
) -> Result<Option<Seed>> {
    let said = |tag: &SystemTag, token| {
        tags.iter().find_map(|text| tag.read(text)).map(|tokens| tokens.get(token).to_owned())
    };
    let wish = said(&CLOUD_INIT, "cloudInit");
    if wish.as_deref() == Some(NONE) {
        return Ok(None);
    }
    let (mut ssh_keys, user_data) = store::kept(tx, vm.uuid).await?;
    let own = said(&SSH_KEY, "sshkey").unwrap_or_default();
    ssh_keys.extend(lines(&own).into_iter().map(str::to_owned));
    ssh_keys.sort();
    ssh_keys.dedup();
    if wish.is_none() && ssh_keys.is_empty() && user_data.is_none() {
        return Ok(None);
    }
    let name = tags.iter().find(|text| l3::HOSTNAME.read(text).is_some());
    let mut told = Vec::new();
    for nic in nics {
        told.push(nic_told(tx, vm, nic).await?);
    }
    Ok(Some(Seed {
        instance_id: vm.uuid.to_string(),
        host_name: l3::called(name.map(String::as_str), &vm.name),
        ssh_keys,
        user_data: user_data.unwrap_or_default(),
        nics: told,
    }))
}

/// Where DHCP serves a network, the guest asks it; elsewhere it is told its address here.
async fn nic_told(tx: &mut Tx, vm: &VmInstanceInventory, nic: &VmNicInventory) -> Result<SeedNic> {
    let network = l3::guidance(tx, nic.l3_network_uuid).await?;
    let mac = nic.mac.clone();
    match address(nic).filter(|_| !network.dhcp) {
        None => Ok(SeedNic { mac, ..SeedNic::default() }),
        address => {
            let is_default = vm.default_l3_network_uuid == Some(nic.l3_network_uuid.cast());
            let gateway = nic.gateway.clone().filter(|_| is_default);
            Ok(SeedNic { mac, address, gateway, dns: network.dns })
        }
    }
}

/// As `10.0.0.5/24`.
fn address(nic: &VmNicInventory) -> Option<String> {
    let mask: Ipv4Addr = nic.netmask.as_ref()?.parse().ok()?;
    Some(format!("{}/{}", nic.ip.as_ref()?, u32::from(mask).count_ones()))
}

pub(super) fn add_to(module: Module) -> Module {
    module
        .tags(&[SSH_KEY, USER_DATA, CLOUD_INIT])
        .api::<api::SetVmSshKey>()
        .api::<api::DeleteVmSshKey>()
        .ask::<api::GetVmSshKey>()
        .api::<api::SetVmUserData>()
        .api::<api::DeleteVmUserData>()
        .ask::<api::GetVmUserData>()
        .api::<api::AttachSshKeyPairToVmInstance>()
        .api::<api::DetachSshKeyPairFromVmInstance>()
        .ask::<api::GetVmSshKeyPairs>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";

    #[test]
    fn keys_stand_a_line_each() {
        for sound in [KEY.to_owned(), format!("{KEY}\n\n  {KEY}\n")] {
            check_keys(&sound).unwrap();
        }
        for wrong in ["", " \n", "ssh-ed25519", &format!("{KEY}\nnone")] {
            assert!(check_keys(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn user_data_is_base64_of_something_and_not_too_much() {
        let of = |bytes: usize| check_user_data(&STANDARD.encode(vec![b'x'; bytes]));
        of(1).unwrap();
        of(MOST).unwrap();
        assert!(of(0).unwrap_err().details().contains("empty"));
        assert!(of(MOST + 1).unwrap_err().details().contains("65537 bytes"));
        assert!(check_user_data("#cloud-config").unwrap_err().details().contains("base64"));
    }
}
