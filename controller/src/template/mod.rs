//! Images that are made of volumes and snapshots. All that the volume or snapshot shows is copied into one
//! file, in the cache of its storage, where the image's next volume on that host will look for it; from there
//! it is brought to the backup storages.

mod api;
mod create;
mod store;

use engine::module::Module;

pub fn module() -> Module {
    Module::new("template")
        .category("image")
        .api::<api::CreateRootVolumeTemplateFromRootVolume>()
        .api::<api::CreateRootVolumeTemplateFromVolumeSnapshot>()
        .api::<api::CreateDataVolumeTemplateFromVolume>()
        .api::<api::CreateDataVolumeTemplateFromVolumeSnapshot>()
        .flow::<create::Create>()
}
