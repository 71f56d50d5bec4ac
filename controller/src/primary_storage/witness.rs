//! Whether what a host has mounted is the share it should be, when no other host can tell.

use std::time::Duration;

use engine::flow::Cx;
use engine::{Result, codes};
use wire::Call;
use wire::calls::localstorage::BitsChecked;

use super::{PrimaryStorageInventory, store};
use crate::host::HostInventory;
use crate::host::kvm::agent;

/// How long looking at a file may take.
const ASKING: Duration = Duration::from_secs(60);

/// Refuses a host that sees none of the volumes of a storage that has some. `look` asks for a file.
pub(super) async fn must_see_volumes<C: Call<Reply = BitsChecked>>(
    cx: &Cx,
    host: &HostInventory,
    storage: &PrimaryStorageInventory,
    look: fn(&PrimaryStorageInventory, &str) -> C,
) -> Result<()> {
    let files = store::some_files(&mut cx.read().await?, storage.uuid).await?;
    for file in &files {
        if cx.engine().ask(&agent(cx.engine(), host), &look(storage, file), ASKING).await?.existing {
            return Ok(());
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let details = format!(
        "{} on host \"{}\" has no volume of primary storage \"{}\", which has some: see that its own share \
         is mounted there, whole",
        storage.mount_path, host.name, storage.name
    );
    Err(codes::OPERATION.because(details))
}
