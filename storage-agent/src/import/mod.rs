//! Imports: how an image comes into a store.
//!
//! ```text
//! source ──chunks──▶ sink (judges the first bytes, hashes, writes) ──▶ inspect ──▶ publish
//!   http(s), file, upload                       incoming/<uuid>                 images/<uuid>
//! ```
//! One import per image at a time; whoever asks for the same image waits for it. An import that fails
//! leaves nothing; one that dies with the agent leaves its bytes, and its task continues from them.

mod address;
mod error;
mod file;
mod http;
mod order;
mod running;
mod sink;
pub mod upload;
mod writeback;

use std::sync::Arc;

pub use error::Error;
pub use order::Order;
use order::Source;
pub use running::Progress;
use running::{Claim, Claims, Running, Ticket};
use sink::{Bits, Limits, Sink};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use upload::{Arrival, Responder};

use crate::blocking;
use crate::config::ImportRules;
use crate::store::{Image, ImageId, Resume, Store};

/// All imports of this agent.
pub struct Imports {
    rules: ImportRules,
    claims: Claims,
    boot: String,
}

/// One import, seen from within.
struct Import<'a> {
    rules: &'a ImportRules,
    store: &'a Store,
    id: &'a ImageId,
    order: &'a Order,
    running: &'a Running,
    superseded: &'a CancellationToken,
    resume: Resume,
}

/// An import that has its image for itself.
struct Work<'a> {
    ticket: Ticket<'a>,
    store: &'a Store,
    id: &'a ImageId,
    order: &'a Order,
    superseded: &'a CancellationToken,
}

impl Imports {
    pub fn new(rules: ImportRules) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Imports { rules, claims: Claims::default(), boot: boot.trim().to_owned() }
    }

    /// The image, once it is there; imports it unless somebody did. A second call with the same order
    /// gets the same image, one with another source or format an error. Given up when `superseded` says so.
    pub async fn run(
        &self,
        store: &Store,
        id: &ImageId,
        order: Order,
        superseded: &CancellationToken,
    ) -> Result<Image, Error> {
        loop {
            let (uploads, arrivals) = mpsc::channel(1);
            match self.claims.claim(id, Running::new(&order, uploads))? {
                Claim::Theirs(running) => {
                    let ended = superseded.run_until_cancelled(running.ended.cancelled()).await;
                    ended.ok_or(Error::Superseded)?;
                }
                Claim::Ours(ticket) => {
                    let work = Work { ticket, store, id, order: &order, superseded };
                    return self.work(work, arrivals).await;
                }
            }
        }
    }

    /// How far the import of an image is.
    pub fn progress(&self, id: &ImageId) -> Option<Arc<Progress>> {
        self.claims.get(id).map(|running| running.progress.clone())
    }

    /// The import of an image, when there is one.
    pub fn running(&self, id: &ImageId) -> Option<Arc<Running>> {
        self.claims.get(id)
    }

    /// Ends the import of an image, if there is one, and keeps others from starting while `work` runs.
    pub async fn without<T>(&self, id: &ImageId, work: impl Future<Output = T>) -> T {
        let _ticket = loop {
            match self.claims.seize(id) {
                Claim::Ours(ticket) => break ticket,
                Claim::Theirs(running) => {
                    running.cancel.cancel();
                    running.ended.cancelled().await;
                }
            }
        };
        work.await
    }

    /// Removes what is on its way to a store and has no import.
    pub async fn sweep(&self, store: &Store) {
        let looked = store.clone();
        let left = match blocking(move || looked.arriving()).await {
            Ok(left) => left,
            Err(error) => return tracing::warn!(store = store.uuid, %error, "cannot sweep"),
        };
        for id in left {
            let Claim::Ours(_ticket) = self.claims.seize(&id) else { continue };
            tracing::info!(store = store.uuid, image = %id, "removing what an import left behind");
            forget(store, &id).await;
        }
    }

    async fn work(&self, work: Work<'_>, arrivals: mpsc::Receiver<Arrival>) -> Result<Image, Error> {
        let Work { ticket, store, id, order, superseded } = work;
        if let Some(image) = on_store(store, id, Store::image).await? {
            return order.accept(id, image);
        }
        let running = ticket.running();
        let resume = Resume { source: order.digest.clone(), validator: None, boot: self.boot.clone() };
        let mut import = Import { rules: &self.rules, store, id, order, running, superseded, resume };
        let (mut answer, started) = (None, std::time::Instant::now());
        let result = match import.fetch(arrivals, &mut answer).await {
            Ok(bits) => import.publish(bits).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(image) => {
                let seconds = started.elapsed().as_secs_f32();
                tracing::info!(image = %id, bytes = image.length, seconds, sha256 = image.sha256, "imported");
            }
            Err(error) => {
                tracing::warn!(image = %id, %error, "import failed");
                forget(store, id).await;
            }
        }
        upload::answer(answer, &result);
        result
    }
}

