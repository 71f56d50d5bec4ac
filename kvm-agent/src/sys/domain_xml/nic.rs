//! Network interfaces.

use serde::Serialize;
use wire::calls::vm::Nic;

use super::build::{Outcome, known};
use super::model::{Alias, Boot, State, Typed};
use super::resource_alias;

#[derive(Debug, Serialize)]
#[serde(rename = "interface")]
pub struct Interface {
    #[serde(rename = "@type")]
    pub kind: &'static str,
    pub mac: Mac,
    pub source: BridgeSource,
    pub target: Named,
    pub model: Typed,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
}

#[derive(Debug, Serialize)]
pub struct Mac {
    #[serde(rename = "@address")]
    pub address: String,
}

#[derive(Debug, Serialize)]
pub struct BridgeSource {
    #[serde(rename = "@bridge")]
    pub bridge: String,
}

#[derive(Debug, Serialize)]
pub struct Named {
    #[serde(rename = "@dev")]
    pub dev: String,
}

#[derive(Debug, Serialize)]
pub struct Mtu {
    #[serde(rename = "@size")]
    pub size: u32,
}

impl Interface {
    pub fn of(nic: &Nic, order: Option<u32>) -> Outcome<Self> {
        host::netlink::check_name(&nic.nic_internal_name).map_err(|error| error.to_string())?;
        Ok(Interface {
            kind: "bridge",
            mac: Mac { address: mac(&nic.mac)? },
            source: BridgeSource { bridge: nic.bridge_name.clone() },
            target: Named { dev: nic.nic_internal_name.clone() },
            model: Typed { kind: model_of(nic)? },
            mtu: nic.mtu.filter(|&size| size > 0).map(|size| Mtu { size }),
            link: (nic.state.as_deref() == Some("disable")).then_some(State { state: "down" }),
            boot: Boot::at(order),
            alias: resource_alias(&nic.uuid),
        })
    }
}

fn model_of(nic: &Nic) -> Outcome<String> {
    const MODELS: [&str; 5] = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"];
    let default = if nic.use_virtio { "virtio" } else { "e1000" };
    let asked = nic.driver_type.as_deref().filter(|asked| !asked.is_empty()).unwrap_or(default);
    let model = known(&MODELS, asked).ok_or_else(|| format!("nic driver {asked:?} is not known"))?;
    Ok(model.to_owned())
}

fn mac(text: &str) -> Outcome<String> {
    let bytes: Vec<&str> = text.split(':').collect();
    let sound = bytes.len() == 6 && bytes.iter().all(|b| b.len() == 2 && u8::from_str_radix(b, 16).is_ok());
    if sound { Ok(text.to_ascii_lowercase()) } else { Err(format!("mac {text:?} is not sound")) }
}
