//! What repairs do: each is one idempotent thing that an agent does anyway.

use engine::boxed;
use engine::db::Tx;
use engine::flow::Cx;
use engine::{Id, Result};
use wire::agent::Owned;

use super::place::Place;
use super::repair::Case;
use crate::vm::drift;
use crate::{l2, l3, primary_storage};

#[boxed]
pub(super) trait Remedy: Sync {
    /// After "a repair".
    fn does(&self) -> &'static str;

    /// Why it cannot do anything about this thing; nothing when it can.
    fn hopeless(&self, _thing: &Owned) -> Option<&'static str> {
        None
    }

    /// Does it; false when it turns out that nothing is wrong.
    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool>;

    /// What the records say after it.
    async fn record(&self, _tx: &mut Tx, _case: &Case) -> Result<()> {
        Ok(())
    }
}

pub(super) struct DestroyDomain;

#[boxed]
impl Remedy for DestroyDomain {
    fn does(&self) -> &'static str {
        "destroys it"
    }

    fn hopeless(&self, thing: &Owned) -> Option<&'static str> {
        let copied = thing.resource.as_deref() != Some(&thing.name);
        copied.then_some("it is marked with another uuid than it is named by")
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        let host = place.host()?;
        host.hypervisor()?.destroy_vm(cx, host, &case.thing.name).await.map(|()| true)
    }
}

pub(super) struct RemoveSeed;

#[boxed]
impl Remedy for RemoveSeed {
    fn does(&self) -> &'static str {
        "deletes it, unless its vm is there"
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        let host = place.host()?;
        host.hypervisor()?.forget_vm(cx, host, &case.owner.to_string()).await.map(|()| true)
    }
}

pub(super) struct RemoveBridge;

#[boxed]
impl Remedy for RemoveBridge {
    fn does(&self) -> &'static str {
        "removes it and gives its interface the addresses back, unless anything else is plugged into it"
    }

    fn hopeless(&self, thing: &Owned) -> Option<&'static str> {
        let lost = l2::interface_of(&thing.name).is_none();
        lost.then_some("its name does not tell which interface gets its addresses back")
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        l2::evict(cx, place.host()?, case.owner.cast(), &case.thing.name).await.map(|()| true)
    }
}

pub(super) struct DeleteFile;

#[boxed]
impl Remedy for DeleteFile {
    fn does(&self) -> &'static str {
        "deletes it, unless it is in use"
    }

    fn hopeless(&self, thing: &Owned) -> Option<&'static str> {
        thing.resource.is_none().then_some("it is not named by a uuid, so it may be somebody's own")
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        primary_storage::delete_file(cx, place.host()?, &case.thing.name).await.map(|()| true)
    }
}

pub(super) struct RemoveNamespace;

#[boxed]
impl Remedy for RemoveNamespace {
    fn does(&self) -> &'static str {
        "removes it with its server and its leases"
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        l3::evict(cx, place.host()?, case.owner.cast(), &case.thing.name).await
    }
}

pub(super) struct RebuildLeases;

#[boxed]
impl Remedy for RebuildLeases {
    fn does(&self) -> &'static str {
        "gives the network the leases that the records say, and no others"
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        l3::rebuild(cx, place.host()?, case.owner.cast()).await.map(|()| true)
    }
}

pub(super) struct DeleteImage;

#[boxed]
impl Remedy for DeleteImage {
    fn does(&self) -> &'static str {
        "deletes its bits"
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        let storage = place.storage()?;
        storage.driver()?.delete(cx, storage, case.owner).await.map(|()| true)
    }
}

pub(super) struct FollowState;

#[boxed]
impl Remedy for FollowState {
    fn does(&self) -> &'static str {
        "lets the records say what is so"
    }

    async fn cure(&self, cx: &Cx, place: &Place, case: &mut Case) -> Result<bool> {
        let host = place.host()?;
        case.to = drift::look(cx, host, case.owner).await?;
        let Some(to) = &case.to else { return Ok(false) };
        drift::follow(cx, host, case.owner, to).await.map(|()| true)
    }

    async fn record(&self, tx: &mut Tx, case: &Case) -> Result<()> {
        match (&case.to, case.host) {
            (Some(to), Some(host)) => drift::record(tx, case.owner, Id::cast(host), to).await,
            _ => Ok(()),
        }
    }
}