impl Import<'_> {
    /// Brings the bits; may be given up at any moment.
    async fn fetch(
        &mut self,
        arrivals: mpsc::Receiver<Arrival>,
        answer: &mut Option<Responder>,
    ) -> Result<Bits, Error> {
        let limit = self.order.limit.min(self.rules.longest);
        let (cancel, superseded) = (self.running.cancel.clone(), self.superseded.clone());
        let work = tokio::time::timeout(limit, self.bring(arrivals, answer));
        tokio::select! {
            () = cancel.cancelled() => Err(Error::Cancelled),
            () = superseded.cancelled() => Err(Error::Superseded),
            brought = work => brought.unwrap_or(Err(Error::Slow(limit))),
        }
    }

    async fn bring(
        &mut self,
        arrivals: mpsc::Receiver<Arrival>,
        answer: &mut Option<Responder>,
    ) -> Result<Bits, Error> {
        let sink = self.open_sink().await?;
        let sink = match &self.order.source {
            Source::Http(url) => http::fetch(self, sink, url.clone()).await?,
            Source::File(path) => file::fetch(self, sink, path.clone()).await?,
            Source::Upload(_) => upload::fetch(self, sink, arrivals, answer).await?,
        };
        blocking(move || sink.finish()).await
    }

    async fn open_sink(&mut self) -> Result<Sink, Error> {
        let wanted = self.resume.clone();
        let (path, left) = on_store(self.store, self.id, move |store, id| store.arrive(id, &wanted)).await?;
        let limits = Limits { most: self.rules.max_image_size, format: self.order.format };
        let progress = self.running.progress.clone();
        self.resume = left.unwrap_or_else(|| self.resume.clone());
        blocking(move || Sink::open(path, limits, progress)).await
    }

    /// Refuses early what could not be taken to its end; `length` is that of the whole image.
    async fn expect(&self, length: u64, received: u64) -> Result<(), Error> {
        self.running.progress.expect(length);
        if length > self.rules.max_image_size {
            return Err(Error::TooLarge(self.rules.max_image_size));
        }
        let needed = length.saturating_sub(received);
        let capacity = on_store(self.store, self.id, |store, _| store.capacity()).await?;
        match capacity.available < needed {
            true => Err(Error::NoRoom { needed, available: capacity.available }),
            false => Ok(()),
        }
    }

    /// Keeps what lets a later attempt continue where this one broke off.
    async fn remember(&mut self, validator: Option<String>) -> Result<(), Error> {
        if self.resume.validator != validator {
            self.resume.validator = validator;
            let resume = self.resume.clone();
            on_store(self.store, self.id, move |store, id| store.remember(id, &resume)).await?;
        }
        Ok(())
    }

    async fn publish(&self, bits: Bits) -> Result<Image, Error> {
        let image = Image {
            source: self.order.digest.clone(),
            format: bits.header.format,
            virtual_size: bits.header.virtual_size,
            length: bits.length,
            md5: bits.md5,
            sha256: bits.sha256,
        };
        let shown = image.clone();
        on_store(self.store, self.id, move |store, id| store.publish(id, &shown)).await?;
        Ok(image)
    }
}

async fn forget(store: &Store, id: &ImageId) {
    if let Err(error) = on_store(store, id, Store::forget_arrival).await {
        tracing::error!(store = store.uuid, image = %id, %error, "cannot remove what an import left behind");
    }
}

/// Work on a store, off the runtime's threads.
pub async fn on_store<T: Send + 'static>(
    store: &Store,
    id: &ImageId,
    work: impl FnOnce(&Store, &ImageId) -> Result<T, crate::store::Error> + Send + 'static,
) -> Result<T, crate::store::Error> {
    let (store, id) = (store.clone(), id.clone());
    blocking(move || work(&store, &id)).await
}

#[cfg(test)]
mod tests;
