//! Settings for some resources only, as ZStack's clients know them: resource configs.

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{Members, find, present, show};
use engine::setting::AnySetting;
use engine::{Any, Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::store::{Author, Change};
use crate::validate;

/// Marks ids of values for resources.
#[derive(Debug)]
pub enum ResourceConfig {}

inventory! {
    /// A setting's value for one resource, as the API shows it.
    ResourceConfigInventory in "resource_config" {
        uuid: Id<ResourceConfig>,
        resource_uuid: Id<Any>,
        resource_type: String,
        category: String,
        name: String,
        value: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { description: String }
}

impl ResourceConfigInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let engine = tx.engine();
        for members in page {
            let text = |name| members.read::<String>(name).unwrap_or_default();
            let known = engine.known_setting(&text("category"), &text("name"));
            members.insert("description", known.map_or("", |known| known.help))?;
        }
        Ok(())
    }
}

/// What one setting is for a resource: `effectiveConfigs` are its values there and above, the first of which
/// holds; when there is none, the whole cloud's does.
async fn effective(tx: &mut Tx, setting: &AnySetting, resource: Id<Any>) -> Result<Value> {
    let bound = setting.bound(tx, resource).await?;
    let engine = tx.engine();
    let whole = engine.setting_text(setting.category, setting.name);
    let whole = whole.unwrap_or_else(|| setting.default.to_owned());
    let mut rows: Vec<ResourceConfigInventory> = Vec::with_capacity(bound.len());
    for one in &bound {
        rows.push(find(tx, one.uuid).await?);
    }
    let value = bound.into_iter().next().map_or(whole, |nearest| nearest.value);
    Ok(json!({ "value": value, "effectiveConfigs": present(tx, &rows).await? }))
}

api! {
    GetResourceConfig: GET "/resource-configurations/{resourceUuid}/{category}/{name}" {
        resource_uuid: Id<Any>,
        category: String,
        name: String,
    }
}

impl Ask for GetResourceConfig {
    const ROUTE: Route = GetResourceConfig::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let setting = asked.engine.known_setting(&self.category, &self.name)?;
        effective(&mut asked.engine.db().read().await?, &setting, self.resource_uuid).await
    }
}

api! {
    GetResourceConfigs: GET "/resource-configurations/{resourceUuid}/{category}" {
        resource_uuid: Id<Any>,
        category: String,
        #[serde(deserialize_with = "validate::list")]
        names: Vec<String>,
    }
}

impl Ask for GetResourceConfigs {
    const ROUTE: Route = GetResourceConfigs::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut tx = asked.engine.db().read().await?;
        let mut configs = Vec::with_capacity(self.names.len());
        for name in self.names {
            let setting = asked.engine.known_setting(&self.category, &name)?;
            let mut shown = effective(&mut tx, &setting, self.resource_uuid).await?;
            shown["name"] = name.into();
            configs.push(shown);
        }
        Ok(json!({ "configs": configs }))
    }
}

api! {
    /// The settings that can be set for resources, and for which kinds.
    GetResourceBindableConfig: GET "/resource-configurations/bindable" {
        category: Option<String>,
    }
}

impl Ask for GetResourceBindableConfig {
    const ROUTE: Route = GetResourceBindableConfig::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let wanted = |setting: &&AnySetting| {
            let of = self.category.as_deref().is_none_or(|category| category == setting.category);
            of && !setting.levels.is_empty()
        };
        let shown = asked.engine.settings().iter().filter(wanted).map(|setting| {
            let kinds: Vec<_> = setting.levels.iter().map(|level| format!("{}VO", level.kind)).collect();
            json!({ "category": setting.category, "name": setting.name, "description": setting.help,
                "bindResourceTypes": kinds })
        });
        Ok(json!({ "bindableConfigs": shown.collect::<Vec<_>>() }))
    }
}

async fn bind(
    tx: &mut Tx,
    author: Author,
    resource: Id<Any>,
    (category, name, value): (&str, &str, &str),
) -> Result<Id<Any>> {
    let setting = tx.engine().known_setting(category, name)?;
    let (old, uuid) = setting.bind(tx, resource, value).await?;
    let change =
        Change { setting: &setting, resource: Some(resource), old: old.as_deref(), new: Some(value) };
    author.remember(tx, change).await?;
    let payload = json!({ "category": category, "name": name, "value": value });
    tx.emit("/resource-config/updated", resource, payload).await?;
    Ok(uuid)
}

api! {
    UpdateResourceConfig: PUT "/resource-configurations/{category}/{name}/{resourceUuid}/actions" "updateResourceConfig" {
        category: String,
        name: String,
        resource_uuid: Id<Any>,
        value: String,
    }
}

impl Api for UpdateResourceConfig {
    const ROUTE: Route = UpdateResourceConfig::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let author = Author::of(&job);
        job.write(move |tx| {
            Box::pin(async move {
                let what = (self.category.as_str(), self.name.as_str(), self.value.as_str());
                let uuid = bind(tx, author, self.resource_uuid, what).await?;
                show::<ResourceConfigInventory>(tx, uuid).await
            })
        })
        .await
    }
}

/// One of several values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "WantedConfig")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    category: String,
    name: String,
    value: String,
}

api! {
    /// All of them, or none.
    UpdateResourceConfigs: POST "/resource-configurations/{resourceUuid}/resource-configs/actions" "params" {
        resource_uuid: Id<Any>,
        resource_configs: Vec<Wanted>,
    }
}

impl Api for UpdateResourceConfigs {
    const ROUTE: Route = UpdateResourceConfigs::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        if self.resource_configs.is_empty() {
            return Err(validate::missing("\"resourceConfigs\" must name at least one setting"));
        }
        let author = Author::of(&job);
        job.write(move |tx| {
            Box::pin(async move {
                let mut rows: Vec<ResourceConfigInventory> = Vec::new();
                for Wanted { category, name, value } in &self.resource_configs {
                    let uuid = bind(tx, author, self.resource_uuid, (category, name, value)).await?;
                    rows.push(find(tx, uuid).await?);
                }
                Ok(json!({ "inventories": present(tx, &rows).await? }))
            })
        })
        .await
    }
}

api! {
    /// From then on what is set above holds.
    DeleteResourceConfig: DELETE "/resource-configurations/{category}/{name}/{resourceUuid}" {
        category: String,
        name: String,
        resource_uuid: Id<Any>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteResourceConfig {
    const ROUTE: Route = DeleteResourceConfig::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let author = Author::of(&job);
        job.write(move |tx| Box::pin(async move { self.unbind(tx, author).await })).await
    }
}

impl DeleteResourceConfig {
    async fn unbind(&self, tx: &mut Tx, author: Author) -> Result<Value> {
        let setting = tx.engine().known_setting(&self.category, &self.name)?;
        let resource = self.resource_uuid;
        let Some(old) = setting.unbind(tx, resource).await? else {
            let (category, name) = (&self.category, &self.name);
            let details = format!("setting \"{name}\" of \"{category}\" is not set for {resource} itself");
            return Err(codes::NOT_FOUND.because(details));
        };
        let change = Change { setting: &setting, resource: Some(resource), old: Some(&old), new: None };
        author.remember(tx, change).await?;
        let payload = json!({ "category": self.category, "name": self.name });
        tx.emit("/resource-config/updated", resource, payload).await?;
        Ok(json!({}))
    }
}
