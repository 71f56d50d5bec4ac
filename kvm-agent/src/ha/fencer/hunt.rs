//! Counts the time, and kills. Does nothing that could hang.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use wire::calls::ha::SelfFencerReport;

use super::guarded::Guarded;
use super::{Fencer, LOOK};
use crate::sys::clock;
use crate::sys::qemu_files::{self, Qemu};

pub struct Hunt {
    fencer: Arc<Fencer>,
    reports: Sender<SelfFencerReport>,
}

impl Hunt {
    pub fn new(fencer: Arc<Fencer>, reports: Sender<SelfFencerReport>) -> Self {
        Hunt { fencer, reports }
    }

    pub fn run(&self) -> ! {
        loop {
            let guarded = self.fencer.guarded();
            let losing: Vec<_> =
                guarded.iter().filter(|guarded| guarded.lease(|lease| lease.kills())).collect();
            if !losing.is_empty() {
                kill(&losing)
                    .unwrap_or_else(|error| tracing::error!(%error, "cannot look for what is to be killed"));
            }
            self.tell(&guarded);
            thread::park_timeout(LOOK);
        }
    }

    fn tell(&self, guarded: &[Arc<Guarded>]) {
        for report in guarded.iter().filter_map(|guarded| guarded.report()) {
            tracing::error!(?report, "a lease was lost");
            // Who lays them down lives as long as we do.
            let _ = self.reports.send(report);
        }
    }
}

fn kill(losing: &[&Arc<Guarded>]) -> io::Result<()> {
    let began = clock::now();
    let qemus = qemu_files::all()?;
    for guarded in losing {
        let mounts = guarded.mounts();
        let using: Vec<&Qemu> =
            qemus.iter().filter(|qemu| mounts.iter().any(|mount| qemu.uses(mount))).collect();
        for qemu in &using {
            tracing::error!(
                storage = guarded.uuid,
                vm = qemu.uuid,
                "killing a vm: the lease of its storage is lost"
            );
            if !qemu.uuid.is_empty() {
                guarded.killed(&qemu.uuid);
            }
            if let Err(error) = qemu.kill() {
                tracing::error!(%error, vm = qemu.uuid, "cannot kill a vm");
            }
        }
        guarded.lease(|lease| lease.searched(began, !using.is_empty()));
    }
    Ok(())
}
