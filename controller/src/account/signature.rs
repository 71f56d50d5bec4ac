//! `Authorization: ZStack <access key id>:<signature>`: the base64 of an HMAC-SHA1 with the key's secret over
//! method, Content-MD5, Content-Type, Date and the address, a line each, as ZStack's clients sign.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::api::{Credentials, Session};
use engine::{Engine, Result, Stamp};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

use super::policy;
use super::session::invalid;
use super::store::key::{self, Key};

/// A request older or newer than that is none, microseconds.
const TOLERANCE: u64 = 15 * 60 * 1_000_000;

pub(super) async fn authenticate(engine: &Engine, credentials: &Credentials) -> Result<Session> {
    let named =
        credentials.authorization.strip_prefix("ZStack ").and_then(|rest| rest.trim().split_once(':'));
    let Some((id, signature)) = named else {
        return Err(invalid("write \"Authorization: ZStack <access key id>:<signature>\""));
    };
    timely(credentials.text("date"))?;
    whole(credentials)?;
    let mut tx = engine.db().read().await?;
    let known = key::of(&mut tx, id).await?;
    let signature = BASE64_STANDARD.decode(signature).unwrap_or_default();
    let Some(key) = known.filter(|key| signed(key, credentials, &signature)) else {
        return Err(invalid("the access key is unknown or disabled, or the signature is not its own"));
    };
    let admin = key.account_type == "SystemAdmin";
    let rights = policy::rights(&mut tx, key.account_uuid, key.user_uuid, admin).await?;
    let (account, user) = (key.account_uuid.cast(), key.user_uuid.map(engine::Id::cast));
    Ok(Session { token: format!("access key {}", key.uuid), account, user, admin, rights })
}

/// Whether the request was signed lately.
fn timely(date: &str) -> Result<()> {
    let Ok(when) = jiff::fmt::rfc2822::parse(date) else {
        return Err(invalid(
            "the header \"Date\" must say when it was signed: Sat, 21 Nov 2026 21:16:12 GMT",
        ));
    };
    match when.timestamp().as_microsecond().abs_diff(Stamp::now().0) <= TOLERANCE {
        true => Ok(()),
        false => {
            Err(invalid("the header \"Date\" is more than 15 minutes off: set the clock, and sign again"))
        }
    }
}

/// Whether the body is the one that was signed, when a sum of it was.
fn whole(credentials: &Credentials) -> Result<()> {
    let told = credentials.text("content-md5");
    let sum = Md5::digest(&credentials.body);
    match told.is_empty() || told == BASE64_STANDARD.encode(sum) || told == hex::encode(sum) {
        true => Ok(()),
        false => Err(invalid("the header \"Content-MD5\" is not the body's")),
    }
}

/// Clients sign the address with or without the `/zstack` before it.
fn signed(key: &Key, credentials: &Credentials, signature: &[u8]) -> bool {
    let uri = credentials.path_and_query.as_str();
    let uris = [uri, uri.strip_prefix("/zstack").unwrap_or(uri)];
    uris.iter().any(|uri| mac(&key.secret, credentials, uri).verify_slice(signature).is_ok())
}

fn mac(secret: &str, credentials: &Credentials, uri: &str) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("keys of any length will do");
    let (sum, kind) = (credentials.text("content-md5"), credentials.text("content-type"));
    let date = credentials.text("date");
    mac.update(format!("{}\n{sum}\n{kind}\n{date}\n{uri}", credentials.method).as_bytes());
    mac
}
