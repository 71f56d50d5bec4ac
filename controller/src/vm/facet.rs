//! What is said of a VM by a system tag each, and read when the VM starts next: its name on its networks,
//! what it boots from and how, the password of its console, what it sounds by, what its clock follows.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::tag::{self, Hold, SystemTag};
use engine::{Id, Result, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{VmInstance, VmInstanceInventory};
use crate::l3::HOSTNAME;
use crate::validate;

const KIND: &str = VmInstanceInventory::KIND;

/// What is tried in which order.
const BOOT_ORDER: SystemTag = SystemTag {
    resource: KIND,
    pattern: "bootOrder::{bootOrder}",
    help: "what the VM boots from: HardDisk, CdRom, Network, with commas between; from its next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| tokens.get("bootOrder").split(',').try_for_each(|word| device(word).map(|_| ())),
};

pub(super) const BOOT_MODE: SystemTag = SystemTag {
    resource: KIND,
    pattern: "bootMode::{bootMode}",
    help: "Legacy or UEFI; from the next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("bootMode") {
        "Legacy" | "UEFI" => Ok(()),
        other => {
            Err(codes::INVALID_ARGUMENT.because(format!("a boot mode is Legacy or UEFI, not \"{other}\"")))
        }
    },
};

const CONSOLE_PASSWORD: SystemTag = SystemTag {
    resource: KIND,
    pattern: "consolePassword::{consolePassword}",
    help: "what the VM's screen asks for, at most 8 characters (VNC takes no more); from the next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("consolePassword").chars().count() {
        1..=8 => Ok(()),
        _ => {
            Err(codes::INVALID_ARGUMENT
                .because("a console password has 1 to 8 characters: VNC takes no more"))
        }
    },
};

const SOUND_TYPE: SystemTag = SystemTag {
    resource: KIND,
    pattern: "soundType::{soundType}",
    help: "ac97 or ich6: the VM's sound card; from the next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("soundType") {
        "ac97" | "ich6" => Ok(()),
        other => {
            Err(codes::INVALID_ARGUMENT.because(format!("a sound card is ac97 or ich6, not \"{other}\"")))
        }
    },
};

const CLOCK_TRACK: SystemTag = SystemTag {
    resource: KIND,
    pattern: "clockTrack::{clockTrack}",
    help: "guest: the VM's clock stands still while it does; host: it goes on; from the next start on",
    hold: Hold::Free,
    once: &[],
    check: |tokens| match tokens.get("clockTrack") {
        "guest" | "host" => Ok(()),
        other => {
            Err(codes::INVALID_ARGUMENT.because(format!("a clock follows guest or host, not \"{other}\"")))
        }
    },
};

pub(super) const TAGS: &[SystemTag] = &[BOOT_ORDER, BOOT_MODE, CONSOLE_PASSWORD, SOUND_TYPE, CLOCK_TRACK];

/// As libvirt calls what a VM boots from.
fn device(word: &str) -> Result<&'static str> {
    match word {
        "HardDisk" => Ok("hd"),
        "CdRom" => Ok("cdrom"),
        "Network" => Ok("network"),
        other => Err(codes::INVALID_ARGUMENT
            .because(format!("a VM boots from HardDisk, CdRom or Network, not from \"{other}\""))),
    }
}

/// How a VM starts.
pub(super) struct Facets {
    /// Where an order is said.
    pub boot_dev: Option<Vec<String>>,
    pub boot_mode: Option<String>,
    pub console_password: Option<String>,
    pub sound_type: Option<String>,
    pub clock_track: Option<String>,
}

