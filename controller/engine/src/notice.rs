//! What controllers tell each other when something is committed: hints of what to look at, never the thing
//! itself. Notices may be lost; who relies on one also looks now and then.

use std::fmt;
use std::str::FromStr;

use crate::flow::FlowView;
use crate::id::Id;

/// One hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The flow has ended or was parked.
    Flow(Id<FlowView>),
    /// An operator wants something of the flow: look at its row.
    Wish(Id<FlowView>),
    /// There is something new in the outbox.
    Event,
    /// A setting was changed.
    Setting,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Flow(id) => write!(f, "flow {id}"),
            Notice::Wish(id) => write!(f, "wish {id}"),
            Notice::Event => f.write_str("event"),
            Notice::Setting => f.write_str("setting"),
        }
    }
}

/// What a newer controller says and this one does not understand.
#[derive(Debug)]
pub(crate) struct Unknown;

impl FromStr for Notice {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let (kind, id) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match kind {
            "flow" => Notice::Flow(id.parse().map_err(|_| Unknown)?),
            "wish" => Notice::Wish(id.parse().map_err(|_| Unknown)?),
            "event" => Notice::Event,
            "setting" => Notice::Setting,
            _ => return Err(Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_back_and_unknown_ones_are_not() {
        let notices =
            [Notice::Flow(Id::random()), Notice::Wish(Id::random()), Notice::Event, Notice::Setting];
        for notice in notices {
            assert_eq!(notice.to_string().parse::<Notice>().unwrap(), notice);
        }
        assert!("weather fine".parse::<Notice>().is_err());
        assert!("flow x".parse::<Notice>().is_err());
    }
}
