use engine::api::{Ask, Asked, Route};
use engine::{Any, Id, Result, Stamp, api};
use schemars::JsonSchema;
use serde::Serialize;

use super::ManagementNodeInventory;

api! {
    /// Answers when the controller that is asked, or the one that is named, takes calls.
    IsReadyToGo: GET "/management-nodes/ready" {
        management_node_id: Option<Id<Any>>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    management_node_id: Id<Any>,
}

impl Ask for IsReadyToGo {
    const ROUTE: Route = IsReadyToGo::ROUTE;
    const OPEN: bool = true;
    type Reply = Ready;

    async fn answer(self, asked: Asked) -> Result<Ready> {
        let node = match self.management_node_id {
            None => asked.engine.era()?.id.cast(),
            Some(named) => {
                let mut tx = asked.engine.db().read().await?;
                engine::inventory::find::<ManagementNodeInventory>(&mut tx, named).await?.uuid.cast::<Any>()
            }
        };
        Ok(Ready { management_node_id: node })
    }
}

api! {
    IsOpensourceVersion: GET "/meta-data/opensource" {}
}

#[derive(Serialize, JsonSchema)]
pub struct Licence {
    opensource: bool,
}

impl Ask for IsOpensourceVersion {
    const ROUTE: Route = IsOpensourceVersion::ROUTE;
    const OPEN: bool = true;
    type Reply = Licence;

    async fn answer(self, _: Asked) -> Result<Licence> {
        Ok(Licence { opensource: true })
    }
}

api! {
    GetVersion: PUT "/management-nodes/actions" "getVersion" {}
}

#[derive(Serialize, JsonSchema)]
pub struct Version {
    version: &'static str,
}

impl Ask for GetVersion {
    const ROUTE: Route = GetVersion::ROUTE;
    const OPEN: bool = true;
    type Reply = Version;

    async fn answer(self, _: Asked) -> Result<Version> {
        Ok(Version { version: env!("CARGO_PKG_VERSION") })
    }
}

api! {
    /// By the database's clock, in milliseconds and in seconds.
    GetCurrentTime: PUT "/management-nodes/actions" "getCurrentTime" {}
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Now {
    current_time: Time,
}

/// ZStack's words: the first are milliseconds.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
struct Time {
    million_seconds: u64,
    seconds: u64,
}

impl Ask for GetCurrentTime {
    const ROUTE: Route = GetCurrentTime::ROUTE;
    const OPEN: bool = true;
    type Reply = Now;

    async fn answer(self, _: Asked) -> Result<Now> {
        let millis = Stamp::now().millis();
        Ok(Now { current_time: Time { million_seconds: millis, seconds: millis / 1000 } })
    }
}

api! {
    GetManagementNodeArch: PUT "/management-nodes/actions" "getManagementNodeArch" {}
}

#[derive(Serialize, JsonSchema)]
pub struct NodeArchitecture {
    architecture: &'static str,
}

impl Ask for GetManagementNodeArch {
    const ROUTE: Route = GetManagementNodeArch::ROUTE;
    const OPEN: bool = true;
    type Reply = NodeArchitecture;

    async fn answer(self, _: Asked) -> Result<NodeArchitecture> {
        Ok(NodeArchitecture { architecture: std::env::consts::ARCH })
    }
}

api! {
    GetManagementNodeOS: PUT "/management/actions" "getManagementNodeOS" {}
}

#[derive(Serialize, JsonSchema)]
pub struct System {
    name: Option<String>,
    version: Option<String>,
}

impl Ask for GetManagementNodeOS {
    const ROUTE: Route = GetManagementNodeOS::ROUTE;
    const OPEN: bool = true;
    type Reply = System;

    async fn answer(self, _: Asked) -> Result<System> {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(System { name: of_release(&release, "NAME"), version: of_release(&release, "VERSION_ID") })
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

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    support_apis: Vec<&'static str>,
}

impl Ask for GetSupportAPIs {
    const ROUTE: Route = GetSupportAPIs::ROUTE;
    const OPEN: bool = true;
    type Reply = Calls;

    async fn answer(self, asked: Asked) -> Result<Calls> {
        let mut names: Vec<_> = asked.engine.entries().iter().map(|entry| entry.route.name).collect();
        names.sort_unstable();
        Ok(Calls { support_apis: names })
    }
}

api! {
    /// Every moment is told in UTC.
    GetPlatformTimeZone: GET "/management-nodes/platform-timezone" {}
}

#[derive(Serialize, JsonSchema)]
pub struct TimeZone {
    timezone: &'static str,
    offset: &'static str,
}

impl Ask for GetPlatformTimeZone {
    const ROUTE: Route = GetPlatformTimeZone::ROUTE;
    type Reply = TimeZone;

    async fn answer(self, _: Asked) -> Result<TimeZone> {
        Ok(TimeZone { timezone: "UTC", offset: "+00:00" })
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
