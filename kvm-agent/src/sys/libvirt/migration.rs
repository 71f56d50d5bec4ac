//! Moves domains to other hosts. The libvirts of both hosts do it between them; it goes on when the agent dies,
//! and is seen by its job.

use std::time::Duration;

use virt::connect::Connect;
use virt::domain::{Domain, MigrateParameters};
use virt::error::ErrorNumber;
use virt::sys;

use super::{ACT, ASK, Connection, Error, Libvirt};

/// How a domain goes, and where.
#[derive(Clone, Debug, Default)]
pub struct Move {
    /// The other libvirt.
    pub to: String,
    /// Where memory and disks are sent.
    pub data: String,
    pub disks: Disks,
    /// The disks to copy, by target.
    pub copied: Vec<String>,
    /// The document for the other host, when it differs.
    pub xml: Option<String>,
    pub encrypted: bool,
    pub auto_converge: bool,
    pub compressed: bool,
    /// MiB per second; 0: as fast as it goes.
    pub bandwidth: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disks {
    /// Both hosts see the same files.
    #[default]
    Shared,
    /// As [`Disks::Shared`], on the caller's word: libvirt knows few file systems that are.
    SharedUnasked,
    Copied,
    /// Only the top layers: what they stand on is there.
    TopsCopied,
}

/// Bytes of memory and disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}

impl Libvirt {
    /// Ends when the domain runs there, or stays here.
    pub async fn migrate(&self, name: &str, how: Move, limit: Duration) -> Result<(), Error> {
        let flags = how.flags();
        let parameters = MigrateParameters {
            uri: Some(how.data).filter(|uri| !uri.is_empty()),
            dest_xml: how.xml,
            migrate_disks: how.copied,
            bandwidth: Some(how.bandwidth).filter(|&rate| rate > 0),
            ..MigrateParameters::default()
        };
        self.on(name, "migrate the domain", limit, move |domain| {
            domain.migrate_to_uri3(Some(&how.to), parameters, flags)
        })
        .await
    }

    /// The long job of a domain: a migration.
    pub async fn job(&self, name: &str) -> Result<Option<Progress>, Error> {
        self.on(name, "ask for the domain's job", ASK, |domain| {
            let job = match domain.get_job_info() {
                // It has just gone, or ended.
                Err(error) if error.code() == ErrorNumber::OperationInvalid => return Ok(None),
                job => job?,
            };
            let runs =
                matches!(job.r#type as u32, sys::VIR_DOMAIN_JOB_BOUNDED | sys::VIR_DOMAIN_JOB_UNBOUNDED);
            Ok(runs.then(|| Progress {
                done: job.data_processed.unwrap_or(0),
                total: job.data_total.unwrap_or(0),
            }))
        })
        .await
    }

    pub async fn abort_job(&self, name: &str) -> Result<(), Error> {
        self.on(name, "cancel the domain's job", ACT, |domain| {
            // SAFETY: the domain lives as long as the call.
            super::done(unsafe { sys::virDomainAbortJob(domain.as_ptr()) })
        })
        .await
    }

    /// Milliseconds that the guest may stand still at the end of its migration.
    pub async fn set_downtime(&self, name: &str, milliseconds: u64) -> Result<(), Error> {
        self.on(name, "set the longest standstill", ASK, move |domain| {
            domain.migrate_set_max_downtime(milliseconds, 0).map(drop)
        })
        .await
    }

    /// Whether the libvirt at `uri` runs the domain.
    pub async fn runs_at(&self, uri: String, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.ask("ask the other host for the domain", move |_| {
            let there = Connection(Connect::open(Some(&uri))?);
            match Domain::lookup_by_name(&there.0, &name) {
                Ok(domain) => domain.is_active(),
                Err(error) if error.code() == ErrorNumber::NoDomain => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// What guests of all hosts with this CPU may have.
    pub async fn cpu(&self, host: String) -> Result<String, Error> {
        self.ask("ask for the host's cpu", move |connect| connect.baseline_cpu(&[&host], 0)).await
    }

    /// Fails when this host's CPU lacks what the other has.
    pub async fn compare_cpu(&self, other: String) -> Result<(), Error> {
        let flag = sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE;
        self.ask("compare the cpus", move |connect| connect.compare_cpu(&other, flag).map(drop)).await
    }

    /// The document of a running domain that another host may be given.
    pub async fn migratable_xml(&self, name: &str) -> Result<String, Error> {
        self.xml(name, sys::VIR_DOMAIN_XML_MIGRATABLE | sys::VIR_DOMAIN_XML_SECURE).await
    }
}

impl Move {
    fn flags(&self) -> u32 {
        let chosen = [
            (self.disks == Disks::SharedUnasked, sys::VIR_MIGRATE_UNSAFE),
            (self.disks == Disks::Copied, sys::VIR_MIGRATE_NON_SHARED_DISK),
            (self.disks == Disks::TopsCopied, sys::VIR_MIGRATE_NON_SHARED_INC),
            (self.encrypted, sys::VIR_MIGRATE_TLS),
            (self.auto_converge, sys::VIR_MIGRATE_AUTO_CONVERGE),
            (self.compressed, sys::VIR_MIGRATE_COMPRESSED),
        ];
        let always = sys::VIR_MIGRATE_LIVE | sys::VIR_MIGRATE_PEER2PEER;
        chosen.into_iter().filter(|(chosen, _)| *chosen).fold(always, |flags, (_, flag)| flags | flag)
    }
}
