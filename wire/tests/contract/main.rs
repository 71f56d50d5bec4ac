//! Both halves of the wire against each other over loopback HTTP, faults included. A test that injects a
//! fault asserts that the fault fired.

mod calling;
mod crashes;
mod fences;
mod kit;
mod protocol;
mod receiver;
mod reporting;
mod secrecy;
mod storage;
