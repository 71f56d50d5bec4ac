//! ZQL: questions as text, several at a time, over the same inventories and relations as `q=`.

mod grammar;
mod run;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api;
use crate::api::{Ask, Asked, Route};
use crate::db::Tx;
use crate::error::{Result, codes};
use crate::module::Module;
use crate::query::Viewer;

pub use grammar::{Statement, Verb, read};

pub(crate) fn module() -> Module {
    Module::new("zql").ask::<ZQLQuery>().ask::<BatchQuery>()
}

/// What each statement finds, in their order.
pub async fn answer(tx: &mut Tx, text: &str, viewer: &Viewer) -> Result<Vec<Value>> {
    let mut results = Vec::new();
    // All are understood before the first is asked.
    for statement in read(text)? {
        results.push(run::run(tx, statement, viewer).await?);
    }
    Ok(results)
}

api! {
    ZQLQuery: GET "/zql" {
        zql: String,
    }
}

/// In the order of the statements: each with `inventories`, `total`, `name`, as it asks for them.
#[derive(Serialize, JsonSchema)]
pub struct Results {
    results: Vec<Value>,
}

impl Ask for ZQLQuery {
    const ROUTE: Route = ZQLQuery::ROUTE;
    type Reply = Results;

    async fn answer(self, asked: Asked) -> Result<Results> {
        Ok(Results { results: ask(asked, self.zql).await? })
    }
}

api! {
    /// ZStack takes a script in Groovy here. We run no scripts: it is ZQL whose statements are named.
    BatchQuery: GET "/batch-queries" {
        script: String,
    }
}

/// By the names of the statements.
#[derive(Serialize, JsonSchema)]
pub struct Named {
    result: Map<String, Value>,
}

impl Ask for BatchQuery {
    const ROUTE: Route = BatchQuery::ROUTE;
    type Reply = Named;

    async fn answer(self, asked: Asked) -> Result<Named> {
        let unnamed = || {
            codes::INVALID_ARGUMENT.because(
                "\"script\" is ZQL here, not Groovy: statements with \";\" between them, each \"named as\" something",
            )
        };
        if read(&self.script).map_err(|_| unnamed())?.iter().any(|statement| statement.name.is_none()) {
            return Err(unnamed());
        }
        let mut result = Map::new();
        for mut one in ask(asked, self.script).await? {
            let name = one.as_object_mut().and_then(|members| members.remove("name"));
            result.insert(name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(), one);
        }
        Ok(Named { result })
    }
}

async fn ask(asked: Asked, text: String) -> Result<Vec<Value>> {
    let session = asked.session.ok_or_else(|| codes::INTERNAL.because("a question without a session"))?;
    let read = asked
        .engine
        .db()
        .read_much(move |tx| Box::pin(async move { answer(tx, &text, &Viewer::Client(session)).await }));
    read.await
}
