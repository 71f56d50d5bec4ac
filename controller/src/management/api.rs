use engine::api::{Ask, Asked, Route};
use engine::{Any, Id, Result, Stamp, api};
use serde_json::{Value, json};

use super::ManagementNodeInventory;

api! {
    /// Answers when the controller that is asked, or the one that is named, takes calls.
    IsReadyToGo: GET "/management-nodes/ready" {
        management_node_id: Option<Id<Any>>,
    }
}

impl Ask for IsReadyToGo {
    const ROUTE: Route = IsReadyToGo::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let node = match self.management_node_id {
            None => asked.engine.era()?.id.cast(),
            Some(named) => {
                let mut tx = asked.engine.db().read().await?;
                engine::inventory::find::<ManagementNodeInventory>(&mut tx, named).await?.uuid.cast::<Any>()
            }
        };
        Ok(json!({ "managementNodeId": node }))
    }
}

api! {
    GetVersion: PUT "/management-nodes/actions" "getVersion" {}
}

impl Ask for GetVersion {
    const ROUTE: Route = GetVersion::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, _: Asked) -> Result<Value> {
        Ok(json!({ "version": env!("CARGO_PKG_VERSION") }))
    }
}

api! {
    /// By the database's clock, in milliseconds and in seconds.
    GetCurrentTime: PUT "/management-nodes/actions" "getCurrentTime" {}
}

impl Ask for GetCurrentTime {
    const ROUTE: Route = GetCurrentTime::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, _: Asked) -> Result<Value> {
        let millis = Stamp::now().millis();
        Ok(json!({ "currentTime": { "MillionSeconds": millis, "Seconds": millis / 1000 } }))
    }
}

api! {
    GetManagementNodeArch: PUT "/management-nodes/actions" "getManagementNodeArch" {}
}

impl Ask for GetManagementNodeArch {
    const ROUTE: Route = GetManagementNodeArch::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, _: Asked) -> Result<Value> {
        Ok(json!({ "architecture": std::env::consts::ARCH }))
    }
}

api! {
    GetManagementNodeOS: PUT "/management/actions" "getManagementNodeOS" {}
}

impl Ask for GetManagementNodeOS {
    const ROUTE: Route = GetManagementNodeOS::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, _: Asked) -> Result<Value> {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(json!({ "name": of_release(&release, "NAME"), "version": of_release(&release, "VERSION_ID") }))
    }
}

/// A value of os-release(5).
fn of_release(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

api! {
    /// The names of all calls that there are.
    GetSupportAPIs: PUT "/management-nodes/actions" "getSupportAPIs" {}
}

impl Ask for GetSupportAPIs {
    const ROUTE: Route = GetSupportAPIs::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let mut names: Vec<_> = asked.engine.entries().iter().map(|entry| entry.route.name).collect();
        names.sort_unstable();
        Ok(json!({ "supportApis": names }))
    }
}

api! {
    /// Every moment is told in UTC.
    GetPlatformTimeZone: GET "/management-nodes/platform-timezone" {}
}

impl Ask for GetPlatformTimeZone {
    const ROUTE: Route = GetPlatformTimeZone::ROUTE;

    async fn answer(self, _: Asked) -> Result<Value> {
        Ok(json!({ "timezone": "UTC", "offset": "+00:00" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let text = "PRETTY_NAME=\"Debian 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=12\n";
        assert_eq!(of_release(text, "NAME").as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(of_release(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(of_release(text, "ID"), None);
    }
}
