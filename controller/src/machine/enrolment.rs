//! Tokens become machines; machines get newer certificates.

use std::net::IpAddr;
use std::time::Duration;

use engine::db::Tx;
use engine::sweep::{By, Sweep};
use engine::{Engine, ErrorCode, Id, Result, Stamp, codes};
use sha2::{Digest, Sha256};
use wire::tls::{self, Enrolment, Issued, Peer, Renewal, Role};

use super::address::{unwired, wired};
use super::store::TokenRow;
use super::{LIFE, Machine, MachineInventory, authority, store};
use crate::validate;

/// Forgets tokens that nobody has used in time.
pub(super) const SWEEP: Sweep = Sweep {
    name: "enrolment token expiry",
    every: |_| Duration::from_secs(3600),
    by: By::One,
    pass: |engine| {
        Box::pin(
            async move { engine.db().write(|tx| Box::pin(store::forget_tokens(tx, Stamp::now()))).await },
        )
    },
};

/// Makes a machine of whoever has the token, or gives the same machine its answer again.
///
/// # Errors
/// When the token is not good, or the address has another machine.
pub(super) async fn enrol(engine: &Engine, from: IpAddr, asked: Enrolment) -> Result<Issued> {
    let (id, secret) = (asked.id.parse().map_err(|_| unknown())?, hashed(&asked.secret));
    // Whoever guesses costs no more than this.
    let known = store::token(&mut engine.db().read().await?, id).await?;
    known.filter(|token| token.secret == secret).ok_or_else(unknown)?;
    validate::name("name", &asked.name)?;
    let key = tls::key_of(&asked.request).map_err(refused)?;
    let (name, address) = (asked.name, asked.address.unwrap_or(from).to_canonical());
    let machine = engine.db().write(move |tx| {
        Box::pin(async move {
            let token = store::token(tx, id).await?.filter(|token| token.secret == secret);
            let token = token.ok_or_else(unknown)?;
            match token.machine_uuid {
                Some(machine) => again(&token, machine, &key),
                None => first(tx, &token, &name, address, &key).await,
            }
        })
    });
    let machine = machine.await?;
    tracing::info!(%machine, %address, "a machine has enrolled");
    issue(engine, machine, &asked.request).await
}

/// A newer certificate for a machine that still has one.
///
/// # Errors
/// When the machine is revoked, or its request is not sound.
pub(super) async fn renew(engine: &Engine, peer: &Peer, asked: Renewal) -> Result<Issued> {
    issue(engine, unwired(peer.machine), &asked.request).await
}

/// What a secret is kept as.
pub(super) fn hashed(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// As they are kept, and as certificates name them.
pub(super) fn roles(text: &str) -> Result<Vec<Role>> {
    let roles: std::result::Result<Vec<Role>, _> = text.split(',').map(str::parse).collect();
    roles.map_err(|error| codes::INVALID_ARGUMENT.because(error))
}

fn again(token: &TokenRow, machine: Id<Machine>, key: &str) -> Result<Id<Machine>> {
    match token.machine_key.as_deref() == Some(key) && token.expired_date > Stamp::now() {
        true => Ok(machine),
        false => {
            Err(codes::STATE.because("the token was used already: each enrols one machine, get another"))
        }
    }
}

async fn first(tx: &mut Tx, token: &TokenRow, name: &str, address: IpAddr, key: &str) -> Result<Id<Machine>> {
    if token.expired_date <= Stamp::now() {
        return Err(codes::STATE.because(format!("the token expired at {}: get another", token.expired_date)));
    }
    if let Some(there) = store::at_address(tx, address).await? {
        return Err(codes::STATE.because(format!(
            "machine \"{}\" ({}) is enrolled at {address} already: revoke it first",
            there.name, there.uuid
        )));
    }
    let machine = Id::random();
    store::insert(tx, machine, name, &token.roles, address).await?;
    store::use_token(tx, token.uuid, machine, key).await?;
    Ok(machine)
}

async fn issue(engine: &Engine, machine: Id<Machine>, request: &str) -> Result<Issued> {
    let life = engine.setting(&LIFE);
    let (authority, trust) = {
        let mut tx = engine.db().read().await?;
        (authority::authority(&mut tx).await?, authority::trust(&mut tx).await?)
    };
    // Written first: whoever has a certificate stays on the list of the revoked until it has ended. And in
    // one unit with the check, so that no certificate is made for a machine that is just being revoked.
    let known: MachineInventory = engine
        .db()
        .write(move |tx| Box::pin(async move { store::certify(tx, machine, Stamp::now().plus(life)).await }))
        .await?;
    let chain = authority.certify(request, wired(machine), &roles(&known.roles)?, life).map_err(refused)?;
    Ok(Issued { machine: wired(machine), chain, trust })
}

fn refused(error: tls::Error) -> ErrorCode {
    codes::INVALID_ARGUMENT.because(error.to_string())
}

/// The same for every wrong half: nobody learns which tokens there are.
fn unknown() -> ErrorCode {
    codes::NOT_FOUND.because("the token is not known: it was deleted, or is not this cloud's")
}
