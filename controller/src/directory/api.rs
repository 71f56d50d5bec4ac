use engine::api::{Api, Job, Route, Settled};
use engine::cascade::{Delete, DeleteMode, Root};
use engine::db::Tx;
use engine::inventory::{Inventory, find, present, show};
use engine::query::names;
use engine::{Any, Id, Result, api, codes, scope, tag};
use serde_json::{Value, json};

use super::store::{self, Spot};
use super::{Directory, DirectoryInventory};
use crate::validate;
use crate::zone::{Zone, ZoneInventory};

/// So many directories may follow each other.
const DEEPEST: i64 = 8;

/// A name: no slash, which parts the names of a way.
fn check_name(name: &str) -> Result<()> {
    validate::name("name", name)?;
    match name.contains('/') {
        true => Err(codes::INVALID_ARGUMENT.because("\"name\" must not contain a slash")),
        false => Ok(()),
    }
}

async fn refuse_taken(tx: &mut Tx, spot: &Spot<'_>, uuid: Id<Directory>) -> Result<()> {
    match store::is_taken(tx, spot, uuid).await? {
        true => Err(codes::INVALID_ARGUMENT
            .because(format!("there is a directory \"{}\" there already: use another name", spot.name))),
        false => Ok(()),
    }
}

fn refuse_deep(levels: i64) -> Result<()> {
    match levels > DEEPEST {
        true => Err(codes::INVALID_ARGUMENT.because(format!(
            "at most {DEEPEST} directories may lie in each other, this would make {levels}"
        ))),
        false => Ok(()),
    }
}

/// Refuses what does not belong to the same zone and kind.
fn refuse_stranger(directory: &DirectoryInventory, zone: Id<Any>, kind: &str) -> Result<()> {
    match directory.zone_uuid.cast::<Any>() == zone && directory.r#type == kind {
        true => Ok(()),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "directory \"{}\" is of another zone or type: choose one of the same",
            directory.name
        ))),
    }
}

api! {
    /// `type` is the kind of resources that it is for: `VmInstanceVO`.
    CreateDirectory: POST "/create/directory" "params" changes ["parentUuid"] {
        name: String,
        parent_uuid: Option<Id<Directory>>,
        zone_uuid: Id<Zone>,
        r#type: String,
        resource_uuid: Option<Id<Directory>>,
    }
}

