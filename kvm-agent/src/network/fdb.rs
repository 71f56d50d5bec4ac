//! Hardware addresses of guests behind virtual functions: a physical function that also carries a bridge must
//! be told of them, or it takes their packets for somebody else's.

use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::network::{AddBridgeFdb, DeleteBridgeFdb};

use super::bridge::physical;
use crate::state::Host;

pub async fn add_fdb(cx: Cx<Host>, cmd: AddBridgeFdb) -> Result<Done, Fault> {
    let (link, macs) = (physical(&cx.net, &cmd.physical_interface).await?, parsed(&cmd.macs)?);
    for mac in &macs {
        cx.net.add_fdb(&link, mac, None).await?;
    }
    Ok(Done {})
}

pub async fn delete_fdb(cx: Cx<Host>, cmd: DeleteBridgeFdb) -> Result<Done, Fault> {
    let macs = parsed(&cmd.macs)?;
    let Some(link) = cx.net.find(&cmd.physical_interface).await? else { return Ok(Done {}) };
    for mac in &macs {
        cx.net.delete_fdb(&link, mac, None).await?;
    }
    Ok(Done {})
}

fn parsed(macs: &[String]) -> Result<Vec<Vec<u8>>, Fault> {
    macs.iter().map(|mac| bytes(mac)).collect()
}

/// One station's address: no group's, and not nobody's.
fn bytes(mac: &str) -> Result<Vec<u8>, Fault> {
    let bytes = hex::decode(mac.replace(':', "")).ok();
    let sound =
        |bytes: &Vec<u8>| bytes.len() == 6 && bytes[0] & 1 == 0 && bytes.iter().any(|byte| *byte != 0);
    bytes.filter(sound).ok_or_else(|| Fault::new(format!("macs: {mac:?} is no hardware address of a guest")))
}
