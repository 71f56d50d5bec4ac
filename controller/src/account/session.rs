use std::time::Duration;

use engine::api::{Ask, Asked, Credentials, Done, Route, Session};
use engine::db::Tx;
use engine::error::Code;
use engine::inventory::find;
use engine::{Any, Engine, ErrorCode, Id, Result, Stamp, api, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::login::Attempt;
use super::store::{self, Opened};
use super::user::User;
use super::{Account, AccountInventory, SESSION_TIMEOUT, SESSIONS, password, policy, signature};
use crate::validate;

pub const CROWDED: Code = Code("ID.1005", "the account has too many sessions");

/// A session is prolonged in the database at most this often.
const PROLONG_EVERY: Duration = Duration::from_secs(60);

/// What a client presents for a session: no resource that one may see or not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Ticket(String);

impl Ticket {
    /// What is kept of it.
    fn token(&self) -> String {
        hex::encode(Sha256::digest(self.0.trim().to_ascii_lowercase().as_bytes()))
    }
}

/// The reply that opens or prolongs a session.
#[derive(Serialize, JsonSchema)]
pub struct Opening {
    inventory: SessionInventory,
}

/// A session as the API shows it, to who opened it. `userUuid` is the account's when no user logged in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionInventory {
    uuid: String,
    account_uuid: Id<Account>,
    user_uuid: Id<Any>,
    user_type: &'static str,
    expired_date: Stamp,
    create_date: Stamp,
}

/// Who has proven to be whom.
#[derive(Clone, Copy)]
struct Known {
    account: Id<Account>,
    user: Option<Id<User>>,
}

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
    type Reply = Opening;

    async fn answer(self, asked: Asked) -> Result<Opening> {
        validate::unsupported("captchaUuid", &self.captcha_uuid)?;
        validate::unsupported("verifyCode", &self.verify_code)?;
        let attempt = Attempt::new(self.account_name.clone(), asked.address);
        let known = store::password(&mut asked.engine.db().read().await?, &self.account_name).await?;
        let hash = known.as_ref().map(|(_, hash)| hash.clone());
        let right = judge(&asked.engine, &attempt, self.password, hash).await?;
        match known.filter(|_| right) {
            Some((account, _)) => open(asked.engine, attempt, Known { account, user: None }).await,
            None => Err(codes::AUTHENTICATION.because("wrong account name or password")),
        }
    }
}

api! {
    /// By an account's name; there is no other `loginType`.
    LogIn: PUT "/login" "logIn" {
        username: String,
        password: String,
        login_type: String,
        captcha_uuid: Option<String>,
        verify_code: Option<String>,
        client_info: Option<Map<String, Value>>,
    }
}

impl Ask for LogIn {
    const ROUTE: Route = LogIn::ROUTE;
    const OPEN: bool = true;
    type Reply = Opening;

    async fn answer(self, asked: Asked) -> Result<Opening> {
        if !self.login_type.eq_ignore_ascii_case("account") {
            let details = format!("\"loginType\" \"{}\" is not known: use \"account\"", self.login_type);
            return Err(codes::INVALID_ARGUMENT.because(details));
        }
        let LogIn { username: account_name, password, captcha_uuid, verify_code, client_info, .. } = self;
        let account_type = None;
        LogInByAccount { account_name, password, account_type, captcha_uuid, verify_code, client_info }
            .answer(asked)
            .await
    }
}

api! {
    LogInByUser: PUT "/accounts/users/login" "logInByUser" {
        account_uuid: Option<Id<Account>>,
        account_name: Option<String>,
        user_name: String,
        password: String,
        client_info: Option<Map<String, Value>>,
    }
}

impl Ask for LogInByUser {
    const ROUTE: Route = LogInByUser::ROUTE;
    const OPEN: bool = true;
    type Reply = Opening;

