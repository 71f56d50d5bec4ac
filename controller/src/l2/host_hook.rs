//! The L2 networks of a cluster on its hosts.

use std::time::Duration;

use engine::boxed;
use engine::flow::Cx;
use engine::hook::Hook;
use engine::inventory::find;
use engine::{ErrorCode, Result, codes};
use futures::future::{join_all, try_join_all};

use super::{L2NetworkInventory, store};
use crate::host::HostInventory;

pub struct L2Networks;

#[boxed]
impl Hook<HostInventory> for L2Networks {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let networks = store::wanted_in_cluster(&mut cx.read().await?, host.cluster_uuid).await?;
        let (carried, carriers) = by_use(&networks)?;
        try_join_all(carriers.into_iter().map(|l2| realize(cx, host, l2))).await?;
        try_join_all(carried.into_iter().map(|l2| realize(cx, host, l2))).await.map(|_| ())
    }

    async fn undo(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let networks = store::in_cluster(&mut cx.read().await?, host.cluster_uuid).await?;
        let (carried, carriers) = by_use(&networks)?;
        try_join_all(carried.into_iter().map(|l2| remove(cx, host, l2))).await?;
        try_join_all(carriers.into_iter().map(|l2| remove(cx, host, l2))).await.map(|_| ())
    }
}

/// Those that VMs are plugged into, and those that only carry some of these.
fn by_use(networks: &[L2NetworkInventory]) -> Result<(Vec<&L2NetworkInventory>, Vec<&L2NetworkInventory>)> {
    let (mut used, mut carriers) = (Vec::new(), Vec::new());
    for l2 in networks {
        match l2.driver()?.is_plugged_into() {
            true => used.push(l2),
            false => carriers.push(l2),
        }
    }
    Ok((used, carriers))
}

pub(super) async fn realize(cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
    l2.driver()?.realize(cx, host, l2).await
}

pub(super) async fn remove(cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
    l2.driver()?.remove(cx, host, l2).await
}

/// What is to become of a network on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Realized,
    Removed,
}

/// So long is waited for what else is done to a host.
const HOST_TURN: Duration = Duration::from_secs(60);

/// Brings it about on all hosts that are connected. A host that is not gets, or loses, the network when it
/// connects. Tells every host that failed.
pub(super) async fn everywhere(
    cx: &Cx,
    l2: &L2NetworkInventory,
    hosts: &[HostInventory],
    wish: Wish,
) -> Result<()> {
    let outcomes = join_all(hosts.iter().map(|host| in_turn(cx, l2, host, wish))).await;
    let errors: Vec<ErrorCode> = outcomes.into_iter().filter_map(Result::err).collect();
    let Some(first) = errors.first() else { return Ok(()) };
    if let Some(error) = errors.iter().find(|error| error.says_nothing()) {
        return Err(error.clone());
    }
    let verb = if wish == Wish::Realized { "made on" } else { "taken off" };
    let reasons: Vec<_> = errors.iter().map(ErrorCode::details).collect();
    let details =
        format!("l2 network \"{}\" could not be {verb} every host: {}", l2.name, reasons.join("; "));
    Err(codes::OPERATION.because(details).caused_by(first.clone()))
}

/// Takes the network off one host, in the host's turn.
pub(super) async fn evict(cx: &Cx, host: &HostInventory, l2: &L2NetworkInventory) -> Result<()> {
    in_turn(cx, l2, host, Wish::Removed).await
}

/// In the turn of the host: the host is neither connecting nor leaving meanwhile.
async fn in_turn(cx: &Cx, l2: &L2NetworkInventory, host: &HostInventory, wish: Wish) -> Result<()> {
    let who = format!("bridges of l2 network \"{}\"", l2.name);
    let turn = tokio::time::timeout(HOST_TURN, cx.alone_with(host.uuid.cast(), &who)).await;
    let host: HostInventory = match find(&mut cx.read().await?, host.uuid).await {
        Err(error) if error.is(codes::NOT_FOUND) => return Ok(()),
        found => found?,
    };
    match (host.is_connected(), turn) {
        (true, Err(_)) => Err(codes::BUSY.because(format!("host \"{}\" is being worked on", host.name))),
        (false, _) => {
            tracing::warn!(host = host.name, l2 = l2.name, ?wish, "left out: the host is not connected");
            Ok(())
        }
        (true, Ok(Err(error))) => Err(error),
        (true, Ok(Ok(_held))) if wish == Wish::Realized => realize(cx, &host, l2).await,
        (true, Ok(Ok(_held))) => remove(cx, &host, l2).await,
    }
}
