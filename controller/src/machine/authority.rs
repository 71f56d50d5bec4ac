//! The authority, shared by all controllers through the database, and this controller's own identity.

use std::time::{Duration, SystemTime};

use engine::db::{Db, Tx};
use engine::sweep::{By, Sweep};
use engine::{Engine, ErrorCode, Result, codes};
use wire::tls::{self, Authority, Identity, Live, MachineId, Trust};

use super::{Agents, store};

/// A controller's own certificate is made anew at every start, and before its life is over.
const OWN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What another controller has done (revoked a machine) is noticed within this time.
pub(super) const SWEEP: Sweep = Sweep {
    name: "trust in machines",
    every: |_| Duration::from_secs(10),
    by: By::Each,
    pass: |engine| Box::pin(async move { refresh(&engine).await }),
};

/// This controller's identity. The first controller of a cloud makes the authority.
pub async fn open(db: &Db) -> Result<Live> {
    if store::signing(&mut db.read().await?).await?.is_none() {
        let made = Authority::make().map_err(unusable)?;
        let fingerprint = tls::fingerprint(made.certificate()).map_err(unusable)?;
        let (certificate, key) = (made.certificate().to_owned(), made.key().to_owned());
        // Another controller may do the same: one of the two is kept, and read below.
        db.write(move |tx| {
            Box::pin(async move { store::insert_authority(tx, &fingerprint, &certificate, &key).await })
        })
        .await?;
        tracing::info!("made the authority that certifies machines");
    }
    let mut tx = db.read().await?;
    Ok(Live::new(identity(&authority(&mut tx).await?, &trust(&mut tx).await?)?))
}

/// Takes over whom to trust, and renews our own certificate when it is time.
pub(super) async fn refresh(engine: &Engine) -> Result<()> {
    let Some(live) = engine.of::<Agents>().live() else { return Ok(()) };
    let mut tx = engine.db().read().await?;
    let (trust, current) = (trust(&mut tx).await?, live.current());
    if current.trust() != &trust || current.is_due(SystemTime::now()) {
        live.replace(identity(&authority(&mut tx).await?, &trust)?);
        tracing::info!(revoked = trust.revoked.len(), "whom to trust has changed");
    }
    Ok(())
}

pub(super) async fn authority(tx: &mut Tx) -> Result<Authority> {
    let Some((certificate, key)) = store::signing(tx).await? else {
        return Err(codes::INTERNAL.because("there is no authority that signs"));
    };
    Authority::open(&certificate, &key).map_err(unusable)
}

pub(super) async fn trust(tx: &mut Tx) -> Result<Trust> {
    Ok(Trust { authorities: store::authorities(tx).await?.concat(), revoked: store::revoked(tx).await? })
}

fn identity(authority: &Authority, trust: &Trust) -> Result<Identity> {
    let (chain, key) = authority.controller(MachineId::random(), OWN_LIFE).map_err(unusable)?;
    Identity::new(&chain, &key, trust).map_err(unusable)
}

fn unusable(error: tls::Error) -> ErrorCode {
    codes::INTERNAL.because(format!("the authority of machines cannot be used: {error}"))
}
