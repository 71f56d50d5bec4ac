use std::time::Duration;

use engine::api::{Ask, Asked, Route, Session};
use engine::error::Code;
use engine::{Any, Engine, ErrorCode, Id, Result, Stamp, api};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{SESSION_TIMEOUT, password, store};
use crate::validate;

pub const AUTHENTICATION: Code = Code("ID.1000", "the account or its password is wrong");
pub const SESSION: Code = Code("ID.1001", "the session is not valid");

/// A session is prolonged in the database at most this often.
const PROLONG_EVERY: Duration = Duration::from_secs(60);

api! {
    LogInByAccount: PUT "/accounts/login" "logInByAccount" {
        account_name: String,
        password: String,
        account_type: Option<String>,
        captcha_uuid: Option<String>,
        verify_code: Option<String>,
        client_info: Option<Map<String, Value>>,
    }
}

impl Ask for LogInByAccount {
    const ROUTE: Route = LogInByAccount::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, asked: Asked) -> Result<Value> {
        validate::unsupported("captchaUuid", &self.captcha_uuid)?;
        validate::unsupported("verifyCode", &self.verify_code)?;
        let known = store::password(&mut asked.engine.db().read().await?, &self.account_name).await?;
        let right = password::matches(self.password, known.as_ref().map(|(_, hash)| hash.clone())).await?;
        let Some((account, _)) = known.filter(|_| right) else {
            return Err(AUTHENTICATION.because("wrong account name or password"));
        };
        let session = Id::<Any>::random();
        let (now, timeout) = (Stamp::now(), asked.engine.setting(&SESSION_TIMEOUT));
        let (token, until) = (token(session), now.plus(timeout));
        let opened = asked
            .engine
            .db()
            .write(move |tx| Box::pin(async move { store::open(tx, &token, account, until).await }));
        opened.await?;
        Ok(json!({ "inventory": {
            "uuid": session, "accountUuid": account, "userUuid": account,
            "userType": "account", "expiredDate": until, "createDate": now,
        }}))
    }
}

api! {
    LogOut: DELETE "/accounts/sessions/{sessionUuid}" {
        session_uuid: Id<Any>,
        client_info: Option<Map<String, Value>>,
    }
}

impl Ask for LogOut {
    const ROUTE: Route = LogOut::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let token = token(self.session_uuid);
        asked.engine.db().write(move |tx| Box::pin(async move { store::close(tx, &token).await })).await?;
        Ok(json!({}))
    }
}

api! {
    ValidateSession: GET "/accounts/sessions/{sessionUuid}/valid" {
        session_uuid: Id<Any>,
    }
}

impl Ask for ValidateSession {
    const ROUTE: Route = ValidateSession::ROUTE;
    const OPEN: bool = true;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let found = store::session(&mut asked.engine.db().read().await?, &token(self.session_uuid)).await?;
        Ok(json!({ "validSession": found.is_some_and(|(_, until)| until > Stamp::now()) }))
    }
}

pub(super) async fn authenticate(engine: Engine, header: String) -> Result<Session> {
    let Some(named) = header.strip_prefix("OAuth ") else {
        return Err(invalid("send the header \"Authorization: OAuth <session uuid>\"; log in to get one"));
    };
    let uuid: Id<Any> = named.trim().parse().map_err(|_| invalid("the session's uuid is malformed"))?;
    let token = token(uuid);
    let found = store::session(&mut engine.db().read().await?, &token).await?;
    let now = Stamp::now();
    let Some((account, until)) = found.filter(|(_, until)| *until > now) else {
        return Err(invalid("the session is unknown or has expired: log in again"));
    };
    let fresh = now.plus(engine.setting(&SESSION_TIMEOUT));
    if fresh > until.plus(PROLONG_EVERY) {
        engine.db().write(move |tx| Box::pin(async move { store::prolong(tx, &token, fresh).await })).await?;
    }
    Ok(Session { uuid, account: account.cast() })
}

fn invalid(why: &str) -> ErrorCode {
    SESSION.because(why)
}

fn token(session: Id<Any>) -> String {
    hex::encode(Sha256::digest(session.to_string().as_bytes()))
}
