//! The thread that renews the lease of one storage. All of its work may hang.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::guarded::Guarded;
use super::spawn;
use crate::ha::plan::{self, Order, Plan};
use crate::ha::record::{self, Mark, Record};
use crate::localstorage::Storage;
use crate::sys::clock::{self, Moment};
use crate::sys::lease_file::{Block, LeaseFile};
use crate::sys::machine;

/// Who fences needs no longer for its verdict, unless it hangs.
const VERDICT: Duration = Duration::from_secs(2);

struct Keeper {
    guarded: Arc<Guarded>,
    dir: PathBuf,
    boot: String,
    /// Of the last renewal; 0 before the first of a lease.
    sequence: u64,
    /// The first order of the lease, once it is known until when that was held before.
    recalled: Option<u64>,
}

pub fn start(guarded: &Arc<Guarded>, dir: &Path) -> io::Result<()> {
    let boot = machine::boot_id();
    let mut keeper =
        Keeper { guarded: guarded.clone(), dir: dir.to_owned(), boot, sequence: 0, recalled: None };
    let thread = spawn("lease", move || keeper.keep())?;
    // Set once, here: who wants to wake it earlier finds it at work.
    let _ = guarded.keeper.set(thread);
    Ok(())
}

impl Keeper {
    fn keep(&mut self) {
        while !self.guarded.ends() {
            let (begun, order) = (clock::now(), self.guarded.order());
            let trouble = self.round(begun, &order).err().map(|error| error.to_string());
            self.guarded.in_trouble(trouble);
            let next = begun + Duration::from_secs(order.interval);
            thread::park_timeout(next.saturating_sub(clock::now()));
        }
    }

    /// Renews the lease, and then looks for the mark.
    fn round(&mut self, begun: Moment, order: &Order) -> io::Result<()> {
        let storage = Storage::at(&order.mount_path).map_err(|fault| io::Error::other(fault.error))?;
        record::check_storage(&storage, &self.guarded.uuid)?;
        let file = LeaseFile::open_or_make(&record::path(&storage, &order.host))?;
        if !record::is_current(&file, &storage)? {
            return Err(io::Error::other(format!("{:?} was unmounted", storage.root())));
        }
        if self.sequence == 0 || self.recalled != Some(order.since) {
            self.begin(&file, &storage, order)?;
        }
        let record = self.next(begun, order);
        record::write(&file, Block::Lease, &record)?;
        match standing(&file)? {
            None => self.guarded.lease(|lease| lease.renewed(begun, record.terms(), clock::now())),
            Some(mark) => self.marked(&file, &mark, order)?,
        }
        Ok(())
    }

    /// What the predecessor left, and whether it was fenced.
    fn begin(&mut self, file: &LeaseFile, storage: &Storage, order: &Order) -> io::Result<()> {
        self.guarded.found_at(fs::canonicalize(storage.root())?);
        // Proves that there are locks: without them nobody could fence.
        file.again()?.lock(VERDICT)?;
        let before: Option<Record> = record::read(file, Block::Lease).unwrap_or_default();
        if self.recalled != Some(order.since) {
            self.recall(before.as_ref(), order)?;
            self.recalled = Some(order.since);
        }
        if let Some(mark) = mark(file)? {
            self.guarded.lease(|lease| lease.marked(mark.number()));
        }
        // Never one that was there before, even if the file was taken away.
        let today = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let before = before.map_or(today, |record| record.sequence.max(today));
        self.sequence = self.sequence.max(before);
        Ok(())
    }

    /// Until when the lease was held before: after the fencer's death, by what stands on the storage; for the first
    /// time, from now on. Before that nobody could rely on it.
    fn recall(&self, before: Option<&Record>, order: &Order) -> io::Result<()> {
        let ours = |record: &&Record| record.boot == self.boot && record.since == order.since;
        let until = match before.filter(ours) {
            Some(record) => Moment::from_millis(record.began).saturating_add(record.terms().lasts),
            None if plan::has_begun(&self.dir, &self.guarded.uuid, order.since) => return Ok(()),
            None => clock::now() + order.terms().lasts,
        };
        plan::begin(&self.dir, &self.guarded.uuid, order.since)?;
        self.guarded.lease(|lease| lease.recall(until));
        Ok(())
    }

    fn next(&mut self, begun: Moment, order: &Order) -> Record {
        self.sequence += 1;
        Record {
            sequence: self.sequence,
            boot: self.boot.clone(),
            interval: order.interval,
            max_attempts: order.max_attempts,
            spares: order.spares,
            began: u64::try_from(begun.as_millis()).unwrap_or(u64::MAX),
            since: order.since,
        }
    }

    /// Sees to it that everything is killed; when nothing is left, takes the mark away, unless another has come.
    fn marked(&self, file: &LeaseFile, seen: &Mark, order: &Order) -> io::Result<()> {
        let number = seen.number();
        if self.guarded.lease(|lease| lease.marked(number)) {
            tracing::error!(storage = self.guarded.uuid, by = ?seen.by, "this host was fenced");
        }
        if !self.guarded.lease(|lease| lease.may_unmark(number)) {
            return Ok(());
        }
        self.remember_given_up(order)?;
        file.lock(VERDICT)?;
        if mark(file)?.is_none_or(|now| now == *seen) {
            record::set_mark(file, None)?;
        }
        Ok(())
    }

