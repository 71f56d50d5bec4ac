//! Redfish: `PowerState` of a system, and its action `ComputerSystem.Reset`.

use std::time::Duration;

use engine::boxed;
use engine::{ErrorCode, Result, codes};
use reqwest::{Certificate, Client, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Control, Order, Power};

pub(super) struct Redfish;

/// A management controller is slow, but not that slow.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct System {
    power_state: Option<String>,
}

#[boxed]
impl Power for Redfish {
    async fn is_off(&self, control: &Control) -> Result<bool> {
        let answer = send(control, client(control)?.get(&control.url)).await?;
        let system: System = answer.json().await.map_err(|error| failed(control, &error))?;
        match system.power_state.as_deref() {
            Some("Off") => Ok(true),
            Some("On" | "PoweringOn" | "PoweringOff" | "Paused") => Ok(false),
            state => Err(codes::OPERATION.because(format!(
                "{} does not say whether it is on: PowerState is {}",
                control.url,
                state.unwrap_or("missing")
            ))),
        }
    }

    async fn tell(&self, control: &Control, order: Order) -> Result<()> {
        let word = match order {
            Order::On => "On",
            Order::Off => "ForceOff",
            Order::ShutDown => "GracefulShutdown",
        };
        let url = format!("{}/Actions/ComputerSystem.Reset", control.url.trim_end_matches('/'));
        let reset = client(control)?.post(url).json(&json!({ "ResetType": word }));
        send(control, reset).await.map(|_| ())
    }
}

/// It follows nobody elsewhere: the password is for this one alone.
fn client(control: &Control) -> Result<Client> {
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    let builder = match &control.authority {
        None => builder,
        Some(pem) => builder.tls_certs_only([Certificate::from_pem(pem.as_bytes()).map_err(|error| {
            codes::INVALID_ARGUMENT.because(format!("\"authority\" is no certificate: {error}"))
        })?]),
    };
    builder.build().map_err(|error| failed(control, &error))
}

async fn send(control: &Control, request: RequestBuilder) -> Result<Response> {
    let request = request.basic_auth(&control.username, Some(&control.password));
    let answer = request.send().await.map_err(|error| failed(control, &error))?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(codes::OPERATION.because(format!("{} answers {status}", control.url))),
    }
}

fn failed(control: &Control, error: &reqwest::Error) -> ErrorCode {
    codes::IO.because(format!("{} does not answer as it should: {error}", control.url))
}
