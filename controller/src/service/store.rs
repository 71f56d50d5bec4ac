use engine::db::Tx;
use engine::{Id, Result, Stamp, args, codes};

use super::Service;
use super::api::{RegisterService, UpdateService};

const INSERT: &str = "INSERT INTO service (uuid, name, description, prefix, url, secret, create_date, last_op_date) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (prefix) DO NOTHING";
const UPDATE: &str = "UPDATE service SET name = coalesce($2, name), description = coalesce($3, description), \
     url = coalesce($4, url), last_op_date = $5 WHERE uuid = $1";
const DELETE: &str = "DELETE FROM service WHERE uuid = $1";
const AT: &str = "SELECT name, url, secret FROM service WHERE prefix = $1";

/// Where calls of a prefix go.
#[derive(Clone, Debug, engine::db::Row)]
pub(super) struct Place {
    pub name: String,
    pub url: String,
    pub secret: String,
}

pub(super) async fn insert(
    tx: &mut Tx,
    uuid: Id<Service>,
    service: &RegisterService,
    secret: &str,
) -> Result<()> {
    let mut row = args![uuid, &service.name, service.description.as_deref(), &service.prefix];
    row.extend(args![&service.url, secret, Stamp::now()]);
    match tx.exec(INSERT, row).await? {
        1 => Ok(()),
        _ => Err(codes::INVALID_ARGUMENT
            .because(format!("another service has the prefix \"{}\": delete that first", service.prefix))),
    }
}

pub(super) async fn update(tx: &mut Tx, service: &UpdateService) -> Result<()> {
    let mut row = args![service.uuid, service.name.as_deref(), service.description.as_deref()];
    row.extend(args![service.url.as_deref(), Stamp::now()]);
    tx.exec(UPDATE, row).await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, uuid: Id<Service>) -> Result<()> {
    tx.exec(DELETE, args![uuid]).await?;
    Ok(())
}

pub(super) async fn at(tx: &mut Tx, prefix: &str) -> Result<Option<Place>> {
    tx.opt(AT, args![prefix]).await
}
