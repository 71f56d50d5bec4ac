//! What the plugin's controller and agent say to each other, as the document has it.

#[path = "../../docs/examples/l2-plugin/src/gre/calls.rs"]
pub mod calls;