    /// Under the newest order there is, whether we have heard of it or not.
    fn remember_given_up(&self, order: &Order) -> io::Result<()> {
        let plan = Plan::read(&self.dir)?;
        let newest = plan.storages.get(&self.guarded.uuid).map_or(order.number, |newest| newest.number);
        plan::give_up(&self.dir, &self.guarded.uuid, newest)?;
        self.guarded.give_up(newest);
        Ok(())
    }
}

/// The mark, when it stands: who wrote it may still find that the host lives, and take it back. Who hangs meanwhile
/// is not waited for.
fn standing(file: &LeaseFile) -> io::Result<Option<Mark>> {
    let Some(seen) = mark(file)? else { return Ok(None) };
    let alone = file.again()?;
    match alone.lock(VERDICT) {
        Ok(()) => mark(&alone),
        Err(_) => Ok(Some(seen)),
    }
}

/// One that cannot be read is one.
fn mark(file: &LeaseFile) -> io::Result<Option<Mark>> {
    match record::read(file, Block::Mark) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Mark::default())),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ha::lease::Phase;
    use crate::ha::standing::Stand;
    use crate::record::replace;

    struct Ground {
        dir: tempfile::TempDir,
        plan: Plan,
    }

    impl Ground {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mount_path = dir.path().join("ps").to_str().unwrap().to_owned();
            crate::localstorage::claim(&Storage::at(&mount_path).unwrap(), "ps-1").unwrap();
            let ground = Ground { dir, plan: Plan::default() };
            let order =
                Order { mount_path, host: "host-1".into(), interval: 1, max_attempts: 3, ..Order::default() };
            ground.ordered(order)
        }

        fn ordered(mut self, order: Order) -> Self {
            self.plan.order("ps-1", order);
            replace(&plan::path(self.dir.path()), &serde_json::to_vec(&self.plan).unwrap()).unwrap();
            self
        }

        fn order(&self) -> Order {
            self.plan.storages["ps-1"].clone()
        }

        /// Of a fencer that has just started.
        fn keeper(&self) -> Keeper {
            let (dir, order) = (self.dir.path().to_owned(), self.order());
            let begun = plan::has_begun(&dir, "ps-1", order.since);
            let guarded = Arc::new(Guarded::new("ps-1", &order, begun, plan::given_up(&dir, "ps-1")));
            Keeper { guarded, dir, boot: "boot".into(), sequence: 0, recalled: None }
        }

        fn file(&self) -> LeaseFile {
            let storage = Storage::at(&self.order().mount_path).unwrap();
            LeaseFile::open(&record::path(&storage, "host-1")).unwrap().unwrap()
        }
    }

    impl Keeper {
        fn turn(&mut self, order: &Order) -> Stand {
            self.round(clock::now(), order).unwrap();
            self.guarded.stand(clock::now())
        }
    }

    #[test]
    fn a_successor_trusts_a_lease_for_no_longer_and_counts_on() {
        let ground = Ground::new();
        let order = ground.order();
        let mut first = ground.keeper();
        assert!(!first.guarded.stand(clock::now()).held);
        let stand = first.turn(&order);
        assert!(stand.held, "{stand:?}");
        let before: Record = record::read(&ground.file(), Block::Lease).unwrap().unwrap();

        let mut second = ground.keeper();
        second.begin(&ground.file(), &Storage::at(&order.mount_path).unwrap(), &order).unwrap();
        assert_eq!(second.guarded.stand(clock::now()).until, stand.until);
        assert!(second.turn(&order).held);
        let after: Record = record::read(&ground.file(), Block::Lease).unwrap().unwrap();
        assert!(after.sequence > before.sequence);

        let old = Record { began: 0, ..after };
        record::write(&ground.file(), Block::Lease, &old).unwrap();
        let mut late = ground.keeper();
        assert!(!late.turn(&order).held);
        assert!(matches!(late.guarded.phase(), Phase::Lost(_)), "it had run out before this one began");
    }

    #[test]
    fn the_mark_goes_when_nothing_is_left_and_the_host_stays_given_up_until_the_next_order() {
        let ground = Ground::new();
        let (order, mut keeper) = (ground.order(), ground.keeper());
        assert!(keeper.turn(&order).held);
        record::set_mark(&ground.file(), Some(&Mark::default().with("task"))).unwrap();
        for _ in 0..2 {
            assert!(!keeper.turn(&order).held);
            assert!(mark(&ground.file()).unwrap().is_some(), "something may be left");
        }
        keeper.guarded.lease(|lease| lease.searched(clock::now(), false));
        keeper.turn(&order);
        assert_eq!(mark(&ground.file()).unwrap(), None);
        let stand = keeper.turn(&order);
        assert!(!stand.held && stand.given_up && keeper.guarded.phase() == Phase::Held, "{stand:?}");
        assert!(ground.keeper().guarded.stand(clock::now()).given_up, "its successor knows");

        let ground = ground.ordered(order);
        keeper.guarded.obey(&ground.order());
        assert!(keeper.turn(&ground.order()).held);
    }

    #[test]
    fn what_is_not_the_storage_holds_no_lease() {
        let ground = Ground::new();
        let (order, mut keeper) = (ground.order(), ground.keeper());
        keeper.turn(&order);
        std::fs::remove_file(Path::new(&order.mount_path).join(".cumulet")).unwrap();
        let error = keeper.round(clock::now(), &order).unwrap_err().to_string();
        assert!(error.contains("is not mounted there"), "{error}");
    }
}
