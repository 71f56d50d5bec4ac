//! What can be found, as a table: what an inventory calls it, which records say that it belongs there, and
//! what a repair does. A new kind is a statement in `store.rs` and an entry here.

use std::collections::HashSet;

use engine::db::{Tx, Value};
use engine::setting::Setting;
use engine::{Any, Id, Result, codes};
use wire::agent::Owned;

use super::place::Program;
use super::remedy::{self, Remedy};
use super::{CONSENT, Consent, STATE_CONSENT, store};

pub(super) struct Kind {
    /// In findings.
    pub name: &'static str,
    pub program: Program,
    /// What the program's inventory calls it; nothing when it is not found there.
    pub listed: Option<Listed>,
    /// What is wrong, after the thing's name.
    pub wrong: &'static str,
    pub cure: Cure,
    pub consent: &'static Setting<Consent>,
}

pub(super) struct Listed {
    pub kind: &'static str,
    /// Of names and marks (`$*`, the place among them), those that belong there.
    pub known: &'static str,
    /// The number of flows at work at the place ($1) that make such things before they record them.
    pub busy: Option<&'static str>,
    /// It goes with a thing of this kind and the same mark.
    pub part_of: Option<&'static str>,
}

pub(super) enum Cure {
    By(&'static dyn Remedy),
    /// Why there is none.
    None(&'static str),
}

const fn listed(kind: &'static str, known: &'static str) -> Listed {
    Listed { kind, known, busy: None, part_of: None }
}

/// The order matters: the first kind that takes a thing has it.
pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "domain",
        program: Program::Kvm,
        listed: Some(listed("domain", store::VMS)),
        wrong: "no vm of this uuid is known, or it is destroyed",
        cure: Cure::By(&remedy::DestroyDomain),
        consent: &CONSENT,
    },
    Kind {
        name: "misplacedDomain",
        program: Program::Kvm,
        listed: Some(listed("domain", store::VMS_HERE)),
        wrong: "its vm, or the disk of its vm, is on another host as far as the records go",
        cure: Cure::None("which of the two is the true one must be decided by somebody who looks"),
        consent: &CONSENT,
    },
    Kind {
        name: "seed",
        program: Program::Kvm,
        listed: Some(listed("seed", store::SEEDS)),
        wrong: "no vm of this uuid is on this host",
        cure: Cure::By(&remedy::RemoveSeed),
        consent: &CONSENT,
    },
    Kind {
        name: "tap",
        program: Program::Kvm,
        listed: Some(listed("tap", store::TAPS)),
        wrong: "no nic of a vm on this host is called so",
        cure: Cure::None("the kvm-agent has no call that removes a tap: use ip link delete on the host"),
        consent: &CONSENT,
    },
    Kind {
        name: "bridge",
        program: Program::Kvm,
        listed: Some(listed("bridge", store::BRIDGES)),
        wrong: "the l2 network that it is marked with is not attached to the cluster of this host",
        cure: Cure::By(&remedy::RemoveBridge),
        consent: &CONSENT,
    },
    Kind {
        name: "volume",
        program: Program::Kvm,
        listed: Some(listed("volume", store::VOLUMES)),
        wrong: "no volume has this path or this uuid",
        cure: Cure::By(&remedy::DeleteFile),
        consent: &CONSENT,
    },
    Kind {
        name: "cachedImage",
        program: Program::Kvm,
        listed: Some(Listed { busy: Some(store::VMS_AT_WORK), ..listed("image", store::CACHED) }),
        wrong: "no image has this uuid, and no cached image this path",
        cure: Cure::By(&remedy::DeleteFile),
        consent: &CONSENT,
    },
    Kind {
        name: "namespace",
        program: Program::Vrouter,
        listed: Some(listed("namespace", store::NETWORKS)),
        wrong: "this host has nothing of the l3 network that it is for",
        cure: Cure::By(&remedy::RemoveNamespace),
        consent: &CONSENT,
    },
    Kind {
        name: "dnsmasq",
        program: Program::Vrouter,
        listed: Some(Listed { part_of: Some("namespace"), ..listed("dnsmasq", store::NETWORKS) }),
        wrong: "this host has nothing of the l3 network that it serves",
        cure: Cure::None("it goes with its namespace, which the vrouter-agent does not know"),
        consent: &CONSENT,
    },
    Kind {
        name: "veth",
        program: Program::Vrouter,
        listed: Some(Listed { part_of: Some("namespace"), ..listed("veth", store::NETWORKS) }),
        wrong: "this host has nothing of the l3 network that it is marked with",
        cure: Cure::None("it goes with its namespace, which the vrouter-agent does not know"),
        consent: &CONSENT,
    },
    Kind {
        name: "lease",
        program: Program::Vrouter,
        listed: Some(Listed { part_of: Some("namespace"), ..listed("lease", store::MACS) }),
        wrong: "no nic of a vm on this host has this mac address",
        cure: Cure::By(&remedy::RebuildLeases),
        consent: &CONSENT,
    },
    Kind {
        name: "image",
        program: Program::Storage,
        listed: Some(listed("image", store::IMAGES)),
        wrong: "no image has a copy of this uuid on this storage",
        cure: Cure::By(&remedy::DeleteImage),
        consent: &CONSENT,
    },
    Kind {
        name: "import",
        program: Program::Storage,
        listed: Some(listed("import", store::IMAGES)),
        wrong: "no image of this uuid is brought to this storage",
        cure: Cure::By(&remedy::DeleteImage),
        consent: &CONSENT,
    },
];

