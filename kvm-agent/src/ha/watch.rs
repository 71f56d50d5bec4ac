//! Watches the lease of another host, and gives that host up.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::ha::{FenceLease, LeaseFenced, LeaseState, LeaseWatched, WatchLease};

use super::record::{self, Mark, Record};
use super::setup::named;
use crate::localstorage::Storage;
use crate::state::Host;
use crate::sys::lease_file::{Block, LeaseFile};

/// A storage that does not answer for so long says nothing about others.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// Where a lease is looked for.
#[derive(Clone)]
struct Place {
    storage: Storage,
    uuid: String,
    host: String,
}

pub async fn watch(cx: Cx<Host>, cmd: WatchLease) -> Result<LeaseWatched, Fault> {
    let place = Place::of(&cmd.storage_uuid, &cmd.mount_path, &cmd.host_uuid)?;
    cx.unless_superseded(look_on(place, Duration::from_secs(cmd.seconds))).await
}

async fn look_on(place: Place, wanted: Duration) -> Result<LeaseWatched, Fault> {
    let Some(first) = place.read().await? else { return Ok(LeaseWatched::default()) };
    let told =
        |state, sequence, watched: Duration| Ok(LeaseWatched { state, sequence, watched: watched.as_secs() });
    // From the end of the first look to the begin of the last one.
    let since = Instant::now();
    loop {
        let watched = since.elapsed();
        let Some(now) = place.read().await? else { return Ok(LeaseWatched::default()) };
        if now.sequence != first.sequence {
            return told(LeaseState::Renewed, now.sequence, watched);
        }
        if watched >= wanted {
            check_long_enough(&now, wanted)?;
            return told(LeaseState::Silent, now.sequence, watched);
        }
        sleep(LOOK.min(wanted.saturating_sub(watched))).await;
    }
}

/// Silence for no longer than a lease lasts is none.
fn check_long_enough(record: &Record, watched: Duration) -> Result<(), Fault> {
    let needed = record.terms().lasts.saturating_add(Duration::from_secs(record.interval));
    if watched > needed {
        return Ok(());
    }
    let (watched, needed) = (watched.as_secs(), needed.as_secs());
    Err(Fault::new(format!(
        "{watched} s of silence prove nothing: watch this lease for more than {needed} s"
    )))
}

pub async fn fence(cx: Cx<Host>, cmd: FenceLease) -> Result<LeaseFenced, Fault> {
    let place = Place::of(&cmd.storage_uuid, &cmd.mount_path, &cmd.host_uuid)?;
    let (asked, task) = (place.clone(), cx.task().id.to_string());
    let fenced = tokio::task::spawn_blocking(move || asked.fence(cmd.sequence, &task));
    let fenced = timeout(2 * PATIENCE, fenced).await.map_err(|_| place.silent())???;
    tracing::warn!(host = place.host, storage = place.uuid, ?fenced, "asked to give a host up");
    Ok(fenced)
}

impl Place {
    fn of(storage: &str, mount_path: &str, host: &str) -> Result<Self, Fault> {
        named("hostUuid", host)?;
        Ok(Place { storage: Storage::at(mount_path)?, uuid: storage.to_owned(), host: host.to_owned() })
    }

    fn open(&self) -> Result<Option<LeaseFile>, Fault> {
        record::check_storage(&self.storage, &self.uuid)?;
        Ok(LeaseFile::open(&record::path(&self.storage, &self.host))?)
    }

    /// `None` when there is no lease.
    async fn read(&self) -> Result<Option<Record>, Fault> {
        let place = self.clone();
        let read = tokio::task::spawn_blocking(move || match place.open()? {
            Some(file) => Ok::<_, Fault>(record::read(&file, Block::Lease)?),
            None => Ok(None),
        });
        timeout(PATIENCE, read).await.map_err(|_| self.silent())??
    }

    fn silent(&self) -> Fault {
        Fault::new(format!("{:?} does not answer", self.storage.root()))
    }

