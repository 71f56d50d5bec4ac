//! Adding a primary storage, a call for each type.

use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::inventory::{Inventory, find, show};
use engine::{Engine, Id, Result, api, codes};

use super::{PrimaryStorage, PrimaryStorageInventory, local, nfs, shared_mount_point, store};
use crate::validate;
use crate::zone::{Zone, ZoneInventory};

/// A storage to be entered.
pub(super) struct NewStorage {
    pub uuid: Id<PrimaryStorage>,
    pub name: String,
    pub description: Option<String>,
    pub zone: Id<Zone>,
    pub url: String,
    /// Where its files lie on its hosts.
    pub mount_path: String,
    /// The name of its driver.
    pub r#type: &'static str,
}

impl NewStorage {
    async fn enter(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<ZoneInventory>(tx, self.zone).await?;
                self.refuse_second(tx).await?;
                store::insert(tx, &self).await?;
                show::<PrimaryStorageInventory>(tx, self.uuid).await
            })
        })
        .await
    }

    /// Directories are the hosts' own; a share is one for all.
    async fn refuse_second(&self, tx: &mut Tx) -> Result<()> {
        let share = self.url != self.mount_path;
        match store::of_url(tx, self.r#type, &self.url).await?.filter(|_| share) {
            None => Ok(()),
            Some(other) => Err(codes::INVALID_ARGUMENT.because(format!(
                "{} is primary storage \"{other}\" already: attach that one to more clusters, or add another share",
                self.url
            ))),
        }
    }
}

/// Declares a call that adds a storage of one type.
macro_rules! add {
    ($(#[$doc:meta])* $call:ident: $path:literal adds $type:expr; $at:path) => {
        api! {
            $(#[$doc])*
            $call: POST $path "params" {
                url: String,
                name: String,
                description: Option<String>,
                r#type: Option<String>,
                zone_uuid: Id<Zone>,
                resource_uuid: Option<Id<PrimaryStorage>>,
            }
        }

        impl Api for $call {
            const ROUTE: Route = $call::ROUTE;
            const MAKES: Option<&'static str> = Some(PrimaryStorageInventory::KIND);

            async fn run(self, job: Job) -> Result<Settled> {
                validate::name("name", &self.name)?;
                must_be($type, self.r#type.as_deref())?;
                let uuid = self.resource_uuid.unwrap_or_else(Id::random);
                let (url, mount_path) = $at(job.engine(), &self.url, uuid)?;
                let (name, description, zone) = (self.name, self.description, self.zone_uuid);
                NewStorage { uuid, name, description, zone, url, mount_path, r#type: $type }.enter(job).await
            }
        }
    };
}

add! { AddLocalPrimaryStorage: "/primary-storage/local-storage" adds local::TYPE; directory }
add! {
    /// A directory in which the hosts of its clusters have mounted one file system.
    AddSharedMountPointPrimaryStorage: "/primary-storage/smp" adds shared_mount_point::TYPE; directory
}
add! {
    /// A share of an NFS server, `server:/path`, which the hosts of its clusters mount themselves.
    AddNfsPrimaryStorage: "/primary-storage/nfs" adds nfs::TYPE; nfs::share
}

/// `said` is the type that the caller named, if one.
fn must_be(r#type: &str, said: Option<&str>) -> Result<()> {
    match said.filter(|said| *said != r#type) {
        None => Ok(()),
        Some(said) => {
            let details = format!("this call adds a {type}, not a \"{said}\": leave \"type\" out");
            Err(codes::INVALID_ARGUMENT.because(details))
        }
    }
}

/// A storage that is a directory lies where it is.
fn directory(_: &Engine, url: &str, _: Id<PrimaryStorage>) -> Result<(String, String)> {
    let path = plain_directory("url", url)?.to_owned();
    Ok((path.clone(), path))
}

/// The `text` of `field`, without slashes at its end, when it is an absolute directory.
pub(super) fn plain_directory<'a>(field: &str, text: &'a str) -> Result<&'a str> {
    let path = text.trim_end_matches('/');
    let plain = |part: &str| !matches!(part, "." | "..") && !part.chars().any(char::is_control);
    match text.starts_with('/') && path.len() > 1 && text.split('/').all(plain) {
        true => Ok(path),
        false => Err(codes::INVALID_ARGUMENT.because(format!(
            "\"{field}\" must be an absolute directory such as /cumulet_ps, not \"{text}\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_is_refused_by_the_name_of_its_field() {
        assert_eq!(plain_directory("url", "/mnt/cumulet//").unwrap(), "/mnt/cumulet");
        for text in ["mnt", "", "/", "/mnt/../etc", "/mnt/\n"] {
            let said = plain_directory("value", text).unwrap_err().to_string();
            assert!(said.contains("\"value\" must be"), "{text:?}: {said}");
        }
    }
}
