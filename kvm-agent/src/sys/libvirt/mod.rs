//! libvirt: one connection, kept; a bounded number of calls at a time, each with a limit.
//!
//! Every libvirt call blocks, and may block for minutes when a QEMU is stuck. Calls therefore run on
//! threads of their own, at most [`SEATS`] at once, and their callers stop waiting at their limit; a seat
//! is free again only when its call has truly ended. What does not need libvirt is never held up by it.
//!
//! A connection that died (libvirtd restarted, keepalive unanswered) is opened again by the next call.

mod block;
mod device;
mod domain;
mod guest;
mod io_thread;
mod migration;
mod node;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use virt::connect::Connect;
use virt::error::ErrorNumber;

pub use block::{IoTune, JobKind};
pub use domain::{Domain, State};
pub use io_thread::IoThread;
pub use migration::{Disks, Move};

const SEATS: usize = 8;
/// How long a question may take.
const ASK: Duration = Duration::from_secs(30);
/// How long a VM's start or end may take.
const ACT: Duration = Duration::from_secs(180);

#[derive(Clone)]
pub struct Libvirt {
    inner: Arc<Inner>,
}

struct Inner {
    uri: String,
    seats: Arc<Semaphore>,
    connection: Mutex<Option<Arc<Connection>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to libvirt at {uri}: {text}: is libvirtd running?")]
    Unreachable { uri: String, text: String },
    #[error("cannot {doing}: libvirt is busy with {SEATS} calls that do not end")]
    Busy { doing: &'static str },
    #[error("cannot {doing}: libvirt did not answer within {} s", limit.as_secs())]
    Slow { doing: &'static str, limit: Duration },
    #[error("cannot {doing}: {text}")]
    Refused { doing: &'static str, text: String, missing: bool },
    #[error("cannot {doing}: the call panicked")]
    Panicked { doing: &'static str },
}

type Outcome<T> = Result<T, virt::error::Error>;

/// What a call of the C library says of itself.
fn done(result: i32) -> Outcome<()> {
    if result < 0 { Err(virt::error::Error::last_error()) } else { Ok(()) }
}

impl Libvirt {
    pub fn new(uri: impl Into<String>) -> Self {
        let seats = Arc::new(Semaphore::new(SEATS));
        Libvirt { inner: Arc::new(Inner { uri: uri.into(), seats, connection: Mutex::default() }) }
    }

    /// Whether this is libvirt's built-in test driver, which has no guests.
    pub fn is_test_driver(&self) -> bool {
        self.inner.uri.starts_with("test:")
    }

    async fn ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connect) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.call(doing, ASK, work).await
    }

    async fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl FnOnce(&Connect) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Error> {
        let seats = self.inner.seats.clone();
        let Ok(Ok(seat)) = tokio::time::timeout(limit, seats.acquire_owned()).await else {
            return Err(Error::Busy { doing });
        };
        let inner = self.inner.clone();
        let call = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            let connection = inner.connect()?;
            work(&connection.0).map_err(|error| Error::refused(doing, &error))
        });
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Panicked { doing }),
            Err(_) => Err(Error::Slow { doing, limit }),
        }
    }
}

impl Inner {
    fn connect(&self) -> Result<Arc<Connection>, Error> {
        let mut held = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(connection) = held.as_ref().filter(|connection| connection.0.is_alive().unwrap_or(false))
        {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.open()?);
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn open(&self) -> Result<Connection, Error> {
        start_event_loop();
        let unreachable = |error: virt::error::Error| Error::Unreachable {
            uri: self.uri.clone(),
            text: error.message().to_owned(),
        };
        let connection = Connection(Connect::open(Some(&self.uri)).map_err(unreachable)?);
        // Drivers inside this process have no peer to keep alive.
        if let Err(error) = connection.0.set_keep_alive(15, 3) {
            tracing::debug!(error = error.message(), "no keepalive");
        }
        tracing::info!(uri = self.uri, "connected to libvirt");
        Ok(connection)
    }
}

/// `Connect` does not close itself.
struct Connection(Connect);

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.0.close();
    }
}

impl Error {
    /// Whether the domain asked for is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Refused { missing: true, .. })
    }

    fn refused(doing: &'static str, error: &virt::error::Error) -> Self {
        let missing = error.code() == ErrorNumber::NoDomain;
        Error::Refused { doing, text: error.message().to_owned(), missing }
    }
}

/// Keepalive needs libvirt's event loop. It sleeps unless there is something to hear.
fn start_event_loop() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::warn!(error = error.message(), "no libvirt events: a dead libvirtd is noticed late");
            return;
        }
        std::thread::spawn(run_event_loop);
    });
}

fn run_event_loop() {
    while let Ok(()) = virt::event::event_run_default_impl() {}
    tracing::error!("libvirt's event loop ended: a dead libvirtd is noticed late");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_never_ends_leaves_room_for_others() {
        let libvirt = Libvirt::new("test:///default");
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let limit = Duration::from_millis(50);
        let outcome = libvirt.call("hang", limit, move |_| Ok(stuck.recv().is_ok())).await;
        assert!(matches!(outcome, Err(Error::Slow { .. })));
        libvirt.domains().await.unwrap();
        assert_eq!(libvirt.inner.seats.available_permits(), SEATS - 1);
        drop(release);
    }

    #[tokio::test]
    async fn an_unreachable_libvirt_is_named() {
        let libvirt = Libvirt::new("qemu+unix:///system?socket=/no/such/socket");
        let error = libvirt.domains().await.unwrap_err().to_string();
        assert!(error.contains("/no/such/socket") && error.contains("is libvirtd running"), "{error}");
    }
}
