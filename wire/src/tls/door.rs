//! How an agent is entered: by machines with certificates, or, when the operator asks for it by name, by
//! anybody.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Directory, Error, Keeper, Live};

/// What the operator decided. Agents share the keys `listen`, `tls-dir` and `plain-listen`.
#[derive(Clone, Debug)]
pub struct Entrance {
    pub program: &'static str,
    /// Where certified peers come in.
    pub listen: SocketAddr,
    pub tls_dir: PathBuf,
    /// Anybody comes in here, and nobody elsewhere.
    pub plain_listen: Option<SocketAddr>,
}

/// Where an agent listens, and to whom.
#[derive(Clone)]
pub enum Door {
    /// Without TLS, without authentication.
    Plain(SocketAddr),
    Mutual(SocketAddr, Live),
}

impl Entrance {
    /// Reads the identity and keeps it fresh from now on, in the background.
    ///
    /// # Errors
    /// When the machine is not enrolled and nobody asked for a plain listener.
    pub fn open(self) -> Result<Door, Error> {
        if let Some(address) = self.plain_listen {
            let program = self.program;
            tracing::warn!(plain_listen = %address, "{program} SERVES WITHOUT TLS AND WITHOUT AUTHENTICATION, as plain-listen \
                 asks: whoever reaches this address commands this machine");
            return Ok(Door::Plain(address));
        }
        let dir = Directory::new(&self.tls_dir);
        if !dir.is_enrolled() {
            return Err(Error::NotEnrolled { dir: self.tls_dir, program: self.program.into() });
        }
        let keeper = Keeper::open(dir)?;
        let live = keeper.live().clone();
        tokio::spawn(keeper.keep());
        Ok(Door::Mutual(self.listen, live))
    }
}

impl Door {
    pub fn address(&self) -> SocketAddr {
        match self {
            Door::Plain(address) | Door::Mutual(address, _) => *address,
        }
    }

    /// The identity that is shown; none at a plain door.
    pub fn live(&self) -> Option<&Live> {
        match self {
            Door::Plain(_) => None,
            Door::Mutual(_, live) => Some(live),
        }
    }
}