    async fn answer(self, asked: Asked) -> Result<Opening> {
        let of = match (self.account_uuid, &self.account_name) {
            (Some(uuid), _) => uuid.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => {
                return Err(validate::missing("\"accountUuid\" or \"accountName\" must be given"));
            }
        };
        let attempt = Attempt::new(format!("{of}/{}", self.user_name), asked.address);
        let known = store::user::password(&mut asked.engine.db().read().await?, &of, &self.user_name).await?;
        let hash = known.as_ref().map(|user| user.password.clone());
        let right = judge(&asked.engine, &attempt, self.password, hash).await?;
        match known.filter(|_| right) {
            Some(user) => {
                let known = Known { account: user.account_uuid, user: Some(user.uuid) };
                open(asked.engine, attempt, known).await
            }
            None => Err(codes::AUTHENTICATION.because("wrong account, user name or password")),
        }
    }
}

api! {
    LogOut: DELETE "/accounts/sessions/{sessionUuid}" {
        session_uuid: Ticket,
        client_info: Option<Map<String, Value>>,
    }
}

impl Ask for LogOut {
    const ROUTE: Route = LogOut::ROUTE;
    const OPEN: bool = true;
    type Reply = Done;

    async fn answer(self, asked: Asked) -> Result<Done> {
        let token = self.session_uuid.token();
        asked.engine.db().write(move |tx| Box::pin(async move { store::close(tx, &token).await })).await?;
        Ok(Done {})
    }
}