impl Facets {
    /// What the VM's tags say of it.
    pub fn of(tags: &[String]) -> Result<Facets> {
        let said = |tag: &SystemTag| tags.iter().find(|text| tag.read(text).is_some()).and_then(|t| word(t));
        let devices = |order: String| order.split(',').map(|word| device(word).map(str::to_owned)).collect();
        let boot_dev = said(&BOOT_ORDER).map(devices).transpose()?;
        Ok(Facets {
            boot_dev,
            boot_mode: said(&BOOT_MODE),
            console_password: said(&CONSOLE_PASSWORD),
            sound_type: said(&SOUND_TYPE),
            clock_track: said(&CLOCK_TRACK),
        })
    }
}

/// All system tags of the VM.
pub(super) async fn tags(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Vec<String>> {
    Ok(tag::all_of(tx, vec![vm.into()]).await?.into_iter().map(|(_, text)| text).collect())
}

/// The only token of a tag.
fn word(text: &str) -> Option<String> {
    text.split_once("::").map(|(_, word)| word.to_owned())
}

/// The VM boots so from now on.
pub(super) async fn boot_as(tx: &mut Tx, vm: Id<VmInstance>, mode: &str) -> Result<()> {
    tag::replace(tx, &BOOT_MODE, vm.cast(), Some(&BOOT_MODE.text(&[mode]))).await
}

/// What the tag of this pattern says of the VM, in its only token.
async fn said(tx: &mut Tx, tag: &SystemTag, vm: Id<VmInstance>) -> Result<Option<String>> {
    Ok(tag::of(tx, tag, vm.cast()).await?.first().and_then(|text| word(text)))
}

/// How the VM boots, where that is said.
pub(super) async fn boot_mode(tx: &mut Tx, vm: Id<VmInstance>) -> Result<Option<String>> {
    said(tx, &BOOT_MODE, vm).await
}

/// Says it, in place of what was said before; nothing takes that away.
async fn say(job: Job, tag: &'static SystemTag, vm: Id<VmInstance>, word: Option<String>) -> Result<Settled> {
    job.write(move |tx| {
        Box::pin(async move {
            find::<VmInstanceInventory>(tx, vm).await?;
            let text = word.map(|word| tag.text(&[&word]));
            tag::replace(tx, tag, vm.cast(), text.as_deref()).await?;
            show::<VmInstanceInventory>(tx, vm).await
        })
    })
    .await
}

async fn tell(asked: &Asked, tag: &SystemTag, vm: Id<VmInstance>) -> Result<Option<String>> {
    let mut tx = asked.engine.db().read().await?;
    find::<VmInstanceInventory>(&mut tx, vm).await?;
    said(&mut tx, tag, vm).await
}

/// A call that says something, one that takes it away, and perhaps one that asks for it.
macro_rules! facet {
    ($tag:expr; $set:ident $action:literal $field:ident $(secret $secrets:tt)?; $delete:ident $gone:literal) => {
        api! {
            $set: PUT "/vm-instances/{uuid}/actions" $action $(secret $secrets)? {
                uuid: Id<VmInstance>,
                $field: String,
            }
        }

        impl Api for $set {
            const ROUTE: Route = $set::ROUTE;

            async fn run(self, job: Job) -> Result<Settled> {
                say(job, &$tag, self.uuid, Some(self.$field)).await
            }
        }

        api! {
            $delete: DELETE $gone {
                uuid: Id<VmInstance>,
                delete_mode: Option<DeleteMode>,
            }
        }

        impl Api for $delete {
            const ROUTE: Route = $delete::ROUTE;

            async fn run(self, job: Job) -> Result<Settled> {
                say(job, &$tag, self.uuid, None).await
            }
        }

    };
    ($tag:expr; $set:ident $action:literal $field:ident $(secret $secrets:tt)?; $delete:ident $gone:literal;
     $get:ident $path:literal $reply:ident) => {
        facet!($tag; $set $action $field $(secret $secrets)?; $delete $gone);

        api! {
            $get: GET $path {
                uuid: Id<VmInstance>,
            }
        }

        #[derive(Serialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $reply {
            #[serde(skip_serializing_if = "Option::is_none")]
            $field: Option<String>,
        }

        impl Ask for $get {
            const ROUTE: Route = $get::ROUTE;
            type Reply = $reply;

            async fn answer(self, asked: Asked) -> Result<$reply> {
                Ok($reply { $field: tell(&asked, &$tag, self.uuid).await? })
            }
        }
    };
}

