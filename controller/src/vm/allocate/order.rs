//! The hosts in the order in which they are tried: those that are drawn to, the strategy's, those to be
//! avoided.

use std::collections::HashMap;

use engine::db::Tx;
use engine::{Id, Result};

use super::sorter::SORTERS;
use super::strategy::{self, Strategy};
use super::{Candidate, Demand, Look, Page, store};
use crate::host::Host;

/// Walks through the order, some hosts at a time.
pub struct Order {
    strategy: &'static dyn Strategy,
    weights: HashMap<Id<Host>, i64>,
    stage: Stage,
    /// Those that the strategy has named and a sorter puts last.
    late: Vec<Candidate>,
}

enum Stage {
    Early,
    Strategy(Page),
    Late,
    Done,
}

impl Order {
    pub fn of(look: &Look<'_>, strategy: &str) -> Result<Order> {
        let strategy = strategy::of(look.demand, strategy)?;
        let mut weights = HashMap::new();
        // A host that is named leaves nothing to sort.
        let sorters = SORTERS.all().into_iter().filter(|_| look.demand.host.is_none());
        for (host, weight) in sorters.flat_map(|(_, sorter)| sorter.weights(look)) {
            *weights.entry(host).or_default() += weight;
        }
        Ok(Order { strategy, weights, stage: Stage::Early, late: Vec::new() })
    }

    /// The next hosts, of which there may be none; nothing when all were named.
    pub async fn next(&mut self, tx: &mut Tx, demand: &Demand) -> Result<Option<Vec<Candidate>>> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Early => {
                self.stage = Stage::Strategy(Page::first());
                self.early(tx, demand).await.map(Some)
            }
            Stage::Strategy(page) => {
                let hosts = self.strategy.hosts(tx, demand, page).await?;
                self.stage = if page.is_full(&hosts) { Stage::Strategy(page.next()) } else { Stage::Late };
                Ok(Some(self.sort_out(hosts)))
            }
            Stage::Late => Ok(Some(self.last())),
            Stage::Done => Ok(None),
        }
    }

    fn weight(&self, host: Id<Host>) -> i64 {
        self.weights.get(&host).copied().unwrap_or(0)
    }

    async fn early(&self, tx: &mut Tx, demand: &Demand) -> Result<Vec<Candidate>> {
        let mut early: Vec<_> = self.weights.iter().filter(|(_, weight)| **weight < 0).collect();
        early.sort_by_key(|(host, weight)| (**weight, **host));
        let mut hosts = Vec::with_capacity(early.len());
        for (host, _) in early {
            hosts.extend(store::that_host(tx, demand, *host).await?);
        }
        Ok(hosts)
    }

    /// Without those that were tried before, and those that are tried later.
    fn sort_out(&mut self, hosts: Vec<Candidate>) -> Vec<Candidate> {
        let (late, rest) = hosts.into_iter().partition(|candidate| self.weight(candidate.host.uuid) > 0);
        self.late.extend::<Vec<_>>(late);
        rest.into_iter().filter(|candidate: &Candidate| self.weight(candidate.host.uuid) == 0).collect()
    }

    fn last(&mut self) -> Vec<Candidate> {
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|candidate| self.weight(candidate.host.uuid));
        late
    }
}
