use std::net::IpAddr;
use std::path::{Component, Path};

use engine::api::{Api, Ask, Asked, Job, Route, Settled, Types};
use engine::inventory::{Inventory, find, show};
use engine::{Id, Result, api, codes, deletion};

use super::add::{Add, Reconnect};
use super::driver::{BACKUP_STORAGES, Space};
use super::{BackupStorage, BackupStorageInventory, sftp, store};
use crate::validate::{self, StateEvent};
use crate::zone::{Zone, ZoneInventory};

api! {
    /// The agent is installed from its package; `username` and `password` are accepted for ZStack's clients
    /// and not used, the password is not even kept. `url` is the directory that becomes the storage.
    AddSftpBackupStorage: POST "/backup-storage/sftp" "params" unread ["password"] {
        hostname: String,
        username: String,
        password: String,
        ssh_port: Option<u16>,
        url: String,
        name: String,
        description: Option<String>,
        r#type: Option<String>,
        import_images: Option<bool>,
        resource_uuid: Option<Id<BackupStorage>>,
    }
}

impl AddSftpBackupStorage {
    fn check(&self) -> Result<()> {
        validate::name("name", &self.name)?;
        validate::name("username", &self.username)?;
        hostname(&self.hostname)?;
        directory(&self.url)?;
        validate::unsupported("importImages", &self.import_images.filter(|import| *import))?;
        if self.password.is_empty() {
            return Err(codes::INVALID_ARGUMENT.because("\"password\" must not be empty"));
        }
        match self.r#type.as_deref() {
            None | Some(sftp::TYPE) => Ok(()),
            Some(other) => Err(codes::INVALID_ARGUMENT
                .because(format!("\"type\" must be \"{}\" here, not \"{other}\"", sftp::TYPE))),
        }
    }
}

/// An address, or a name as DNS knows them.
fn hostname(text: &str) -> Result<()> {
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.len() <= 253 && text.split('.').all(label);
    match name || text.parse::<IpAddr>().is_ok() {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT
            .because(format!("\"hostname\" must be a host name or an IP address, not \"{text}\""))),
    }
}

fn directory(text: &str) -> Result<()> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let sound = path.is_absolute() && plain && text.len() > 1 && !text.chars().any(char::is_control);
    match sound {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "\"url\" must be the path of a directory on the storage's machine, as \"/srv/images\", not \"{text}\""
        ))),
    }
}

impl Api for AddSftpBackupStorage {
    const ROUTE: Route = AddSftpBackupStorage::ROUTE;
    const MAKES: Option<&'static str> = Some(BackupStorageInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        self.check()?;
        let add = Add {
            uuid: self.resource_uuid.unwrap_or(job.id().cast()),
            name: self.name,
            description: self.description,
            url: self.url,
            hostname: self.hostname,
            username: self.username,
            ssh_port: self.ssh_port.unwrap_or(22).into(),
            r#type: sftp::TYPE.to_owned(),
            space: Space::default(),
        };
        job.flow(add).await
    }
}

