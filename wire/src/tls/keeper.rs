//! Keeps an agent's identity fresh: takes over what another agent of the machine has renewed, renews it when
//! two thirds of its life are over, hears who is revoked.

use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use reqwest::Url;
use tokio::time::{Instant, sleep};

use super::directory::Seen;
use super::enrol::{self, Issued, RENEW, Renewal, TRUST, Trust};
use super::http::with;
use super::{Directory, Error, Live, name};
use crate::client::client;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often the controller is asked whom to trust, when none of its commands says that it is time.
const HEAR: Duration = Duration::from_secs(3600);
/// Controllers hear of a revocation within seconds, one after another: one that has not is not to make us ask
/// again and again.
const CALM: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// Who has less than this left and cannot renew says so loudly.
const ALARM: Duration = Duration::from_secs(7 * 24 * 3600);

/// Of one agent. Several of a machine share the directory, and each keeps its own process up to date.
pub struct Keeper {
    dir: Directory,
    live: Live,
    seen: Seen,
    heard: Option<Instant>,
}

impl Keeper {
    /// # Errors
    /// When there is no identity in the directory, or none that can be used.
    pub fn open(dir: Directory) -> Result<Self, Error> {
        let seen = dir.seen();
        let live = Live::new(dir.identity()?);
        Ok(Keeper { dir, live, seen, heard: None })
    }

    pub fn live(&self) -> &Live {
        &self.live
    }

    /// For ever; what fails is tried again.
    pub async fn keep(mut self) {
        loop {
            if let Err(error) = self.look(SystemTime::now()).await {
                let left = self.live.current().left(SystemTime::now());
                match left < ALARM {
                    true => tracing::error!(%error, ?left, "the identity is about to end and is not renewed"),
                    false => tracing::warn!(%error, "the identity was not brought up to date"),
                }
            }
            sleep(CALM).await;
            // Agents that were started together do not ask together.
            let live = self.live.clone();
            tokio::select! {
                () = sleep(LOOK.mul_f64(rand::random_range(0.5..=1.0))) => {}
                () = live.outdated() => self.heard = None,
            }
        }
    }

    /// Does what is due at `now`.
    ///
    /// # Errors
    /// When the files are unsound, or the controller does not answer or refuses.
    pub async fn look(&mut self, now: SystemTime) -> Result<(), Error> {
        self.reload()?;
        if self.live.current().is_due(now) {
            self.renew(now).await?;
        }
        if self.heard.is_none_or(|heard| heard.elapsed() >= HEAR) {
            self.hear().await?;
            self.heard = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes over what lies there now.
    fn reload(&mut self) -> Result<(), Error> {
        let seen = self.dir.seen();
        if seen == self.seen {
            return Ok(());
        }
        self.live.replace(self.dir.identity()?);
        self.seen = seen;
        tracing::info!("took a changed identity over");
        Ok(())
    }

    async fn renew(&mut self, now: SystemTime) -> Result<(), Error> {
        let Some(_lock) = self.dir.lock()? else { return Ok(()) };
        // Another agent may have done it before the lock was ours.
        self.reload()?;
        if !self.live.current().is_due(now) {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let renewal = Renewal { request: enrol::request(&key)? };
        let issued: Issued = enrol::ask(self.client()?.post(self.at(RENEW)?).json(&renewal)).await?;
        enrol::check(&issued, &key)?;
        if issued.machine != self.live.current().me().machine {
            return Err(Error::Refused("the renewed certificate is for another machine".into()));
        }
        self.dir.renewed(&issued, &key)?;
        self.reload()
    }

    async fn hear(&mut self) -> Result<(), Error> {
        let trust: Trust = enrol::ask(self.client()?.get(self.at(TRUST)?)).await?;
        if &trust == self.live.current().trust() {
            return Ok(());
        }
        self.dir.trusts(&trust)?;
        self.reload()
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        let builder = client(CONNECT, 0, Duration::ZERO).timeout(ANSWER);
        with(builder, Some(&self.live.current())).build().map_err(Error::Http)
    }

    fn at(&self, path: &str) -> Result<Url, Error> {
        let controller = name::to_controller(&self.dir.controller()?).map_err(Error::Refused)?;
        Ok(enrol::at(&controller, path))
    }
}
