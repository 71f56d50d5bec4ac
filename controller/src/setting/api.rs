use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::db::Tx;
use engine::query::Query;
use engine::setting::{AnySetting, Options};
use engine::{Id, Result, api};
use serde_json::{Value, json};

use super::GlobalConfigInventory;
use super::store::{self, Author, Change};

api! {
    /// Without a value the setting goes back to its default.
    UpdateGlobalConfig: PUT "/global-configurations/{category}/{name}/actions" "updateGlobalConfig" {
        category: String,
        name: String,
        value: Option<String>,
    }
}

impl Api for UpdateGlobalConfig {
    const ROUTE: Route = UpdateGlobalConfig::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let author = Author::of(&job);
        job.write(move |tx| {
            Box::pin(async move {
                let known = tx.engine().known_setting(&self.category, &self.name)?;
                change(tx, author, &known, self.value.as_deref()).await?;
                self.show(tx).await
            })
        })
        .await
    }
}

async fn change(tx: &mut Tx, author: Author, known: &AnySetting, value: Option<&str>) -> Result<()> {
    let (engine, value) = (tx.engine(), value.unwrap_or(known.default));
    known.must_take(value)?;
    let before = engine.setting_text(known.category, known.name);
    engine.change_setting(tx, known.category, known.name, value).await?;
    let old = before.as_deref().unwrap_or(known.default);
    author.remember(tx, Change { setting: known, resource: None, old: Some(old), new: Some(value) }).await?;
    let changed = Id::derived(&["setting", known.category, known.name]);
    let payload = json!({ "category": known.category, "name": known.name, "value": value });
    tx.emit("/global-config/updated", changed, payload).await
}

impl UpdateGlobalConfig {
    async fn show(&self, tx: &mut Tx) -> Result<Value> {
        let conditions = vec![format!("category={}", self.category), format!("name={}", self.name)];
        let query = Query { conditions, ..Query::default() };
        let answer = query.run::<GlobalConfigInventory>(tx).await?;
        Ok(json!({ "inventory": answer.first() }))
    }
}

api! {
    /// All of them go back to their defaults; what is set for resources stays.
    ResetGlobalConfig: PUT "/global-configurations/actions" "resetGlobalConfig" {}
}

impl Api for ResetGlobalConfig {
    const ROUTE: Route = ResetGlobalConfig::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let author = Author::of(&job);
        job.write(move |tx| {
            Box::pin(async move {
                for (category, name) in store::changed(tx).await? {
                    // One of a newer or an older controller stays as it is.
                    let Ok(known) = tx.engine().known_setting(&category, &name) else { continue };
                    if tx.engine().setting_text(&category, &name).as_deref() != Some(known.default) {
                        change(tx, author, &known, None).await?;
                    }
                }
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// What a setting may be: `validValue`, or the first and the last number.
    GetGlobalConfigOptions: GET "/global-configurations/{category}/{name}" {
        category: String,
        name: String,
    }
}

impl Ask for GetGlobalConfigOptions {
    const ROUTE: Route = GetGlobalConfigOptions::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let known = asked.engine.known_setting(&self.category, &self.name)?;
        let options = match known.options {
            Options::Any => json!({}),
            Options::OneOf(words) => json!({ "validValue": words }),
            Options::Within(low, high) => {
                json!({ "numberGreaterThanOrEqual": low, "numberLessThanOrEqual": high })
            }
        };
        Ok(json!({ "options": options }))
    }
}
