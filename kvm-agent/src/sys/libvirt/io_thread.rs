//! Threads of QEMU that do the input and output of disks.

use std::ptr;

use virt::sys;

use super::{ACT, ASK, Error, Libvirt, done};

const LIVE: u32 = sys::VIR_DOMAIN_AFFECT_LIVE;

/// One such thread, and the host CPUs that it may be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoThread {
    pub id: u32,
    pub cpus: Vec<bool>,
}

impl Libvirt {
    pub async fn io_threads(&self, name: &str) -> Result<Vec<IoThread>, Error> {
        self.on(name, "list the i/o threads", ASK, |domain| {
            let mut list: *mut sys::virDomainIOThreadInfoPtr = ptr::null_mut();
            // SAFETY: libvirt writes a list of so many entries, which is ours from then on.
            let count = unsafe { sys::virDomainGetIOThreadInfo(domain.as_ptr(), &raw mut list, LIVE) };
            done(count)?;
            let count = usize::try_from(count).unwrap_or_default();
            // SAFETY: the list has `count` entries, each of which is valid until it is freed, once, here.
            let threads = unsafe {
                let taken = (0..count).map(|at| take(*list.add(at))).collect();
                libc_free(list);
                taken
            };
            Ok(threads)
        })
        .await
    }

    pub async fn add_io_thread(&self, name: &str, id: u32) -> Result<(), Error> {
        self.on(name, "add the i/o thread", ACT, move |domain| {
            // SAFETY: a call by value on a domain that lives as long as the call.
            done(unsafe { sys::virDomainAddIOThread(domain.as_ptr(), id, LIVE) })
        })
        .await
    }

    pub async fn delete_io_thread(&self, name: &str, id: u32) -> Result<(), Error> {
        self.on(name, "delete the i/o thread", ACT, move |domain| {
            // SAFETY: a call by value on a domain that lives as long as the call.
            done(unsafe { sys::virDomainDelIOThread(domain.as_ptr(), id, LIVE) })
        })
        .await
    }

    pub async fn pin_io_thread(&self, name: &str, id: u32, cpus: Vec<bool>) -> Result<(), Error> {
        let mut map = super::device::cpu_map(&cpus);
        self.on(name, "pin the i/o thread", ACT, move |domain| {
            let length = i32::try_from(map.len()).unwrap_or(i32::MAX);
            // SAFETY: the map has `length` bytes and outlives the call, which keeps no pointer to it.
            done(unsafe { sys::virDomainPinIOThread(domain.as_ptr(), id, map.as_mut_ptr(), length, LIVE) })
        })
        .await
    }
}

/// Reads an entry and frees it.
///
/// # Safety
/// The entry is libvirt's and is used no more.
unsafe fn take(entry: sys::virDomainIOThreadInfoPtr) -> IoThread {
    // SAFETY: as the caller promises; the map has as many bytes as the entry says.
    unsafe {
        let info = &*entry;
        let bytes = usize::try_from(info.cpumaplen).unwrap_or_default();
        let map = std::slice::from_raw_parts(info.cpumap, bytes);
        let cpus = (0..bytes * 8).map(|cpu| map[cpu / 8] >> (cpu % 8) & 1 == 1).collect();
        let thread = IoThread { id: info.iothread_id, cpus };
        sys::virDomainIOThreadInfoFree(entry);
        thread
    }
}

/// # Safety
/// The list came from libvirt, and its entries are freed.
unsafe fn libc_free(list: *mut sys::virDomainIOThreadInfoPtr) {
    // SAFETY: libvirt allocates with malloc.
    unsafe { nix::libc::free(list.cast()) }
}
