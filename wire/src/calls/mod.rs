//! The commands, by area. Paths and member names are ZStack's wherever ZStack has them; what is ours
//! alone says so. Members are camelCase on the wire; unknown ones are ignored, absent ones take their
//! defaults, nulls are never sent.

pub mod console;
pub mod device;
pub mod dhcp;
pub mod guest;
pub mod ha;
pub mod host;
pub mod imagestore;
pub mod inventory;
pub mod localstorage;
pub mod machine;
pub mod migration;
pub mod mount_point;
pub mod network;
pub mod nfs;
pub mod security_group;
pub mod seed;
pub mod snapshot;
pub mod tuning;
pub mod vm;

use serde::{Deserialize, Serialize};

/// A reply without members of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {}

/// `call!(Type, "/path", Async, Acts, Reply)`: declares that `Type` is the command at `/path`.
macro_rules! call {
    ($command:ty, $path:literal, $mode:ident, $effect:ident, $reply:ty) => {
        impl $crate::Call for $command {
            const PATH: &'static str = $path;
            const MODE: $crate::Mode = $crate::Mode::$mode;
            const EFFECT: $crate::Effect = $crate::Effect::$effect;
            type Reply = $reply;
        }
    };
}
pub(crate) use call;

/// `message! { /// docs  Name { field: Type, … } }`: a camelCase struct whose absent members default.
macro_rules! message {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }
        )*
    };
}
pub(crate) use message;
