//! The authority: makes the certificates of machines and controllers.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest, Sha256};

use super::{Error, MachineId, Role, name};

/// Clocks differ: a certificate is good from before it was made.
const SET_BACK: Duration = Duration::from_secs(600);
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Whoever has this can be anybody in this cloud.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What the scheme of a URI in a certificate says about its holder: `cumulet://host/<uuid>`.
pub(super) const SCHEME: &str = "cumulet://";

/// How an authority's certificate (PEM) is recognised: the SHA-256 of it, in hex.
///
/// # Errors
/// When the text is no certificate.
pub fn fingerprint(certificate: &str) -> Result<String, Error> {
    Ok(fingerprint_of(&der(certificate)?))
}

pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

fn der(certificate: &str) -> Result<CertificateDer<'static>, Error> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    der.map_err(|error| Error::Refused(format!("that is no certificate: {error}")))
}

/// How the key in a request (PEM) is recognised: the SHA-256 of it, in hex.
///
/// # Errors
/// When the request is not signed by that key.
pub fn key_of(request: &str) -> Result<String, Error> {
    Ok(hex::encode(Sha256::digest(sound(request)?.public_key.der_bytes())))
}

fn sound(request: &str) -> Result<CertificateSigningRequestParams, Error> {
    let refused = |error: String| Error::Refused(format!("the certificate request is not sound: {error}"));
    let request = CertificateSigningRequestDer::from_pem_slice(request.as_bytes());
    let request = request.map_err(|error| refused(error.to_string()))?;
    CertificateSigningRequestParams::from_der(&request).map_err(|error| refused(error.to_string()))
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn make() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = params("Cumulet", AUTHORITY_LIFE);
        // Machines' certificates are made by it directly; it makes no other authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        let text = key.serialize_pem();
        Ok(Authority { certificate, key: text, issuer: Issuer::new(params, key) })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// When one of the texts is not what it should be.
    pub fn open(certificate: &str, key: &str) -> Result<Self, Error> {
        let issuer = Issuer::from_ca_cert_der(&der(certificate)?, KeyPair::from_pem(key)?)?;
        Ok(Authority { certificate: certificate.to_owned(), key: key.to_owned(), issuer })
    }

    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The certificate, and the authority's own behind it, of a machine that proves by `request` (PEM) that
    /// it has the key. Of the request nothing but the key is taken.
    ///
    /// # Errors
    /// When the request is no sound one.
    pub fn certify(
        &self,
        request: &str,
        machine: MachineId,
        roles: &[Role],
        life: Duration,
    ) -> Result<String, Error> {
        let request = sound(request)?;
        let params = leaf(machine, roles, &name::proven_by_machine(machine), life)?;
        Ok(format!("{}{}", params.signed_by(&request.public_key, &self.issuer)?.pem(), self.certificate))
    }

    /// A controller's own: its certificates, and its key.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn controller(&self, node: MachineId, life: Duration) -> Result<(String, String), Error> {
        let key = KeyPair::generate()?;
        let params = leaf(node, &[Role::Controller], &name::proven_by_controller(), life)?;
        let chain = format!("{}{}", params.signed_by(&key, &self.issuer)?.pem(), self.certificate);
        Ok((chain, key.serialize_pem()))
    }
}

fn leaf(
    machine: MachineId,
    roles: &[Role],
    names: &[String],
    life: Duration,
) -> Result<CertificateParams, Error> {
    let mut params = params(&machine.to_string(), life);
    for name in names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    for role in roles {
        let uri = format!("{SCHEME}{}/{machine}", role.as_str());
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(subject: &str, life: Duration) -> CertificateParams {
    let (now, mut params) = (SystemTime::now(), CertificateParams::default());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = (now - SET_BACK).into();
    params.not_after = (now + life).into();
    let mut serial = rand::random::<[u8; 16]>();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}
