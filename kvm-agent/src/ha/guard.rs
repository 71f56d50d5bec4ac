//! The agent's half: sees to it that the fencer runs, hands its reports over, and kills in its place when it is
//! silent for longer than a lease that it held lasts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wire::Fault;
use wire::calls::ha::SelfFencerReport;

use super::plan::{self, Order, Plan};
use super::standing::{self, Standing};
use super::{DIR, report};
use crate::record::Record;
use crate::state::{Host, private_dir};
use crate::sys::clock::{self, Moment};
use crate::sys::{fencer_process, qemu_files};

const ROUND: Duration = Duration::from_secs(1);

/// What the agent knows of its fencer.
pub struct Fencing {
    pub(super) dir: PathBuf,
    state_dir: PathBuf,
    pub(super) plan: Record<Plan>,
    /// Until when what runs on a storage may go on, as the fencer said last.
    until: Mutex<BTreeMap<String, Moment>>,
    /// The one that we have started, so that it is buried.
    child: Mutex<Option<Child>>,
}

impl Fencing {
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join(DIR);
        private_dir(&dir)?;
        let plan = Record::open(plan::path(&dir))?;
        let (until, child) = (Mutex::default(), Mutex::default());
        Ok(Fencing { dir, state_dir: state_dir.to_owned(), plan, until, child })
    }

    pub async fn ask(&self) -> Result<Standing, Fault> {
        let dir = self.dir.clone();
        let told = tokio::task::spawn_blocking(move || standing::ask(&dir)).await?;
        told.map_err(|error| Fault::new(format!("the fencer does not answer: {error}")))
    }

    /// Starts the fencer unless one runs. Who runs already may have been started by systemd, or by an agent before us.
    pub fn start(&self) -> io::Result<()> {
        self.bury()?;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Free for a moment only: who finds it taken by us tries again.
        if child.is_none() && fencer_process::take_lock(&self.dir.join("lock"))?.is_some() {
            *child = Some(fencer_process::start(&self.state_dir)?);
            tracing::info!("the fencer is started");
        }
        Ok(())
    }

    fn bury(&self) -> io::Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            match ended.success() {
                true => tracing::info!("the fencer has ended: there is nothing to guard"),
                false => tracing::warn!(%ended, "the fencer has ended"),
            }
            *child = None;
        }
        Ok(())
    }

    async fn look_after(&self) -> Result<(), Fault> {
        let plan = self.plan.get().await;
        if plan.storages.is_empty() {
            return Ok(self.bury()?);
        }
        let started = self.start();
        match self.ask().await {
            Ok(standing) => self.remember(&standing),
            Err(_) => self.stand_in(plan).await?,
        }
        Ok(started?)
    }

    fn remember(&self, standing: &Standing) {
        let stands = standing.storages.iter();
        let held = stands.filter(|(_, stand)| stand.held);
        let until = held.map(|(uuid, stand)| (uuid.clone(), Moment::from_millis(stand.until))).collect();
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Nobody else counts the time.
    async fn stand_in(&self, plan: Plan) -> Result<(), Fault> {
        let (now, until) = (clock::now(), self.until.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let over = |uuid: &String| until.get(uuid).is_some_and(|until| now >= *until);
        let lost = plan.storages.into_iter().filter(|(uuid, order)| !order.spares && over(uuid));
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() {
            return Ok(());
        }
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || {
            lost.iter().try_for_each(|(uuid, order)| kill(&dir, uuid, order))
        })
        .await??;
        Ok(())
    }
}

/// Runs as long as the agent.
pub async fn guard(host: Arc<Host>) {
    loop {
        if let Err(error) = host.fencing.look_after().await {
            tracing::error!(%error, "cannot look after the fencer");
        }
        if let Err(error) = report::hand_over(&host, &host.fencing.dir).await {
            tracing::warn!(%error, "cannot hand reports over");
        }
        tokio::time::sleep(ROUND).await;
    }
}

fn kill(dir: &Path, uuid: &str, order: &Order) -> io::Result<()> {
    let mount = Path::new(&order.mount_path);
    let (mut vms, mut outcome) = (Vec::new(), Ok(()));
    for qemu in qemu_files::all()?.iter().filter(|qemu| qemu.uses(mount)) {
        tracing::error!(storage = uuid, vm = qemu.uuid, "killing a vm: the fencer is silent");
        outcome = qemu.kill().and(outcome);
        vms.push(qemu.uuid.clone());
    }
    if !vms.is_empty() {
        let report = SelfFencerReport {
            host_uuid: order.host.clone(),
            ps_uuids: vec![uuid.to_owned()],
            vm_uuids: vms.join(","),
            reason: "the fencer was silent for longer than the lease lasts".into(),
            fencer_failure: true,
        };
        report::lay_down(dir, &report)?;
    }
    outcome
}
