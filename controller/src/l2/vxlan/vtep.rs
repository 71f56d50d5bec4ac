//! Where the tunnels of a pool end on a host, and who hears of it.

use engine::flow::Cx;
use engine::{Id, Result, codes};
use futures::future::join_all;
use wire::calls::network::{CheckVtep, DeleteFdbs, PopulateFdbs};

use super::store;
use crate::host::{HostInventory, kvm};
use crate::l2::{L2Network, L2NetworkInventory};

/// The host's end, which is looked for when it is not known.
pub(super) async fn of(cx: &Cx, host: &HostInventory, pool: Id<L2Network>) -> Result<String> {
    match store::vtep(&mut cx.read().await?, pool, host.uuid).await? {
        Some((known, false)) => Ok(known),
        _ => find(cx, host, &engine::inventory::find(&mut cx.read().await?, pool).await?).await,
    }
}

/// Has the host say which of its addresses it is, writes that down, and tells the other hosts.
pub(super) async fn find(cx: &Cx, host: &HostInventory, pool: &L2NetworkInventory) -> Result<String> {
    let mut tx = cx.read().await?;
    let cidr = store::cidr(&mut tx, pool.uuid, host.cluster_uuid).await?.ok_or_else(|| {
        codes::STATE.because(format!("l2 network \"{}\" is not attached to the cluster any more", pool.name))
    })?;
    let before = store::vtep(&mut tx, pool.uuid, host.uuid).await?;
    drop(tx);
    let interface = Some(pool.physical_interface.clone()).filter(|name| !name.is_empty());
    let check = CheckVtep { cidr, vtep_ip: None, physical_interface_name: interface };
    let found = cx.call(&kvm::agent(cx.engine(), host), &check).await?;
    let (of, ip) = ((pool.uuid, host.uuid), found.vtep_ip.clone());
    if let Some((old, _)) = before.filter(|(old, _)| *old != ip) {
        retire(cx, host, pool.uuid, &old).await?;
    }
    cx.write(move |tx| Box::pin(async move { store::enter_vtep(tx, of, &found).await })).await?;
    tell(cx, pool.uuid, host, News::Here(&ip)).await?;
    Ok(ip)
}

/// The host has no end any more.
pub(super) async fn forget(cx: &Cx, host: &HostInventory, pool: Id<L2Network>) -> Result<()> {
    let known = store::vtep(&mut cx.read().await?, pool, host.uuid).await?;
    let Some((ip, _)) = known else { return Ok(()) };
    retire(cx, host, pool, &ip).await?;
    let of = host.uuid;
    cx.write(move |tx| Box::pin(async move { store::leave_vtep(tx, pool, of).await })).await
}

/// Nobody hears of it anew, and who has heard of it hears that it goes. It stays written down until they have, so
/// that this is repeated after a crash.
async fn retire(cx: &Cx, host: &HostInventory, pool: Id<L2Network>, ip: &str) -> Result<()> {
    let of = host.uuid;
    cx.write(move |tx| Box::pin(async move { store::mark_vtep(tx, pool, of).await })).await?;
    tell(cx, pool, host, News::Gone(ip)).await
}

enum News<'n> {
    Here(&'n str),
    Gone(&'n str),
}

/// Tells the other hosts that have an end. One that does not hear it is about to be lost, and is told all ends
/// when it is connected again.
async fn tell(cx: &Cx, pool: Id<L2Network>, about: &HostInventory, news: News<'_>) -> Result<()> {
    let mut tx = cx.read().await?;
    let networks: Vec<String> =
        store::networks(&mut tx, vec![pool.into()]).await?.iter().map(|one| one.uuid.to_string()).collect();
    let mut hosts = store::hosts_with_ends(&mut tx, pool).await?;
    drop(tx);
    hosts.retain(|host| host.uuid != about.uuid && host.is_connected());
    if networks.is_empty() {
        return Ok(());
    }
    let told = hosts.iter().map(|host| tell_one(cx, host, &networks, &news));
    for (host, told) in hosts.iter().zip(join_all(told).await) {
        match told {
            Err(error) if !error.says_nothing() => {
                tracing::warn!(host = host.name, %error, "does not hear of another host's tunnels");
            }
            told => told?,
        }
    }
    Ok(())
}

async fn tell_one(cx: &Cx, host: &HostInventory, networks: &[String], news: &News<'_>) -> Result<()> {
    let agent = kvm::agent(cx.engine(), host);
    let network_uuids = networks.to_vec();
    match news {
        News::Here(ip) => {
            let populate = PopulateFdbs { network_uuids, peers: vec![(*ip).to_owned()] };
            cx.call(&agent, &populate).await.map(|_| ())
        }
        News::Gone(ip) => {
            let delete = DeleteFdbs { network_uuids, peers: vec![(*ip).to_owned()] };
            cx.call(&agent, &delete).await.map(|_| ())
        }
    }
}