api! {
    UpdateBackupStorage: PUT "/backup-storage/{uuid}/actions" "updateBackupStorage" {
        uuid: Id<BackupStorage>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateBackupStorage {
    const ROUTE: Route = UpdateBackupStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<BackupStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    /// A new hostname is where the same storage is from now on: the next ping looks there.
    UpdateSftpBackupStorage: PUT "/backup-storage/sftp/{uuid}/actions" "updateSftpBackupStorage" unread ["password"] {
        uuid: Id<BackupStorage>,
        name: Option<String>,
        description: Option<String>,
        username: Option<String>,
        password: Option<String>,
        hostname: Option<String>,
        ssh_port: Option<u16>,
    }
}

impl Api for UpdateSftpBackupStorage {
    const ROUTE: Route = UpdateSftpBackupStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        self.username.as_deref().map_or(Ok(()), |name| validate::name("username", name))?;
        self.hostname.as_deref().map_or(Ok(()), hostname)?;
        job.write(move |tx| {
            Box::pin(async move {
                let (host, user) = (self.hostname.as_deref(), self.username.as_deref());
                store::relocate(tx, self.uuid, host, user, self.ssh_port.map(Into::into)).await?;
                store::update(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                show::<BackupStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ChangeBackupStorageState: PUT "/backup-storage/{uuid}/actions" "changeBackupStorageState" {
        uuid: Id<BackupStorage>,
        state_event: StateEvent,
    }
}

impl Api for ChangeBackupStorageState {
    const ROUTE: Route = ChangeBackupStorageState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_state(tx, self.uuid, self.state_event.state()).await?;
                show::<BackupStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    ReconnectBackupStorage: PUT "/backup-storage/{uuid}/actions" "reconnectBackupStorage" {
        uuid: Id<BackupStorage>,
    }
}

impl Api for ReconnectBackupStorage {
    const ROUTE: Route = ReconnectBackupStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        reconnect(job, self.uuid).await
    }
}

api! {
    ReconnectSftpBackupStorage: PUT "/backup-storage/sftp/{uuid}/actions" "reconnectSftpBackupStorage" {
        uuid: Id<BackupStorage>,
    }
}

impl Api for ReconnectSftpBackupStorage {
    const ROUTE: Route = ReconnectSftpBackupStorage::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        reconnect(job, self.uuid).await
    }
}

async fn reconnect(job: Job, uuid: Id<BackupStorage>) -> Result<Settled> {
    let storage: BackupStorageInventory = find(&mut job.engine().db().read().await?, uuid).await?;
    job.flow(Reconnect { uuid, name: storage.name, space: Space::default() }).await
}

api! {
    AttachBackupStorageToZone: POST "/zones/{zoneUuid}/backup-storage/{backupStorageUuid}" "params" {
        zone_uuid: Id<Zone>,
        backup_storage_uuid: Id<BackupStorage>,
    }
}

impl Api for AttachBackupStorageToZone {
    const ROUTE: Route = AttachBackupStorageToZone::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let zone: ZoneInventory = find(tx, self.zone_uuid).await?;
                let storage: BackupStorageInventory = find(tx, self.backup_storage_uuid).await?;
                if !store::attach(tx, storage.uuid, zone.uuid).await? {
                    return Err(codes::STATE.because(format!(
                        "backup storage \"{}\" is attached to zone \"{}\" already",
                        storage.name, zone.name
                    )));
                }
                show::<BackupStorageInventory>(tx, storage.uuid).await
            })
        })
        .await
    }
}

api! {
    /// Nothing that runs in the zone needs its backup storages; new VMs there cannot use their images.
    DetachBackupStorageFromZone: DELETE "/zones/{zoneUuid}/backup-storage/{backupStorageUuid}" {
        zone_uuid: Id<Zone>,
        backup_storage_uuid: Id<BackupStorage>,
    }
}

impl Api for DetachBackupStorageFromZone {
    const ROUTE: Route = DetachBackupStorageFromZone::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let zone: ZoneInventory = find(tx, self.zone_uuid).await?;
                let storage: BackupStorageInventory = find(tx, self.backup_storage_uuid).await?;
                if !store::detach(tx, storage.uuid, zone.uuid).await? {
                    return Err(codes::STATE.because(format!(
                        "backup storage \"{}\" is not attached to zone \"{}\"",
                        storage.name, zone.name
                    )));
                }
                show::<BackupStorageInventory>(tx, storage.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteBackupStorage: "/backup-storage/{uuid}" of BackupStorage: BackupStorageInventory }

api! {
    GetBackupStorageTypes: GET "/backup-storage/types" {}
}

impl Ask for GetBackupStorageTypes {
    const ROUTE: Route = GetBackupStorageTypes::ROUTE;
    type Reply = Types;

    async fn answer(self, _asked: Asked) -> Result<Types> {
        Ok(BACKUP_STORAGES.types().into_iter().collect())
    }
}
