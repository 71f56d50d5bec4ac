//! Moves a running VM to another host. Its domain is transient: it is there or here, and when the agent dies
//! meanwhile, whoever repeats the command waits for the end of what still runs and looks where the VM is.
//!
//! One QEMU hands over to the other only when all is copied; until then a cancelled, failed or late migration
//! leaves the VM running where it was.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::migration::{Cancel, CompareCpu, CpuAsked, CpuTold, GetProgress, Migrate, Progress, Stay};

use super::{checked, limits, not_here, plug};
use crate::config::MigrationTransport;
use crate::state::Host;
use crate::sys::domain_xml::{LiveDisk, edit};
use crate::sys::libvirt::{Disks, Move, State};

const DEFAULT_TIMEOUT: u64 = 3600;
const LONGEST_TIMEOUT: u64 = 24 * 3600;
/// What libvirt may take to give up, or to find that all is over.
const AFTERMATH: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

pub async fn migrate(cx: Cx<Host>, cmd: Migrate) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    if cmd.migrate_from_destination {
        return Err(Fault::new("a migration is sent to the host where the vm runs"));
    }
    let to = cx.migration.uri(&cmd)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    let until = Instant::now() + patience(cmd.timeout);
    outlive(&cx, &uuid, until).await?;
    match cx.libvirt.find(&uuid).await?.map(|domain| domain.state) {
        None => {}
        Some(State::Running | State::Paused) => {
            let how = prepare(&cx, &uuid, &cmd, to.clone()).await?;
            send(&cx, &uuid, how, cmd.down_time, until).await?;
        }
        Some(state) => {
            return Err(Fault::new(format!("vm {uuid} is {}: it cannot be moved", state.as_str())));
        }
    }
    if !cx.libvirt.runs_at(to.clone(), &uuid).await? {
        return Err(Fault::new(format!("vm {uuid} is neither here nor at {to}: start it")));
    }
    limits::tidy().await;
    cx.seeds.forget(&uuid)?;
    tracing::info!(vm = uuid, to, "migrated");
    Ok(Done {})
}

pub async fn migration_progress(cx: Cx<Host>, cmd: GetProgress) -> Result<Progress, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    Ok(match cx.libvirt.job(&uuid).await {
        Ok(Some(job)) => Progress { migrating: true, done: job.done, total: job.total },
        Ok(None) => Progress::default(),
        Err(error) if error.is_missing() => Progress::default(),
        Err(error) => return Err(error.into()),
    })
}

/// Does not wait its turn: that is the migration's.
pub async fn cancel_migration(cx: Cx<Host>, cmd: Cancel) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    match cx.libvirt.job(&uuid).await {
        Ok(Some(_)) => cx.libvirt.abort_job(&uuid).await?,
        Ok(None) => {}
        Err(error) if error.is_missing() => return Err(not_here(&uuid)),
        Err(error) => return Err(error.into()),
    }
    Ok(Done {})
}

/// The token does it, and its turn has come: what was on its way has ended.
pub async fn stay(_: Cx<Host>, cmd: Stay) -> Result<Done, Fault> {
    checked(&cmd.vm_uuid).map(|_| Done {})
}

pub async fn cpu_xml(cx: Cx<Host>, _: CpuAsked) -> Result<CpuTold, Fault> {
    let capabilities = cx.libvirt.node().await?.capabilities;
    let host = edit::first(&capabilities, "cpu")?
        .ok_or_else(|| Fault::new("libvirt does not tell the host's cpu"))?;
    let cpu_xml = cx.libvirt.cpu(host).await?;
    let model = edit::first(&cpu_xml, "model")?.unwrap_or_default();
    let name = model.split_once('>').and_then(|(_, rest)| rest.split('<').next()).unwrap_or_default();
    Ok(CpuTold { cpu_model_name: name.to_owned(), cpu_xml })
}

pub async fn compare_cpu(cx: Cx<Host>, cmd: CompareCpu) -> Result<Done, Fault> {
    cx.libvirt.compare_cpu(cmd.cpu_xml).await?;
    Ok(Done {})
}

impl MigrationTransport {
    fn uri(self, cmd: &Migrate) -> Result<String, Fault> {
        let host = [&cmd.dest_host_management_ip, &cmd.dest_host_ip].into_iter().find(|ip| !ip.is_empty());
        let host = written(host.ok_or_else(|| Fault::new("a migration needs destHostManagementIp"))?)?;
        Ok(match self {
            MigrationTransport::Tls => format!("qemu+tls://{host}/system"),
            MigrationTransport::Tcp => format!("qemu+tcp://{host}/system"),
        })
    }
}

/// As it stands in a URI.
fn written(ip: &str) -> Result<String, Fault> {
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Err(_) => Err(Fault::new(format!("{ip:?} is no address of a host"))),
    }
}

