//! A certificate that an account keeps for what it serves. The private key that may come with it is shown to
//! nobody.

mod api;
mod store;

use engine::cascade::{Action, Edge};
use engine::db::Tx;
use engine::inventory::{Members, page_uuids};
use engine::module::Module;
use engine::{Id, Result, Stamp, inventory};

use crate::account::Possession;

/// Marks ids of certificates.
#[derive(Debug)]
pub enum Certificate {}

inventory! {
    /// A certificate as the API shows it: PEM, the certificates alone.
    CertificateInventory in "certificate" seen Owned("uuid") {
        uuid: Id<Certificate>,
        name: String,
        description: Option<String>,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { certificate: String }
}

impl CertificateInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        for (uuid, pem) in store::pems(tx, page_uuids(page)).await? {
            let shown =
                page.iter_mut().find(|members| members.read::<String>("uuid").as_ref() == Some(&uuid));
            if let Some(members) = shown {
                members.insert("certificate", &api::certificates(&pem).concat())?;
            }
        }
        Ok(())
    }
}

static KIND: Possession = Possession { name: "Certificate", delete: store::DELETE };

const EDGES: &[Edge] =
    &[Edge { parent: "Account", child: "Certificate", action: Action::Delete, find: store::OF_ACCOUNT }];

pub fn module() -> Module {
    Module::new("certificate")
        .query::<CertificateInventory>("QueryCertificate", "/certificates")
        .api::<api::CreateCertificate>()
        .api::<api::UpdateCertificate>()
        .api::<api::DeleteCertificate>()
        .cascade(&KIND, EDGES)
}

#[cfg(test)]
mod tests;
