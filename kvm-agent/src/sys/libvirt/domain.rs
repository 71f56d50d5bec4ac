//! Domains: what libvirt calls a VM. They are found by name, which is the VM's uuid.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use virt::connect::Connect;
use virt::domain::Domain as VirtDomain;
use virt::error::ErrorNumber;
use virt::sys;

use super::{ACT, ASK, Error, Libvirt, Outcome};
use crate::sys::domain_xml::{Live, MARK_NAMESPACE, read_mark};

/// What libvirt says of a domain that it is about to forget.
const LEAVING: &str = "is already being removed";
const LOOK: Duration = Duration::from_millis(50);

/// A domain as libvirt has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub name: String,
    pub state: State,
    pub vcpus: u32,
    /// Bytes.
    pub memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    None,
    Running,
    Paused,
    /// On its way down.
    ShuttingDown,
    Off,
    Crashed,
    Suspended,
}

impl Libvirt {
    pub async fn domains(&self) -> Result<Vec<Domain>, Error> {
        self.ask("list the domains", |connect| {
            let domains = connect.list_all_domains(0)?;
            domains.iter().filter_map(|domain| gone_is_none(describe(domain)).transpose()).collect()
        })
        .await
    }

    /// The domains that carry Cumulet's mark, each with the uuid in it.
    pub async fn marked_domains(&self) -> Result<Vec<(String, String)>, Error> {
        self.ask("list the marked domains", |connect| {
            let domains = connect.list_all_domains(0)?;
            Ok(domains.iter().filter_map(|domain| Some((domain.get_name().ok()?, mark(domain)?))).collect())
        })
        .await
    }

    pub async fn find(&self, name: &str) -> Result<Option<Domain>, Error> {
        let name = name.to_owned();
        self.ask("look for the domain", move |connect| {
            match gone_is_none(VirtDomain::lookup_by_name(connect, &name))? {
                Some(domain) => gone_is_none(describe(&domain)),
                None => Ok(None),
            }
        })
        .await
    }

    /// Starts a domain that is gone when it ends. One of this name that was powered off a moment ago may still be
    /// on its way out, when it is found no longer: that is waited for.
    pub async fn create(&self, xml: String, paused: bool) -> Result<(), Error> {
        let flags = if paused { sys::VIR_DOMAIN_START_PAUSED } else { 0 };
        let until = Instant::now() + ASK;
        loop {
            let xml = xml.clone();
            let started = self.call("start the domain", ACT, move |connect| {
                VirtDomain::create_xml(connect, &xml, flags).map(drop)
            });
            match started.await {
                Err(error) if error.to_string().contains(LEAVING) && Instant::now() < until => {
                    sleep(LOOK).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The definition of a running domain as libvirt completed it.
    pub async fn live(&self, name: &str) -> Result<Live, Error> {
        let xml = self.xml(name, 0).await?;
        Live::read(&xml).map_err(|error| Error::Refused {
            doing: "read the domain's definition",
            text: error.to_string(),
            missing: false,
        })
    }

    /// A definition from which the domain can be started again; holds its secrets.
    pub async fn restartable_xml(&self, name: &str) -> Result<String, Error> {
        self.xml(name, sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE).await
    }

    pub(super) async fn xml(&self, name: &str, flags: u32) -> Result<String, Error> {
        self.on(name, "read the domain's definition", ASK, move |domain| domain.get_xml_desc(flags)).await
    }

    /// Asks the guest to power off, as its power button would.
    pub async fn press_power_button(&self, name: &str) -> Result<(), Error> {
        let flag = if self.is_test_driver() { 0 } else { sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN };
        self.on(name, "ask the guest to power off", ASK, move |domain| domain.shutdown_flags(flag).map(drop))
            .await
    }

    /// Powers the domain off; succeeds when it is off already.
    pub async fn power_off(&self, name: &str) -> Result<(), Error> {
        self.on(name, "power the domain off", ACT, |domain| match domain.destroy() {
            Err(error) if error.code() == ErrorNumber::OperationInvalid => Ok(()),
            outcome => outcome,
        })
        .await
    }

    /// Forgets a domain that is off but defined, as another agent may have left it.
    pub async fn undefine(&self, name: &str) -> Result<(), Error> {
        let all = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
        self.on(name, "undefine the domain", ASK, move |domain| {
            if domain.is_persistent()? { domain.undefine_flags(all) } else { Ok(()) }
        })
        .await
    }

    pub async fn suspend(&self, name: &str) -> Result<(), Error> {
        self.on(name, "pause the domain", ASK, |domain| domain.suspend().map(drop)).await
    }

    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        self.on(name, "resume the domain", ASK, |domain| domain.resume().map(drop)).await
    }

    pub(super) async fn on<T: Send + 'static>(
        &self,
        name: &str,
        doing: &'static str,
        limit: Duration,
        work: impl FnOnce(&VirtDomain) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Error> {
        let name = name.to_owned();
        self.call(doing, limit, move |connect: &Connect| work(&VirtDomain::lookup_by_name(connect, &name)?))
            .await
    }
}

impl State {
    /// ZStack's word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::None => "NoState",
            State::Running => "Running",
            State::Paused => "Paused",
            State::ShuttingDown | State::Off => "Shutdown",
            State::Crashed => "Crashed",
            State::Suspended => "Suspended",
        }
    }

    fn from_raw(state: sys::virDomainState) -> Self {
        match state {
            // Blocked on a resource of the host; runs again by itself.
            sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => State::Running,
            sys::VIR_DOMAIN_PAUSED => State::Paused,
            sys::VIR_DOMAIN_SHUTDOWN => State::ShuttingDown,
            sys::VIR_DOMAIN_SHUTOFF => State::Off,
            sys::VIR_DOMAIN_CRASHED => State::Crashed,
            sys::VIR_DOMAIN_PMSUSPENDED => State::Suspended,
            _ => State::None,
        }
    }
}

fn describe(domain: &VirtDomain) -> Outcome<Domain> {
    let info = domain.get_info()?;
    Ok(Domain {
        name: domain.get_name()?,
        state: State::from_raw(info.state),
        vcpus: info.nr_virt_cpu,
        memory: info.max_mem * 1024,
    })
}

fn mark(domain: &VirtDomain) -> Option<String> {
    let element = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    read_mark(&domain.get_metadata(element, Some(MARK_NAMESPACE), 0).ok()?)
}

/// A domain may end between two calls.
fn gone_is_none<T>(outcome: Outcome<T>) -> Outcome<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
        Err(error) => Err(error),
    }
}