fn patience(timeout: u64) -> Duration {
    Duration::from_secs(if timeout == 0 { DEFAULT_TIMEOUT } else { timeout.min(LONGEST_TIMEOUT) })
}

async fn prepare(cx: &Cx<Host>, uuid: &str, cmd: &Migrate, to: String) -> Result<Move, Fault> {
    let live = plug::live(cx, uuid).await?;
    let disks: Vec<LiveDisk> = live.disks().into_iter().filter(|disk| !disk.is_cd_rom).collect();
    let policy = match cmd.storage_migration_policy.as_str() {
        "FullCopy" => Disks::Copied,
        "IncCopy" => Disks::TopsCopied,
        "" | "None" | "Shared" => shared(&disks),
        other => return Err(Fault::new(format!("storage migration policy {other:?} is not known"))),
    };
    let copies = matches!(policy, Disks::Copied | Disks::TopsCopied);
    let data = if cmd.dest_host_ip.is_empty() { &cmd.dest_host_management_ip } else { &cmd.dest_host_ip };
    Ok(Move {
        to,
        data: format!("tcp://{}", written(data)?),
        disks: policy,
        copied: if copies { disks.into_iter().map(|disk| disk.target).collect() } else { Vec::new() },
        xml: elsewhere(cx, uuid, cmd).await?,
        encrypted: cx.migration == MigrationTransport::Tls,
        auto_converge: cmd.auto_converge,
        compressed: cmd.xbzrle,
        bandwidth: cmd.bandwidth.div_ceil(1 << 20),
    })
}

/// Without a cache on this host, what is written is what the other host reads.
fn shared(disks: &[LiveDisk]) -> Disks {
    let uncached = |disk: &LiveDisk| matches!(disk.cache.as_deref(), Some("none" | "directsync"));
    if disks.iter().all(uncached) { Disks::SharedUnasked } else { Disks::Shared }
}

/// The document for the other host, when files have other names there.
async fn elsewhere(cx: &Cx<Host>, uuid: &str, cmd: &Migrate) -> Result<Option<String>, Fault> {
    let names = cmd.disks.iter().map(|(old, volume)| (old.clone(), volume.install_path.clone()));
    let names: BTreeMap<String, String> = names.filter(|(old, new)| !new.is_empty() && old != new).collect();
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(edit::rename_files(&cx.libvirt.migratable_xml(uuid).await?, &names)?))
}

/// Until it is there, or given up: then it is here.
async fn send(
    cx: &Cx<Host>,
    uuid: &str,
    how: Move,
    downtime: Option<u64>,
    until: Instant,
) -> Result<(), Fault> {
    let limit = until.saturating_duration_since(Instant::now());
    let moving = cx.libvirt.migrate(uuid, how, limit + AFTERMATH);
    tokio::pin!(moving);
    if let Some(downtime) = downtime.filter(|&downtime| downtime > 0)
        && let Err(error) = cx.libvirt.set_downtime(uuid, downtime).await
    {
        tracing::debug!(vm = uuid, %error, "the longest standstill stays as it is");
    }
    tokio::select! {
        done = &mut moving => return Ok(done?),
        () = tokio::time::sleep_until(until) => {}
        () = cx.superseded().cancelled() => {}
    }
    if let Err(error) = cx.libvirt.abort_job(uuid).await {
        tracing::info!(vm = uuid, %error, "nothing was left to give up");
    }
    match moving.await {
        // It was faster.
        Ok(()) => Ok(()),
        Err(_) if cx.superseded().is_cancelled() => Err(cx.stopped()),
        Err(_) => Err(Fault::new(format!("vm {uuid} was not moved in time: given up, it runs here"))),
    }
}

/// Waits for the end of a migration that an agent before this one began, and for its domain to go: libvirt
/// tells one that has moved as shut down, and without a job, for as long as it tidies up.
async fn outlive(cx: &Cx<Host>, uuid: &str, until: Instant) -> Result<(), Fault> {
    let gone = Instant::now() + AFTERMATH;
    loop {
        let over = Instant::now() > until || cx.superseded().is_cancelled();
        match cx.libvirt.job(uuid).await {
            Ok(Some(_)) if over => cx.libvirt.abort_job(uuid).await?,
            Ok(Some(_)) => {}
            Ok(None) if over || Instant::now() > gone || !is_ending(cx, uuid).await? => return Ok(()),
            Ok(None) => {}
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
}

async fn is_ending(host: &Host, uuid: &str) -> Result<bool, Fault> {
    let there = host.libvirt.find(uuid).await?;
    Ok(there.is_some_and(|domain| matches!(domain.state, State::ShuttingDown | State::Off)))
}
