//! What is being done to something at this moment, and what waits for it: the queues of all controllers, as
//! ZStack's clients know them.

mod api;

use engine::module::Module;

pub fn module() -> Module {
    Module::new("task").ask::<api::GetChainTask>().ask::<api::GetHostTask>().admin().ask::<api::GetVmTask>()
}

#[cfg(test)]
mod tests;