/// A VM that is not in the state that the records say.
pub(super) static VM_STATE: Kind = Kind {
    name: "vmState",
    program: Program::Kvm,
    listed: None,
    wrong: "it is not in the state that the records say",
    cure: Cure::By(&remedy::FollowState),
    consent: &STATE_CONSENT,
};

/// The kind of this name.
pub(super) fn find(name: &str) -> Result<&'static Kind> {
    let known = KINDS.iter().chain([&VM_STATE]).find(|kind| kind.name == name);
    known.ok_or_else(|| {
        codes::INTERNAL.because(format!("this controller does not know findings of \"{name}\""))
    })
}

/// Whose thing it is: its mark, or its name where that is a uuid.
pub(super) fn owner(thing: &Owned) -> Option<Id<Any>> {
    let mark = thing.resource.as_deref().and_then(|mark| mark.parse().ok());
    mark.or_else(|| thing.name.parse().ok())
}

impl Kind {
    /// Why a repair cannot do anything about the thing; nothing when it can.
    pub fn hopeless(&self, thing: &Owned) -> Option<&'static str> {
        match self.cure {
            Cure::None(why) => Some(why),
            Cure::By(_) if owner(thing).is_none() => Some("it carries no uuid: whose it is cannot be told"),
            Cure::By(remedy) => remedy.hopeless(thing),
        }
    }

    /// What is wrong, and what a repair does.
    pub fn detail(&self, thing: &Owned) -> String {
        match (self.hopeless(thing), &self.cure) {
            (None, Cure::By(remedy)) => format!("{}; a repair {}", self.wrong, remedy.does()),
            (why, _) => format!("{}; it is only reported: {}", self.wrong, why.unwrap_or_default()),
        }
    }
}

impl Listed {
    /// Those of `things` that no record says belong at the place; none when it cannot be told now, because
    /// a flow may be making such things there.
    pub async fn unknown<'t>(
        &self,
        tx: &mut Tx,
        place: Id<Any>,
        things: &[&'t Owned],
    ) -> Result<Option<Vec<&'t Owned>>> {
        /// Databases take some ten thousand values in one statement.
        const TOGETHER: usize = 2000;
        if let Some(busy) = self.busy
            && tx.number(busy, engine::args![place]).await? > 0
        {
            return Ok(None);
        }
        let mut unknown = Vec::new();
        for some in things.chunks(TOGETHER) {
            let known = known(tx, self.known, place, some).await?;
            let is_known = |thing: &&&Owned| {
                known.contains(&thing.name)
                    || thing.resource.as_ref().is_some_and(|mark| known.contains(mark))
            };
            unknown.extend(some.iter().filter(|thing| !is_known(thing)));
        }
        Ok(Some(unknown))
    }
}

async fn known(tx: &mut Tx, sql: &'static str, place: Id<Any>, things: &[&Owned]) -> Result<HashSet<String>> {
    let mut values: Vec<Value> = vec![place.into()];
    for thing in things {
        values.push(thing.name.as_str().into());
        values.extend(thing.resource.as_deref().map(Value::from));
    }
    let rows: Vec<(String,)> = tx.all_of(sql, values).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
