use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{ErrorCode, Id, Result, api, codes, deletion};

use super::{Certificate, CertificateInventory, store};
use crate::validate;

api! {
    CreateCertificate: POST "/certificates" "params" secret ["certificate"] {
        name: String,
        description: Option<String>,
        certificate: String,
        resource_uuid: Option<Id<Certificate>>,
    }
}

impl Api for CreateCertificate {
    const ROUTE: Route = CreateCertificate::ROUTE;
    const MAKES: Option<&'static str> = Some(CertificateInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        check(&self.certificate)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self).await?;
                show::<CertificateInventory>(tx, uuid).await
            })
        })
        .await
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// No chain is so long, in bytes of text.
const LONGEST: usize = 256 << 10;

/// The certificates of a PEM text, each with its last line's end.
pub(super) fn certificates(pem: &str) -> Vec<String> {
    let blocks = pem.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END));
    blocks.map(|(bits, _)| format!("{BEGIN}{bits}{END}\n")).collect()
}

fn check(pem: &str) -> Result<()> {
    if pem.len() > LONGEST {
        return Err(wrong(&format!("it has more than {LONGEST} bytes")));
    }
    let found = certificates(pem);
    if found.is_empty() {
        return Err(wrong(&format!("there is no {BEGIN}")));
    }
    for one in found {
        let bits: String = one.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
        let der = STANDARD.decode(bits).map_err(|_| wrong("its bits are no base64"))?;
        // A sequence of a length that fits.
        if der.first() != Some(&0x30) || der.len() < 64 {
            return Err(wrong("its bits are no certificate"));
        }
    }
    Ok(())
}

fn wrong(why: &str) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(format!("\"certificate\" must be a chain of certificates in PEM: {why}"))
}

api! {
    UpdateCertificate: PUT "/certificates/{uuid}/actions" "updateCertificate" {
        uuid: Id<Certificate>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateCertificate {
    const ROUTE: Route = UpdateCertificate::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<CertificateInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteCertificate: "/certificates/{uuid}" of Certificate: CertificateInventory }