facet!(HOSTNAME; SetVmHostname "setVmHostname" hostname;
    DeleteVmHostname "/vm-instances/{uuid}/hostnames";
    GetVmHostname "/vm-instances/{uuid}/hostnames" Hostname);
facet!(CONSOLE_PASSWORD; SetVmConsolePassword "setVmConsolePassword" console_password secret ["consolePassword"];
    DeleteVmConsolePassword "/vm-instances/{uuid}/console-password";
    GetVmConsolePassword "/vm-instances/{uuid}/console-passwords" ConsolePassword);

facet!(BOOT_MODE; SetVmBootMode "setVmBootMode" boot_mode;
    DeleteVmBootMode "/vm-instances/{uuid}/bootmode");

/// As clients name sound cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SoundType {
    Ac97,
    Ich6,
}

api! {
    SetVmSoundType: PUT "/vm-instances/{uuid}/actions" "setVmSoundType" {
        uuid: Id<VmInstance>,
        sound_type: SoundType,
    }
}

impl Api for SetVmSoundType {
    const ROUTE: Route = SetVmSoundType::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let word = match self.sound_type {
            SoundType::Ac97 => "ac97",
            SoundType::Ich6 => "ich6",
        };
        say(job, &SOUND_TYPE, self.uuid, Some(word.into())).await
    }
}

/// What a clock follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    Guest,
    Host,
}

api! {
    SetVmClockTrack: PUT "/vm-instances/{uuid}/actions" "setVmClockTrack" {
        uuid: Id<VmInstance>,
        track: Track,
        #[serde(rename = "syncAfterVMResume")]
        sync_after_vm_resume: Option<bool>,
        interval_in_seconds: Option<i64>,
    }
}

impl Api for SetVmClockTrack {
    const ROUTE: Route = SetVmClockTrack::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::unsupported("syncAfterVMResume", &self.sync_after_vm_resume.filter(|is| *is))?;
        validate::unsupported("intervalInSeconds", &self.interval_in_seconds.filter(|every| *every != 0))?;
        let word = match self.track {
            Track::Guest => "guest",
            Track::Host => "host",
        };
        say(job, &CLOCK_TRACK, self.uuid, Some(word.into())).await
    }
}

/// As clients name what a VM boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BootDevice {
    HardDisk,
    CdRom,
    Network,
}

api! {
    /// Without an order the VM boots from its root volume again.
    SetVmBootOrder: PUT "/vm-instances/{uuid}/actions" "setVmBootOrder" {
        uuid: Id<VmInstance>,
        boot_order: Option<Vec<BootDevice>>,
    }
}

impl Api for SetVmBootOrder {
    const ROUTE: Route = SetVmBootOrder::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let order = self.boot_order.filter(|order| !order.is_empty());
        let words =
            order.map(|order| order.iter().map(|device| format!("{device:?}")).collect::<Vec<_>>().join(","));
        say(job, &BOOT_ORDER, self.uuid, words).await
    }
}

api! {
    GetVmBootOrder: GET "/vm-instances/{uuid}/boot-orders" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
pub struct BootOrder {
    orders: Vec<String>,
}

impl Ask for GetVmBootOrder {
    const ROUTE: Route = GetVmBootOrder::ROUTE;
    type Reply = BootOrder;

    async fn answer(self, asked: Asked) -> Result<BootOrder> {
        let order = tell(&asked, &BOOT_ORDER, self.uuid).await?.unwrap_or_else(|| "HardDisk".into());
        Ok(BootOrder { orders: order.split(',').map(str::to_owned).collect() })
    }
}
