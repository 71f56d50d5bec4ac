//! The servers of L3 networks on a host that comes or goes.

use engine::Result;
use engine::boxed;
use engine::flow::Cx;
use engine::hook::Hook;
use futures::future::try_join_all;

use super::{service, store};
use crate::host::HostInventory;

pub struct L3Networks;

#[boxed]
impl Hook<HostInventory> for L3Networks {
    async fn run(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let networks = store::on_host(&mut cx.read().await?, host).await?;
        try_join_all(networks.iter().map(|l3| service::rebuild(cx, host, l3))).await.map(|_| ())
    }

    async fn undo(&self, cx: &Cx, host: &HostInventory) -> Result<()> {
        let networks = store::on_host(&mut cx.read().await?, host).await?;
        try_join_all(networks.iter().map(|l3| service::leave(cx, host, l3))).await.map(|_| ())
    }
}
