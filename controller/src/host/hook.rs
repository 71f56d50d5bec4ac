//! What others do on a host when it comes and when it goes; listed in [`crate::modules`].

use async_trait::async_trait;
use engine::Result;
use engine::flow::Cx;

use super::HostInventory;

/// Both succeed when there is nothing left to do.
#[async_trait]
pub trait HostHook: Sync {
    /// The host answers; what belongs on it is made. A failure keeps it from being Connected.
    async fn connected(&self, cx: &Cx, host: &HostInventory) -> Result<()>;

    /// The host is taken out of the cloud; what was made on it is taken away.
    async fn leaving(&self, cx: &Cx, host: &HostInventory) -> Result<()>;
}