impl Api for CreateDirectory {
    const ROUTE: Route = CreateDirectory::ROUTE;
    const MAKES: Option<&'static str> = Some(DirectoryInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        check_name(&self.name)?;
        let kind = format!("{}VO", tag::kind_of(job.engine().schema(), &self.r#type)?);
        let (uuid, account) = (self.resource_uuid.unwrap_or(job.id().cast()), job.account());
        job.write(move |tx| {
            Box::pin(async move {
                self.check(tx, uuid, (&kind, account)).await?;
                store::insert(tx, uuid, &self, &kind).await?;
                show::<DirectoryInventory>(tx, uuid).await
            })
        })
        .await
    }
}

impl CreateDirectory {
    async fn check(&self, tx: &mut Tx, uuid: Id<Directory>, (kind, account): (&str, Id<Any>)) -> Result<()> {
        let zone: ZoneInventory = find(tx, self.zone_uuid).await?;
        if let Some(parent) = self.parent_uuid {
            let parent: DirectoryInventory = find(tx, parent).await?;
            refuse_stranger(&parent, zone.uuid.cast(), kind)?;
        }
        refuse_deep(store::height(tx, self.parent_uuid).await? + 1)?;
        let (name, parent, zone) = (self.name.as_str(), self.parent_uuid, zone.uuid.cast());
        refuse_taken(tx, &Spot { name, parent, zone, kind, account }, uuid).await
    }
}

api! {
    UpdateDirectory: PUT "/update/directory" "updateDirectory" {
        uuid: Id<Directory>,
        name: String,
    }
}

impl Api for UpdateDirectory {
    const ROUTE: Route = UpdateDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        check_name(&self.name)?;
        job.write(move |tx| {
            Box::pin(async move {
                let known: DirectoryInventory = find(tx, self.uuid).await?;
                refuse_twin(tx, &known, &self.name, known.parent_uuid).await?;
                store::rename(tx, self.uuid, &self.name).await?;
                show::<DirectoryInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

/// Refuses to let a directory stand where another has its name.
async fn refuse_twin(
    tx: &mut Tx,
    known: &DirectoryInventory,
    name: &str,
    parent: Option<Id<Directory>>,
) -> Result<()> {
    let Some(account) = scope::owner(tx, known.uuid).await? else { return Ok(()) };
    let spot = Spot { name, parent, zone: known.zone_uuid.cast(), kind: &known.r#type, account };
    refuse_taken(tx, &spot, known.uuid).await
}

api! {
    MoveDirectory: PUT "/move/directory" "moveDirectory" changes ["directoryUuid", "targetParentUuid"] {
        target_parent_uuid: Id<Directory>,
        directory_uuid: Id<Directory>,
    }
}

impl Api for MoveDirectory {
    const ROUTE: Route = MoveDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                self.check(tx).await?;
                store::shift(tx, self.directory_uuid, self.target_parent_uuid).await?;
                show::<DirectoryInventory>(tx, self.directory_uuid).await
            })
        })
        .await
    }
}

impl MoveDirectory {
    async fn check(&self, tx: &mut Tx) -> Result<()> {
        let known: DirectoryInventory = find(tx, self.directory_uuid).await?;
        let target: DirectoryInventory = find(tx, self.target_parent_uuid).await?;
        refuse_stranger(&target, known.zone_uuid.cast(), &known.r#type)?;
        if store::is_below(tx, target.uuid, known.uuid).await? {
            let (name, target) = (&known.name, &target.name);
            let details = format!("directory \"{name}\" cannot be moved into \"{target}\", which lies in it");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let levels = store::height(tx, Some(target.uuid)).await? + store::depth(tx, known.uuid).await?;
        refuse_deep(levels)?;
        refuse_twin(tx, &known, &known.name, Some(target.uuid)).await
    }
}

api! {
    /// With all directories in it; the resources stay.
    DeleteDirectory: DELETE "/delete/directory" {
        uuid: Id<Directory>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteDirectory {
    const ROUTE: Route = DeleteDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.delete(&self).await
    }

    async fn cascade(&self, tx: &mut Tx) -> Result<Option<Delete>> {
        let found: DirectoryInventory = find(tx, self.uuid).await?;
        let root = Root::new("Directory", self.uuid.cast(), &found.name);
        Ok(Some(Delete::new(root).mode(self.delete_mode)))
    }
}

/// Refuses what is no resource of the directory's kind.
async fn refuse_other_kinds(tx: &mut Tx, directory: &DirectoryInventory, all: &[Id<Any>]) -> Result<()> {
    let known = names(tx, all).await?;
    for resource in all {
        let kind =
            known.iter().find(|named| named.uuid == *resource).map(|named| format!("{}VO", named.kind));
        if kind.as_ref() != Some(&directory.r#type) {
            let (name, kind) = (&directory.name, &directory.r#type);
            let details = format!("directory \"{name}\" is for {kind}, and {resource} is none");
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
    }
    Ok(())
}

async fn shown(tx: &mut Tx, uuid: Id<Directory>) -> Result<Value> {
    let row: DirectoryInventory = find(tx, uuid).await?;
    Ok(json!({ "inventory": present(tx, &[row]).await?.pop() }))
}

api! {
    /// They must be in no other directory.
    AddResourcesToDirectory: POST "/add/resources/directory" "params" changes ["resourceUuids", "directoryUuid"] {
        resource_uuids: Vec<Id<Any>>,
        directory_uuid: Id<Directory>,
    }
}

impl Api for AddResourcesToDirectory {
    const ROUTE: Route = AddResourcesToDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let directory: DirectoryInventory = find(tx, self.directory_uuid).await?;
                refuse_other_kinds(tx, &directory, &self.resource_uuids).await?;
                for resource in &self.resource_uuids {
                    match store::holder(tx, *resource).await? {
                        Some((uuid, name)) if uuid != self.directory_uuid => {
                            let details =
                                format!("{resource} is in directory \"{name}\": move it from there");
                            return Err(codes::STATE.because(details));
                        }
                        _ => store::put(tx, *resource, self.directory_uuid).await?,
                    }
                }
                shown(tx, self.directory_uuid).await
            })
        })
        .await
    }
}

api! {
    /// Wherever they are.
    MoveResourcesToDirectory: PUT "/move/resources/directory" "moveResourcesToDirectory"
        changes ["resourceUuids", "directoryUuid"] {
        resource_uuids: Vec<Id<Any>>,
        directory_uuid: Id<Directory>,
    }
}

impl Api for MoveResourcesToDirectory {
    const ROUTE: Route = MoveResourcesToDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let directory: DirectoryInventory = find(tx, self.directory_uuid).await?;
                refuse_other_kinds(tx, &directory, &self.resource_uuids).await?;
                for resource in &self.resource_uuids {
                    store::put(tx, *resource, self.directory_uuid).await?;
                }
                shown(tx, self.directory_uuid).await
            })
        })
        .await
    }
}

api! {
    RemoveResourcesFromDirectory: DELETE "/remove/resources/directory" changes ["resourceUuids", "directoryUuid"] {
        #[serde(deserialize_with = "validate::list")]
        resource_uuids: Vec<Id<Any>>,
        directory_uuid: Id<Directory>,
    }
}

impl Api for RemoveResourcesFromDirectory {
    const ROUTE: Route = RemoveResourcesFromDirectory::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                let directory: DirectoryInventory = find(tx, self.directory_uuid).await?;
                for resource in &self.resource_uuids {
                    if !store::take(tx, *resource, self.directory_uuid).await? {
                        let details = format!("{resource} is not in directory \"{}\"", directory.name);
                        return Err(codes::NOT_FOUND.because(details));
                    }
                }
                shown(tx, self.directory_uuid).await
            })
        })
        .await
    }
}
