//! The load: clients that walk at random over what each of them owns, and a prober that asks all controllers.

pub mod client;
pub mod history;
pub mod prober;
pub mod request;

use std::sync::Arc;

use cumulet_tests::site::Site;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use client::{Client, Owned};
use history::History;
use request::Door;

/// Everything that clients work with.
pub struct Load {
    pub door: Arc<Door>,
    pub history: Arc<History>,
    clients: Vec<JoinHandle<Vec<Owned>>>,
    stop: CancellationToken,
}

impl Load {
    pub fn begin(door: Door, history: History, site: &Site, clients: usize, dice: &Dice) -> Load {
        let (door, history, stop) = (Arc::new(door), Arc::new(history), CancellationToken::new());
        let clients = (0..clients).map(|number| {
            let dice = dice.fork(1000 + number as u64);
            let (door, history) = (Arc::clone(&door), Arc::clone(&history));
            let client = Client::new(number, dice, door, history, site.clone());
            tokio::spawn(client.walk(stop.clone()))
        });
        Load { clients: clients.collect(), door, history, stop }
    }

    /// Lets every client end what it does; what they own, and what should be true of it.
    pub async fn end(self) -> anyhow::Result<Vec<Owned>> {
        self.stop.cancel();
        let mut owned = Vec::new();
        for client in self.clients {
            owned.extend(client.await?);
        }
        Ok(owned)
    }
}