api! {
    ValidateSession: GET "/accounts/sessions/{sessionUuid}/valid" {
        session_uuid: Ticket,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    valid_session: bool,
}

impl Ask for ValidateSession {
    const ROUTE: Route = ValidateSession::ROUTE;
    const OPEN: bool = true;
    type Reply = Validity;

    async fn answer(self, asked: Asked) -> Result<Validity> {
        let token = self.session_uuid.token();
        let found = store::session(&mut asked.engine.db().read().await?, &token).await?;
        Ok(Validity { valid_session: found.is_some_and(|session| session.expired_date > Stamp::now()) })
    }
}

api! {
    /// Prolongs a session of one's own by so many seconds from now, at most by a day. It is answered at once, so
    /// that no job keeps what a session is opened with.
    RenewSession: PUT "/accounts/sessions/{sessionUuid}/renew" "renewSession" {
        session_uuid: Ticket,
        duration: Option<i64>,
    }
}

/// The longest that a session can be prolonged by asking, seconds.
const LONGEST: i64 = 86_400;

impl Ask for RenewSession {
    const ROUTE: Route = RenewSession::ROUTE;
    type Reply = Opening;

    async fn answer(self, asked: Asked) -> Result<Opening> {
        let default = i64::try_from(asked.engine.setting(&SESSION_TIMEOUT).as_secs()).unwrap_or(LONGEST);
        let seconds = self.duration.unwrap_or(default);
        validate::within("duration", seconds, 1..=LONGEST.max(default))?;
        let until = Stamp::now().plus(Duration::from_secs(seconds.unsigned_abs()));
        let (session, token) = (asked.session, self.session_uuid.token());
        let renewed = asked.engine.db().write(move |tx| {
            Box::pin(async move {
                let own = |found: &Opened| {
                    session.is_some_and(|session| {
                        session.account == found.account_uuid.cast()
                            && session.user == found.user_uuid.map(Id::cast)
                    })
                };
                let found = live(tx, &token).await?.filter(own);
                let found = found.ok_or_else(|| invalid("the session is unknown or has expired"))?;
                store::prolong(tx, &token, until).await?;
                Ok(found)
            })
        });
        let found = renewed.await?;
        let known = Known { account: found.account_uuid, user: found.user_uuid };
        Ok(shown(self.session_uuid.0, known, until, found.create_date))
    }
}

/// What an account, or one of its users, may do when its call makes another.
pub async fn acting(tx: &mut Tx, account: Id<Any>, user: Option<Id<Any>>) -> Result<Session> {
    let known: AccountInventory = find(tx, account).await?;
    let admin = known.r#type == "SystemAdmin";
    let rights = policy::rights(tx, known.uuid, user.map(Id::cast), admin).await?;
    Ok(Session { token: String::new(), account, user, admin, rights })
}

/// Finds who is meant by the header `Authorization`.
pub(super) async fn authenticate(engine: Engine, credentials: Credentials) -> Result<Session> {
    let header = credentials.authorization.as_str();
    if header.starts_with("ZStack ") {
        return signature::authenticate(&engine, &credentials).await;
    }
    let Some(named) = header.strip_prefix("OAuth ") else {
        return Err(invalid("send the header \"Authorization: OAuth <session uuid>\"; log in to get one"));
    };
    let uuid: Id<Any> = named.trim().parse().map_err(|_| invalid("the session's uuid is malformed"))?;
    let token = Ticket(uuid.to_string()).token();
    let mut tx = engine.db().read().await?;
    let Some(found) = live(&mut tx, &token).await? else {
        return Err(invalid("the session is unknown or has expired: log in again"));
    };
    let admin = found.account_type == "SystemAdmin";
    let rights = policy::rights(&mut tx, found.account_uuid, found.user_uuid, admin).await?;
    drop(tx);
    prolong(&engine, &token, found.expired_date).await?;
    let user = found.user_uuid.map(Id::cast);
    Ok(Session { token, account: found.account_uuid.cast(), user, admin, rights })
}

async fn live(tx: &mut Tx, token: &str) -> Result<Option<Opened>> {
    let now = Stamp::now();
    Ok(store::session(tx, token).await?.filter(|found| found.expired_date > now))
}

/// Each use prolongs a session.
async fn prolong(engine: &Engine, token: &str, until: Stamp) -> Result<()> {
    let fresh = Stamp::now().plus(engine.setting(&SESSION_TIMEOUT));
    if fresh <= until.plus(PROLONG_EVERY) {
        return Ok(());
    }
    let token = token.to_owned();
    engine.db().write(move |tx| Box::pin(async move { store::prolong(tx, &token, fresh).await })).await
}

/// Whether the password is right; when it is not, that is written down before the next one is judged.
async fn judge(engine: &Engine, attempt: &Attempt, secret: String, hash: Option<String>) -> Result<bool> {
    let turn = password::turn().await;
    attempt.check(&mut engine.db().read().await?).await?;
    let (_turn, right) = password::judge(turn, secret, hash).await?;
    if !right {
        let failed = attempt.clone();
        engine.db().write(move |tx| Box::pin(async move { failed.failed(tx).await })).await?;
    }
    Ok(right)
}

async fn open(engine: Engine, attempt: Attempt, known: Known) -> Result<Opening> {
    let (session, now) = (Id::<Any>::random(), Stamp::now());
    let until = now.plus(engine.setting(&SESSION_TIMEOUT));
    let opened = engine.db().write(move |tx| {
        Box::pin(async move {
            attempt.succeeded(tx).await?;
            let most = tx.engine().setting(&SESSIONS);
            if store::count(tx, known.account).await? >= most {
                let details = format!(
                    "the account has {most} sessions already: log out of one, or wait until one expires"
                );
                return Err(CROWDED.because(details));
            }
            let token = Ticket(session.to_string()).token();
            store::open(tx, &token, known.account, known.user, until).await
        })
    });
    opened.await?;
    Ok(shown(session.to_string(), known, until, now))
}

fn shown(uuid: String, known: Known, until: Stamp, since: Stamp) -> Opening {
    let inventory = SessionInventory {
        uuid,
        account_uuid: known.account,
        user_uuid: known.user.map_or_else(|| known.account.cast(), Id::cast),
        user_type: if known.user.is_some() { "user" } else { "account" },
        expired_date: until,
        create_date: since,
    };
    Opening { inventory }
}

pub(super) fn invalid(why: &str) -> ErrorCode {
    codes::SESSION.because(why)
}
