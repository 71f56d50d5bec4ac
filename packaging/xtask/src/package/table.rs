//! What is packaged: one row per program. Control files, specs, scripts and contents all follow from here.

use cumulet_tests::workspace;

/// A program and its package, which have one name.
pub struct Program {
    pub name: &'static str,
    pub krate: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    /// `None`: a person starts it.
    pub service: Option<Service>,
    /// What Debian's package needs besides the libraries that the program is linked to.
    pub deb_depends: &'static [&'static str],
    /// The same for Fedora and its descendants.
    pub rpm_requires: &'static [&'static str],
}

/// How the program runs when systemd starts it.
pub struct Service {
    pub runs_as: RunsAs,
    /// Below `/etc/cumulet`, and in `packaging/<directory>`.
    pub config: &'static str,
    /// Its directory below `packaging/`.
    pub dir: &'static str,
    /// Units of that directory that come with it: systemd enables and starts them along with its own.
    pub beside: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RunsAs {
    Root,
    /// The account [`USER`], which the package makes.
    ServiceUser,
}

/// The account of every service that needs no root.
pub const USER: &str = "cumulet";

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "cumulet-controller",
        krate: "cumulet-controller",
        summary: "KVM cloud: the controller",
        description: "Keeps the metadata of the cloud, serves its REST API and drives the agents.",
        service: Some(Service {
            runs_as: RunsAs::ServiceUser,
            config: "controller.toml",
            dir: "controller",
            beside: &[],
        }),
        deb_depends: &["ca-certificates"],
        rpm_requires: &["ca-certificates"],
    },
    Program {
        name: "cumulet-kvm-agent",
        krate: "cumulet-kvm-agent",
        summary: "KVM cloud: the agent that runs virtual machines",
        description: "Runs virtual machines on this host by libvirt, with their bridges, volumes and screens.",
        service: Some(Service {
            runs_as: RunsAs::Root,
            config: "kvm-agent.toml",
            dir: "kvm-agent",
            beside: &["cumulet-fencer.service"],
        }),
        deb_depends: &[
            "ca-certificates",
            "iproute2",
            "libvirt-daemon-system",
            "ovmf",
            "qemu-system-x86",
            "qemu-utils",
            "swtpm",
            "swtpm-tools",
        ],
        rpm_requires: &[
            "ca-certificates",
            "edk2-ovmf",
            "iproute-tc",
            "libvirt-daemon-kvm",
            "qemu-img",
            "qemu-kvm",
            "swtpm",
            "swtpm-tools",
        ],
    },
    Program {
        name: "cumulet-storage-agent",
        krate: "cumulet-storage-agent",
        summary: "KVM cloud: the image store",
        description: "Keeps images: takes them from uploads and URLs, inspects them, and gives them to hosts.",
        service: Some(Service {
            runs_as: RunsAs::ServiceUser,
            config: "storage-agent.toml",
            dir: "storage-agent",
            beside: &[],
        }),
        deb_depends: &["ca-certificates", "qemu-utils"],
        rpm_requires: &["ca-certificates", "qemu-img"],
    },
    Program {
        name: "cumulet-vrouter-agent",
        krate: "cumulet-vrouter-agent",
        summary: "KVM cloud: the agent for networks",
        description: "Serves DHCP and DNS to the cloud's networks on this host, each in a network namespace.",
        service: Some(Service {
            runs_as: RunsAs::Root,
            config: "vrouter-agent.toml",
            dir: "vrouter-agent",
            beside: &[],
        }),
        deb_depends: &["ca-certificates", "dnsmasq-base", "nftables"],
        rpm_requires: &["ca-certificates", "dnsmasq", "nftables"],
    },
    Program {
        name: "cumulet-console-proxy",
        krate: "cumulet-console-proxy",
        summary: "KVM cloud: screens in the browser",
        description: "Shows the screens of virtual machines in a browser, to holders of one-use tickets.",
        service: Some(Service {
            runs_as: RunsAs::ServiceUser,
            config: "console-proxy.toml",
            dir: "console-proxy",
            beside: &[],
        }),
        deb_depends: &["ca-certificates"],
        rpm_requires: &["ca-certificates"],
    },
    Program {
        name: "cumulet",
        krate: "cumulet-cli",
        summary: "KVM cloud: the command line",
        description: "Creates, lists, shows and deletes what is in the cloud, from a terminal or a program.",
        service: None,
        deb_depends: &["ca-certificates"],
        rpm_requires: &["ca-certificates"],
    },
];

impl Program {
    /// Whether a package made of it needs [`USER`].
    pub fn needs_user(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.runs_as == RunsAs::ServiceUser)
    }
}

impl Service {
    /// Where the configuration lies once installed.
    pub fn config_path(&self) -> String {
        format!("/etc/cumulet/{}", self.config)
    }

    /// A file of this service's directory.
    pub fn source(&self, file: &str) -> std::path::PathBuf {
        workspace().join("packaging").join(self.dir).join(file)
    }
}
