//! Opening and ending sessions.

use std::fs;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::client::{Api, Order};
use crate::command::{Globals, Login};
use crate::output;
use crate::session::{self, Session};

const SERVER: &str = "http://127.0.0.1:8080";

pub async fn login(globals: &Globals, login: &Login) -> Result<()> {
    let file = session::path()?;
    let known = || session::load(&file, None).ok().map(|session| session.server);
    let server = globals.server.clone().or_else(known).unwrap_or_else(|| SERVER.into());
    let password = hex::encode(Sha512::digest(password(login, &server)?));
    let body = json!({ "logInByAccount": { "accountName": login.account, "password": password } });
    let order = Order { method: Method::PUT, path: "/accounts/login".into(), body };
    let answer = Api::new(&server, None)?.ask(&order, &[]).await?;
    let session = answer.pointer("/inventory/uuid").and_then(Value::as_str);
    let session = session.context("the answer to the login names no session")?.to_owned();
    session::store(&file, &Session { server: server.clone(), account: login.account.clone(), session })?;
    output::line(&format!("logged in at {server} as {}", login.account))
}

pub async fn logout(globals: &Globals) -> Result<()> {
    let file = session::path()?;
    let session = session::load(&file, globals.server.as_deref())?;
    let path = format!("/accounts/sessions/{}", session.session);
    let api = Api::new(&session.server, Some(session.session))?;
    // The secret goes from this machine even when the server cannot be told.
    session::forget(&file)?;
    api.ask(&Order { method: Method::DELETE, path, body: Value::Null }, &[]).await?;
    output::line("logged out")
}

fn password(login: &Login, server: &str) -> Result<String> {
    let from_file = login.password_file.as_ref().map(|path| {
        let text = fs::read_to_string(path);
        text.with_context(|| format!("password file {} is unreadable", path.display()))
    });
    let password = match (from_file, std::env::var("CUMULET_PASSWORD")) {
        (Some(text), _) => one_line(&text?).to_owned(),
        (None, Ok(password)) => password,
        (None, Err(_)) => rpassword::prompt_password(format!("password of {} at {server}: ", login.account))
            .context("no terminal to ask for the password: use --password-file or CUMULET_PASSWORD")?,
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

fn one_line(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_no_part_of_a_password() {
        for (text, expected) in [("a b \n", "a b "), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n")] {
            assert_eq!(one_line(text), expected);
        }
    }
}
