use engine::boxed;
use engine::cascade::{Action, Edge, How, Kind};
use engine::db::Tx;
use engine::flow::Cx;
use engine::inventory::find;
use engine::{Any, Id, Result};
use futures::future::try_join_all;

use super::{IpRangeInventory, store};
use crate::l3::{L3NetworkInventory, service};

pub(super) const EDGES: &[Edge] =
    &[Edge { parent: "L3Network", child: "IpRange", action: Action::Delete, find: store::IN_L3 }];

pub(super) struct IpRangeKind;

#[boxed]
impl Kind for IpRangeKind {
    fn name(&self) -> &'static str {
        "IpRange"
    }

    async fn begin(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), true).await
    }

    async fn revert(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::mark_deleting(tx, id.cast(), false).await
    }

    /// The network's servers on the hosts move to an address of another range, or go with the last one.
    async fn act(&self, cx: &Cx, _how: How, id: Id<Any>) -> Result<()> {
        let mut tx = cx.read().await?;
        let range: IpRangeInventory = find(&mut tx, id).await?;
        let l3: L3NetworkInventory = find(&mut tx, range.l3_network_uuid).await?;
        let hosts = crate::l3::store::hosts(&mut tx, l3.uuid).await?;
        drop(tx);
        let connected = hosts.iter().filter(|host| host.is_connected());
        try_join_all(connected.map(|host| service::rebuild(cx, host, &l3))).await.map(|_| ())
    }

    async fn record(&self, tx: &mut Tx, _how: How, id: Id<Any>) -> Result<()> {
        store::delete(tx, id.cast()).await
    }
}
