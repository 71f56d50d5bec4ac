use engine::api::{Api, Job, Route, Settled};
use engine::db::Tx;
use engine::query::Query;
use engine::setting::AnySetting;
use engine::{Id, Result, api, codes};
use serde_json::{Value, json};

use super::GlobalConfigInventory;

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
        job.write(move |tx| Box::pin(async move { self.change(tx).await })).await
    }
}

impl UpdateGlobalConfig {
    async fn change(&self, tx: &mut Tx) -> Result<Value> {
        let (engine, known) = (tx.engine(), self.known(tx)?);
        let value = self.value.as_deref().unwrap_or(known.default);
        (known.check)(value).map_err(|error| {
            let (category, name) = (known.category, known.name);
            codes::INVALID_ARGUMENT.because(format!(
                "setting \"{name}\" of \"{category}\" cannot be \"{value}\": {}; it is {}",
                error.details(),
                known.help
            ))
        })?;
        engine.change_setting(tx, known.category, known.name, value).await?;
        let changed = Id::derived(&["setting", known.category, known.name]);
        let payload = json!({ "category": known.category, "name": known.name, "value": value });
        tx.emit("/global-config/updated", changed, payload).await?;
        self.show(tx).await
    }

    fn known(&self, tx: &Tx) -> Result<AnySetting> {
        let engine = tx.engine();
        let all = engine.settings();
        let known = all.iter().find(|s| s.category == self.category && s.name == self.name);
        known.copied().ok_or_else(|| {
            let mut names: Vec<_> =
                all.iter().filter(|s| s.category == self.category).map(|s| s.name).collect();
            names.sort_unstable();
            let hint = match names.is_empty() {
                true => "there is no such category".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            codes::NOT_FOUND
                .because(format!("there is no setting \"{}\" of \"{}\"; {hint}", self.name, self.category))
        })
    }

    async fn show(&self, tx: &mut Tx) -> Result<Value> {
        let conditions = vec![format!("category={}", self.category), format!("name={}", self.name)];
        let query = Query { conditions, ..Query::default() };
        let mut found = query.run::<GlobalConfigInventory>(tx).await?;
        Ok(json!({ "inventory": found.pointer_mut("/inventories/0").map(Value::take) }))
    }
}
