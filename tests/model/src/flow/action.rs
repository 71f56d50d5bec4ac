//! What can happen, and how a trace tells it.

use std::fmt;

use super::state::{Task, Who};

/// One event; epochs are those under which it happens.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Check(Who, Task, u8),
    Send(Who, Task, u8),
    SendAhead(Who, Task, u8),
    Advance(Who, u8),
    Turn(Who, u8),
    End(Who),
    Lost(Who),
    Renewed(Who, u8),
    Crash(Who),
    Pause(Who),
    Expire(Who),
    RenewLease(Who),
    Adopt(Who, u8),
    Begin(Who, u8),
    GiveUp,
    Connect(u8),
    Accept(Task, u8),
    Attach(Task, u8),
    Repeat(Task, u8),
    Start(Task, u8),
    Refuse(Task, u8),
    Effect(Task, u8),
    Done(Task),
    Fail(Task),
    Restart,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action::*;
        match self {
            Check(who, task, epoch) => {
                write!(f, "{who:?} finds its lease good and is about to send {task} under epoch {epoch}")
            }
            Send(who, task, epoch) => write!(f, "{who:?} sends {task} under epoch {epoch}"),
            SendAhead(who, task, epoch) => {
                write!(f, "{who:?} sends {task} under epoch {epoch} before it is saved")
            }
            Advance(who, epoch) => {
                write!(f, "{who:?} writes the next step, under epoch {epoch}")
            }
            Turn(who, epoch) => write!(f, "{who:?} turns back, under epoch {epoch} from now on"),
            End(who) => write!(f, "{who:?} ends the flow"),
            Lost(who) => write!(f, "{who:?} finds that the flow is another's, and forgets it"),
            Renewed(who, epoch) => {
                write!(f, "{who:?} was told \"stale\", proves its ownership and takes epoch {epoch}")
            }
            Crash(who) => write!(f, "{who:?} is killed and starts again"),
            Pause(who) => write!(f, "{who:?} and its clock stand still until its lease is over"),
            Expire(who) => write!(f, "time passes for {who:?}'s lease"),
            RenewLease(who) => write!(f, "{who:?} renews its lease"),
            Adopt(who, epoch) => write!(f, "{who:?} adopts the flow under epoch {epoch}"),
            Begin(who, epoch) => write!(f, "{who:?} begins the second flow under epoch {epoch}"),
            GiveUp => f.write_str("the flow gives the host up, which was switched off and boots again"),
            Connect(epoch) => write!(f, "the host is connected again, at floor {epoch}"),
            Accept(task, epoch) => write!(f, "the agent accepts {task} under epoch {epoch}"),
            Attach(task, epoch) => {
                write!(f, "the agent knows {task} and goes on with it under epoch {epoch}")
            }
            Repeat(task, epoch) => {
                write!(f, "the agent knows {task}, which arrives again under epoch {epoch}")
            }
            Start(task, epoch) => write!(f, "the agent begins {task} under epoch {epoch}"),
            Refuse(task, epoch) => {
                write!(f, "the agent refuses {task} under epoch {epoch} when its turn comes")
            }
            Effect(task, epoch) => write!(f, "{task} takes effect under epoch {epoch}"),
            Done(task) => write!(f, "{task} is done"),
            Fail(task) => write!(f, "{task} fails"),
            Restart => f.write_str("the agent is killed and starts again"),
        }
    }
}