    /// Writes the mark and then reads the lease; takes its word back when that was renewed. Under the lock, so that
    /// whoever sees the mark can wait for the verdict.
    fn fence(&self, sequence: u64, task: &str) -> Result<LeaseFenced, Fault> {
        let Some(file) = self.open()? else { return Ok(LeaseFenced::default()) };
        file.lock(PATIENCE)?;
        let before = record::read::<Mark>(&file, Block::Mark)?;
        let lease = self.lease(&file)?;
        if lease.as_ref().is_some_and(|lease| lease.spares) {
            let host = &self.host;
            return Err(Fault::new(format!(
                "host {host} spares its vms: the silence of its lease proves nothing"
            )));
        }
        let mut now = lease.map_or(0, |lease| lease.sequence);
        if now == sequence {
            record::set_mark(&file, Some(&before.clone().unwrap_or_default().with(task)))?;
            now = self.lease(&file)?.map_or(0, |lease| lease.sequence);
        }
        let fenced = now == sequence;
        if !fenced {
            // Also what a run of this task before us wrote. The word of others stays.
            let others = before.as_ref().and_then(|mark| mark.without(task));
            record::set_mark(&file, others.as_ref())?;
        }
        Ok(LeaseFenced { fenced, sequence: now })
    }

    /// As it is there now; `None` when the file was taken away, or made anew.
    fn lease(&self, file: &LeaseFile) -> Result<Option<Record>, Fault> {
        let lease = record::read(file, Block::Lease)?;
        Ok(if record::is_current(file, &self.storage)? { lease } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A storage with the lease of `host-1` at 7, lasting 1 s.
    fn place(dir: &std::path::Path) -> (Place, LeaseFile) {
        let place = Place::of("ps-1", dir.join("ps").to_str().unwrap(), "host-1").unwrap();
        crate::localstorage::claim(&place.storage, "ps-1").unwrap();
        let file = LeaseFile::open_or_make(&record::path(&place.storage, "host-1")).unwrap();
        renew(&file, 7);
        (place, file)
    }

    fn renew(file: &LeaseFile, sequence: u64) {
        let record = Record { sequence, interval: 1, max_attempts: 1, ..Record::default() };
        record::write(file, Block::Lease, &record).unwrap();
    }

    fn mark(file: &LeaseFile) -> Vec<String> {
        record::read::<Mark>(file, Block::Mark).unwrap().unwrap_or_default().by
    }

    #[tokio::test]
    async fn silence_is_what_lasts_longer_than_the_lease() {
        let dir = tempfile::tempdir().unwrap();
        let (place, _file) = place(dir.path());
        let short = look_on(place.clone(), Duration::from_secs(2)).await.unwrap_err().error;
        assert!(short.contains("more than 2 s"), "{short}");
        let watched = look_on(place, Duration::from_secs(3)).await.unwrap();
        assert_eq!(watched, LeaseWatched { state: LeaseState::Silent, sequence: 7, watched: 3 });
    }

    #[tokio::test]
    async fn a_renewal_is_seen_at_once_and_no_lease_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (place, file) = place(dir.path());
        let looking = tokio::spawn(look_on(place.clone(), Duration::from_secs(60)));
        sleep(Duration::from_millis(300)).await;
        renew(&file, 8);
        let watched = looking.await.unwrap().unwrap();
        assert_eq!((watched.state, watched.sequence), (LeaseState::Renewed, 8));
        let other = Place { host: "host-2".into(), ..place.clone() };
        assert_eq!(look_on(other, Duration::ZERO).await.unwrap().state, LeaseState::Absent);
        let wrong = Place { uuid: "ps-2".into(), ..place };
        assert!(look_on(wrong, Duration::ZERO).await.unwrap_err().error.contains("is storage ps-1"));
    }

    #[test]
    fn a_host_is_fenced_at_what_was_watched_and_a_repetition_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (place, file) = place(dir.path());
        for task in ["a", "a", "b"] {
            assert_eq!(place.fence(7, task).unwrap(), LeaseFenced { fenced: true, sequence: 7 });
        }
        assert_eq!(mark(&file), ["a", "b"]);
        renew(&file, 8);
        assert_eq!(place.fence(7, "b").unwrap(), LeaseFenced { fenced: false, sequence: 8 });
        assert_eq!(mark(&file), ["a"], "what others were told stands");
    }

    #[test]
    fn what_proves_nothing_fences_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (place, file) = place(dir.path());
        assert!(!place.fence(6, "a").unwrap().fenced && mark(&file).is_empty());
        let spares = Record { sequence: 7, spares: true, ..Record::default() };
        record::write(&file, Block::Lease, &spares).unwrap();
        assert!(place.fence(7, "a").unwrap_err().error.contains("spares its vms"));
        file.remove().unwrap();
        assert_eq!(place.fence(7, "a").unwrap(), LeaseFenced::default());
    }
}
