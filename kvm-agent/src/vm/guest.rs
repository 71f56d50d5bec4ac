//! What is asked of the guest itself. Its agent may be absent, slow or lying: every answer is bounded, and
//! none is taken for more than the guest's word.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use wire::Fault;
use wire::agent::Cx;
use wire::calls::Done;
use wire::calls::guest::{
    ChangePassword, GetToolsInfo, GetToolsState, PasswordChanged, Screenshot, ScreenshotTaken, SetHostname,
    SyncClock, ToolsInfo, ToolsState, Trim,
};

use super::{checked, plug};
use crate::state::Host;

pub async fn change_password(cx: Cx<Host>, cmd: ChangePassword) -> Result<PasswordChanged, Fault> {
    let mut account = cmd.account_perference;
    let uuid = checked(&account.vm_uuid)?;
    let _one = cx.vms.lock(uuid.clone()).await;
    plug::live(&cx, &uuid).await?;
    let password = std::mem::take(&mut account.account_password);
    if password.is_empty() {
        return Err(Fault::new("a password is not empty"));
    }
    cx.libvirt.set_password(&uuid, &account.user_account, &password).await?;
    Ok(PasswordChanged { account_perference: account })
}

pub async fn trim(cx: Cx<Host>, cmd: Trim) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    plug::live(&cx, &uuid).await?;
    cx.libvirt.trim(&uuid).await?;
    Ok(Done {})
}

pub async fn sync_clock(cx: Cx<Host>, cmd: SyncClock) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    plug::live(&cx, &uuid).await?;
    let now = jiff::Timestamp::now().as_nanosecond();
    cx.libvirt.ask_guest(&uuid, command("guest-set-time", json!({ "time": now as i64 }))).await?;
    Ok(Done {})
}

pub async fn set_hostname(cx: Cx<Host>, cmd: SetHostname) -> Result<Done, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    let name = cmd.host_name;
    let sound = !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if !sound {
        return Err(Fault::new(format!(
            "hostname {name:?} is not sound: use letters, digits, dots and hyphens"
        )));
    }
    plug::live(&cx, &uuid).await?;
    let run = json!({ "path": "hostname", "arg": [name], "capture-output": false });
    cx.libvirt.ask_guest(&uuid, command("guest-exec", run)).await?;
    Ok(Done {})
}

pub async fn tools_info(cx: Cx<Host>, cmd: GetToolsInfo) -> Result<ToolsInfo, Fault> {
    let uuid = checked(&cmd.vm_instance_uuid)?;
    plug::live(&cx, &uuid).await?;
    Ok(info(&cx, &uuid).await)
}

pub async fn tools_state(cx: Cx<Host>, cmd: GetToolsState) -> Result<ToolsState, Fault> {
    let mut states = ToolsState::default();
    for uuid in cmd.vm_instance_uuids {
        let info = info(&cx, &checked(&uuid)?).await;
        states.states.insert(uuid, info);
    }
    Ok(states)
}

pub async fn screenshot(cx: Cx<Host>, cmd: Screenshot) -> Result<ScreenshotTaken, Fault> {
    let uuid = checked(&cmd.vm_uuid)?;
    plug::live(&cx, &uuid).await?;
    let (kind, picture) = cx.libvirt.screenshot(&uuid).await?;
    if picture.is_empty() {
        return Err(Fault::new(format!("vm {uuid} has no picture on its screen")));
    }
    let image_data = format!("data:{kind};base64,{}", STANDARD.encode(&picture));
    Ok(ScreenshotTaken { image_data })
}

async fn info(cx: &Cx<Host>, uuid: &str) -> ToolsInfo {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "return")]
        told: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        version: String,
    }
    let answer = cx.libvirt.ask_guest(uuid, command("guest-info", json!({}))).await;
    let answer = answer.ok().and_then(|text| serde_json::from_str::<Answer>(&text).ok());
    match answer {
        Some(answer) => ToolsInfo { version: answer.told.version, status: "Connected".into() },
        None => ToolsInfo { version: String::new(), status: "Disconnected".into() },
    }
}

fn command(name: &str, arguments: serde_json::Value) -> String {
    json!({ "execute": name, "arguments": arguments }).to_string()
}
