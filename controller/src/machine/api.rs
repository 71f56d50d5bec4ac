use std::time::Duration;

use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::inventory::{Shown, find, show, shown};
use engine::{Id, Result, Stamp, api, codes};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wire::tls::{self, Role, Token};

use super::{
    Agents, EnrolmentToken, EnrolmentTokenInventory, Machine, MachineInventory, authority, enrolment, store,
};
use crate::validate;

/// A token is for now, not for a drawer.
const TTL: i64 = 3600;
const LONGEST_TTL: i64 = 7 * 24 * 3600;

api! {
    /// The token is told once, in the answer; what is kept of it lets nobody in. An answer that was lost is
    /// lost: make another.
    CreateEnrolmentToken: POST "/enrolment-tokens" "params" {
        name: String,
        roles: Vec<String>,
        /// Seconds.
        ttl: Option<i64>,
    }
}

impl CreateEnrolmentToken {
    fn check(&self) -> Result<Duration> {
        validate::name("name", &self.name)?;
        let roles = enrolment::roles(&self.roles.join(","))?;
        if roles.contains(&Role::Controller) {
            return Err(codes::INVALID_ARGUMENT.because("controllers certify themselves: they need no token"));
        }
        let ttl = self.ttl.unwrap_or(TTL);
        match (1..=LONGEST_TTL).contains(&ttl) {
            true => Ok(Duration::from_secs(ttl.unsigned_abs())),
            false => {
                let details = format!("\"ttl\" must be 1 to {LONGEST_TTL} seconds, not {ttl}");
                Err(codes::INVALID_ARGUMENT.because(details))
            }
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct TokenMade {
    inventory: TokenAndSecret,
}

#[derive(Serialize, JsonSchema)]
struct TokenAndSecret {
    #[serde(flatten)]
    shown: Shown<EnrolmentTokenInventory>,
    token: String,
}

impl Ask for CreateEnrolmentToken {
    const ROUTE: Route = CreateEnrolmentToken::ROUTE;
    type Reply = TokenMade;

    async fn answer(self, asked: Asked) -> Result<TokenMade> {
        let (ttl, engine) = (self.check()?, asked.engine);
        if matches!(engine.of::<Agents>(), Agents::Plain) {
            let details = "this controller speaks with agents in the plain: configure agents = \"certified\"";
            return Err(codes::STATE.because(details));
        }
        let authority = authority::authority(&mut engine.db().read().await?).await?;
        let authority = tls::fingerprint(authority.certificate());
        let authority = authority.map_err(|error| codes::INTERNAL.because(error.to_string()))?;
        let (uuid, secret) = (Id::<EnrolmentToken>::random(), hex::encode(rand::random::<[u8; 32]>()));
        let (hashed, until) = (enrolment::hashed(&secret), Stamp::now().plus(ttl));
        let made = engine.db().write(move |tx| {
            Box::pin(async move {
                store::insert_token(tx, uuid, &self, &hashed, until).await?;
                shown::<EnrolmentTokenInventory>(tx, uuid).await
            })
        });
        let shown = made.await?;
        let token = Token { id: uuid.to_string(), secret, authority }.to_string();
        Ok(TokenMade { inventory: TokenAndSecret { shown, token } })
    }
}

api! {
    DeleteEnrolmentToken: DELETE "/enrolment-tokens/{uuid}" {
        uuid: Id<EnrolmentToken>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteEnrolmentToken {
    const ROUTE: Route = DeleteEnrolmentToken::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::delete_token(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    /// For good, and at once: what the machine has of certificates is worth nothing.
    RevokeMachine: PUT "/machines/{uuid}/actions" "revokeMachine" {
        uuid: Id<Machine>,
    }
}

impl Api for RevokeMachine {
    const ROUTE: Route = RevokeMachine::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let engine = job.engine().clone();
        find::<MachineInventory>(&mut engine.db().read().await?, self.uuid).await?;
        // Here before the job ends; other controllers look within seconds.
        engine.db().write(move |tx| Box::pin(store::revoke(tx, self.uuid))).await?;
        authority::refresh(&engine).await?;
        job.write(move |tx| {
            Box::pin(async move {
                tx.emit("/machine/revoked", self.uuid.cast(), json!({})).await?;
                show::<MachineInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}
