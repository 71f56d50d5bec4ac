//! Disks of running domains: sizes, limits, snapshots, and jobs that move blocks between layers.
//!
//! A disk is named by its target (`vda`). Jobs run in QEMU, not in the call that began them: they go on when
//! the caller dies, and are found again by [`Libvirt::block_job`].

use std::ffi::CString;

use virt::domain::Domain;
use virt::domain_snapshot::DomainSnapshot;
use virt::sys;

use super::device::c_string;
use super::{ACT, ASK, Error, Libvirt, Outcome, done};

/// What runs on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockJob {
    pub kind: JobKind,
    pub done: u64,
    pub total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    Pull,
    Copy,
    Commit,
    ActiveCommit,
    Backup,
    Other,
}

/// Limits of a disk per second; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoTune {
    pub total_bytes: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub total_iops: u64,
    pub read_iops: u64,
    pub write_iops: u64,
}

type Field = (&'static std::ffi::CStr, fn(&mut IoTune) -> &mut u64);

const IO_TUNE: [Field; 6] = [
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, |tune| &mut tune.total_bytes),
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, |tune| &mut tune.read_bytes),
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC, |tune| &mut tune.write_bytes),
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC, |tune| &mut tune.total_iops),
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC, |tune| &mut tune.read_iops),
    (sys::VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC, |tune| &mut tune.write_iops),
];

impl Libvirt {
    pub async fn resize_disk(&self, name: &str, target: &str, bytes: u64) -> Result<(), Error> {
        let target = target.to_owned();
        let flag = sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES;
        self.on(name, "resize the disk", ACT, move |domain| {
            domain.block_resize(&target, bytes, flag).map(drop)
        })
        .await
    }

    /// The size that the guest sees, bytes.
    pub async fn disk_size(&self, name: &str, target: &str) -> Result<u64, Error> {
        let target = target.to_owned();
        self.on(name, "ask for the disk's size", ASK, move |domain| {
            Ok(domain.get_block_info(&target, 0)?.capacity)
        })
        .await
    }

    pub async fn set_io_tune(&self, name: &str, target: &str, mut tune: IoTune) -> Result<(), Error> {
        let target = c_string(target);
        self.on(name, "limit the disk", ASK, move |domain| {
            let mut fields = IO_TUNE.map(|(name, field)| parameter(name, *field(&mut tune)));
            let (first, count) = (fields.as_mut_ptr(), fields.len() as i32);
            let live = sys::VIR_DOMAIN_AFFECT_LIVE;
            // SAFETY: the array has as many elements as the call is told; it keeps no pointer.
            done(unsafe {
                sys::virDomainSetBlockIoTune(domain.as_ptr(), target.as_ptr(), first, count, live)
            })
        })
        .await
    }

    pub async fn io_tune(&self, name: &str, target: &str) -> Result<IoTune, Error> {
        let target = c_string(target);
        self.on(name, "ask for the disk's limits", ASK, move |domain| read_io_tune(domain, &target)).await
    }

    /// Lets disks go on in files that are there already, all at one moment; `snapshot` is the document.
    pub async fn snapshot_disks(&self, name: &str, snapshot: String) -> Result<(), Error> {
        let flags = sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | sys::VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | sys::VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
            | sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
        self.on(name, "take the snapshot", ACT, move |domain| {
            DomainSnapshot::create_xml(domain, &snapshot, flags).map(drop)
        })
        .await
    }

    pub async fn block_job(&self, name: &str, target: &str) -> Result<Option<BlockJob>, Error> {
        let target = c_string(target);
        self.on(name, "ask for the disk's job", ASK, move |domain| {
            // SAFETY: a plain structure of numbers, for which all zeroes are a value.
            let mut info: sys::virDomainBlockJobInfo = unsafe { std::mem::zeroed() };
            // SAFETY: the call fills the structure and keeps no pointer.
            let told =
                unsafe { sys::virDomainGetBlockJobInfo(domain.as_ptr(), target.as_ptr(), &raw mut info, 0) };
            done(told.min(0))?;
            Ok((told > 0).then(|| BlockJob {
                kind: JobKind::of(info.type_),
                done: info.cur,
                total: info.end,
            }))
        })
        .await
    }

