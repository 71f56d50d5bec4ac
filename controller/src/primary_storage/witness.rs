//! Whether what a host has mounted is the share it should be, when no other host can tell.

use engine::{Result, codes};
use wire::Call;
use wire::calls::localstorage::BitsChecked;

use super::driver::Through;
use super::{PrimaryStorageInventory, store};

/// Refuses a host that sees none of the volumes of a storage that has some. `look` asks for a file.
pub(super) async fn must_see_volumes<C: Call<Reply = BitsChecked>>(
    at: Through<'_>,
    look: fn(&PrimaryStorageInventory, &str) -> C,
) -> Result<()> {
    let files = store::some_files(&mut at.cx.read().await?, at.storage.uuid).await?;
    for file in &files {
        if at.ask(&look(at.storage, file)).await?.existing {
            return Ok(());
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let details = format!(
        "{} on host \"{}\" has no volume of primary storage \"{}\", which has some: see that its own share \
         is mounted there, whole",
        at.storage.mount_path, at.host.name, at.storage.name
    );
    Err(codes::OPERATION.because(details))
}
