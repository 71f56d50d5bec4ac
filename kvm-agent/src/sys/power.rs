//! Ends the machine, in order.

use host::process::{Error, program};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reboot,
    PowerOff,
}

/// systemd stops all services, this agent among them, and returns before it does.
pub async fn end(end: End) -> Result<(), Error> {
    let word = match end {
        End::Reboot => "reboot",
        End::PowerOff => "poweroff",
    };
    program("systemctl").args(["--no-block", word]).run().await.map(drop)
}