    /// Begins to copy into the disk what lies between it and `base`; all that it stands on without one.
    pub async fn pull(&self, name: &str, target: &str, base: Option<&str>) -> Result<(), Error> {
        let (target, base) = (c_string(target), base.map(c_string));
        self.on(name, "merge the disk's layers", ACT, move |domain| {
            let base = base.as_ref().map_or(std::ptr::null(), |base| base.as_ptr());
            // SAFETY: the texts live as long as the call, which keeps no pointer.
            done(unsafe { sys::virDomainBlockRebase(domain.as_ptr(), target.as_ptr(), base, 0, 0) })
        })
        .await
    }

    /// Begins to write the layers from `top` down into `base`. When `top` is what the guest writes to, the
    /// job waits at its end for [`pivot`](Libvirt::pivot).
    pub async fn commit(
        &self,
        name: &str,
        target: &str,
        top: &str,
        base: &str,
        active: bool,
    ) -> Result<(), Error> {
        let [target, top, base] = [target, top, base].map(c_string);
        let flags = if active { sys::VIR_DOMAIN_BLOCK_COMMIT_ACTIVE } else { 0 };
        self.on(name, "commit the disk's layers", ACT, move |domain| {
            let (disk, base, top) = (target.as_ptr(), base.as_ptr(), top.as_ptr());
            // SAFETY: the texts live as long as the call, which keeps no pointer.
            done(unsafe { sys::virDomainBlockCommit(domain.as_ptr(), disk, base, top, 0, flags) })
        })
        .await
    }

    /// Lets the disk go on where its job has brought it.
    pub async fn pivot(&self, name: &str, target: &str) -> Result<(), Error> {
        self.abort(name, target, "end the disk's job", sys::VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT).await
    }

    /// Gives the disk's job up; the disk stays as it was.
    pub async fn cancel_block_job(&self, name: &str, target: &str) -> Result<(), Error> {
        self.abort(name, target, "cancel the disk's job", 0).await
    }

    async fn abort(&self, name: &str, target: &str, doing: &'static str, flags: u32) -> Result<(), Error> {
        let target = c_string(target);
        self.on(name, doing, ACT, move |domain| {
            // SAFETY: the text lives as long as the call, which keeps no pointer.
            done(unsafe { sys::virDomainBlockJobAbort(domain.as_ptr(), target.as_ptr(), flags) })
        })
        .await
    }
}

impl BlockJob {
    /// Whether nothing is left to copy.
    pub fn is_ready(self) -> bool {
        self.done == self.total
    }
}

impl JobKind {
    fn of(kind: i32) -> Self {
        match kind as u32 {
            sys::VIR_DOMAIN_BLOCK_JOB_TYPE_PULL => JobKind::Pull,
            sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COPY => JobKind::Copy,
            sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT => JobKind::Commit,
            sys::VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT => JobKind::ActiveCommit,
            sys::VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP => JobKind::Backup,
            _ => JobKind::Other,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Pull => "pull",
            JobKind::Copy => "copy",
            JobKind::Commit => "commit",
            JobKind::ActiveCommit => "active-commit",
            JobKind::Backup => "backup",
            JobKind::Other => "other",
        }
    }
}

fn parameter(name: &std::ffi::CStr, value: u64) -> sys::virTypedParameter {
    let mut field = [0; 80];
    for (to, from) in field.iter_mut().zip(name.to_bytes()) {
        *to = from.cast_signed();
    }
    let kind = sys::VIR_TYPED_PARAM_ULLONG as i32;
    sys::virTypedParameter { field, type_: kind, value: sys::_virTypedParameter__bindgen_ty_1 { ul: value } }
}

fn read_io_tune(domain: &Domain, target: &CString) -> Outcome<IoTune> {
    // More is refused by libvirt's protocol.
    const ROOM: usize = 32;
    let mut fields = [parameter(c"", 0); ROOM];
    let mut count = ROOM as i32;
    let (first, live) = (fields.as_mut_ptr(), sys::VIR_DOMAIN_AFFECT_LIVE);
    // SAFETY: the array has as many elements as the call is told; it writes no more and keeps no pointer.
    done(unsafe {
        sys::virDomainGetBlockIoTune(domain.as_ptr(), target.as_ptr(), first, &raw mut count, live)
    })?;
    let mut tune = IoTune::default();
    for told in fields.iter().take(usize::try_from(count).unwrap_or(0)) {
        let is_number = told.type_ == sys::VIR_TYPED_PARAM_ULLONG as i32;
        let known = IO_TUNE.iter().find(|(name, _)| *name == super::node::field_name(&told.field));
        if let Some((_, field)) = known.filter(|_| is_number) {
            // SAFETY: the type says that the union holds this member.
            *field(&mut tune) = unsafe { told.value.ul };
        }
    }
    Ok(tune)
}
