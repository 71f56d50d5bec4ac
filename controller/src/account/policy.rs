//! Policies: what users of an account may do, as statements over the names of calls.
//!
//! An account may do everything that its roles do not deny. A user may look at what its account sees, and
//! do what a policy of the user, or of one of its groups, allows; whatever denies wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::api::{Api, Ask, Asked, Entry, Job, Rights, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{Members, show};
use engine::{Id, Result, Stamp, api, codes, inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Account;
use super::store::policy as store;
use super::user::{User, UserGroup};
use crate::validate;

/// Marks ids of policies.
#[derive(Debug)]
pub enum Policy {}

inventory! {
    /// A policy as the API shows it.
    PolicyInventory in "policy" seen Accounts("account_uuid") {
        uuid: Id<Policy>,
        account_uuid: Id<Account>,
        name: String,
        description: Option<String>,
        statements: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { statements: Vec<Statement> }
}

impl PolicyInventory {
    async fn fill_page(_tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        for members in page {
            let text = members.read::<String>("statements").unwrap_or_else(|| "[]".into());
            members.insert("statements", &serde_json::from_str::<Value>(&text)?)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    Allow,
    Deny,
}

/// What a policy or a role says of some calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub effect: Effect,
    pub actions: Vec<Pattern>,
    /// ZStack's; only absent or empty ones are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

/// Names calls: `instance:CreateVmInstance`, `instance:APICreateVmInstanceMsg`, `CreateVmInstance`,
/// `image:.*`, `.*:Query.*`. `.*` and `*` stand for anything; case does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":.*_-".contains(c);
        match !text.is_empty() && text.len() <= 256 && text.chars().all(plain) {
            true => Ok(Pattern(text)),
            false => Err(format!(
                "\"{text}\" is no action: write names such as instance:StartVmInstance, with .* for anything"
            )),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

impl Pattern {
    /// Whether it names the call `name` of `category`.
    pub fn names(&self, category: &str, name: &str) -> bool {
        let pattern = self.0.to_ascii_lowercase().replace(".*", "*");
        let (category, name) = (category.to_ascii_lowercase(), name.to_ascii_lowercase());
        let message = format!("api{name}msg");
        let subjects = match pattern.contains(':') || pattern == "*" {
            true => [format!("{category}:{name}"), format!("{category}:{message}")],
            false => [name, message],
        };
        subjects.iter().any(|subject| fits(pattern.as_bytes(), subject.as_bytes()))
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// What a session may do.
struct Granted {
    statements: Vec<Statement>,
    /// A user needs to be allowed what it does; an account does not.
    user: bool,
}

/// What every user may do; the call sees to it that it is to itself.
const OWN: &str = "UpdateUser";

impl Rights for Granted {
    fn allow(&self, call: &Entry) -> bool {
        let says = |effect: Effect| {
            let of = self.statements.iter().filter(|statement| statement.effect == effect);
            of.flat_map(|statement| &statement.actions)
                .any(|action| action.names(call.category, call.route.name))
        };
        !says(Effect::Deny) && (!self.user || call.looks() || OWN == call.route.name || says(Effect::Allow))
    }
}

/// The rights of a session; none stands for all.
pub(super) async fn rights(
    tx: &mut Tx,
    account: Id<Account>,
    user: Option<Id<User>>,
    admin: bool,
) -> Result<Option<Arc<dyn Rights>>> {
    if admin && user.is_none() {
        return Ok(None);
    }
    let mut statements = Vec::new();
    for text in store::of_account(tx, account).await? {
        statements.extend(read(&text)?.into_iter().filter(|statement| statement.effect == Effect::Deny));
    }
    if let Some(user) = user {
        for text in store::of_user(tx, user).await? {
            statements.extend(read(&text)?);
        }
    }
    let all = statements.is_empty() && user.is_none();
    Ok((!all).then(|| Arc::new(Granted { statements, user: user.is_some() }) as Arc<dyn Rights>))
}

/// A list of statements, or one.
fn read(text: &str) -> Result<Vec<Statement>> {
    match text.starts_with('[') {
        true => Ok(serde_json::from_str(text)?),
        false => Ok(vec![serde_json::from_str(text)?]),
    }
}

/// Refuses statements that would say something else than they seem to.
pub(super) fn check(statements: &[Statement]) -> Result<()> {
    if statements.iter().any(|statement| statement.actions.is_empty()) {
        return Err(codes::INVALID_ARGUMENT.because("\"statements\": each names at least one action"));
    }
    match statements.iter().any(|statement| !statement.resources.is_empty()) {
        true => {
            Err(codes::UNIMPLEMENTED
                .because("\"resources\" of a statement is not supported yet: leave it out"))
        }
        false => Ok(()),
    }
}

api! {
    CreatePolicy: POST "/accounts/policies" "params" {
        name: String,
        description: Option<String>,
        statements: Vec<Statement>,
        resource_uuid: Option<Id<Policy>>,
    }
}

impl Api for CreatePolicy {
    const ROUTE: Route = CreatePolicy::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        check(&self.statements)?;
        let (uuid, account) = (self.resource_uuid.unwrap_or(job.id().cast()), job.account().cast());
        let statements = serde_json::to_value(&self.statements)?;
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, account, (&self.name, self.description.as_deref()), &statements)
                    .await?;
                show::<PolicyInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    DeletePolicy: DELETE "/accounts/policies/{uuid}" {
        uuid: Id<Policy>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeletePolicy {
    const ROUTE: Route = DeletePolicy::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::delete(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    AttachPolicyToUser: POST "/accounts/users/{userUuid}/policies" "params" changes ["policyUuid"] {
        user_uuid: Id<User>,
        policy_uuid: Id<Policy>,
    }
}

impl Api for AttachPolicyToUser {
    const ROUTE: Route = AttachPolicyToUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        attach(job, vec![self.policy_uuid], Holder::User(self.user_uuid)).await
    }
}

api! {
    AttachPoliciesToUser: POST "/accounts/users/{userUuid}/policy-collection" "params" changes ["policyUuids"] {
        user_uuid: Id<User>,
        policy_uuids: Vec<Id<Policy>>,
    }
}

impl Api for AttachPoliciesToUser {
    const ROUTE: Route = AttachPoliciesToUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        attach(job, self.policy_uuids, Holder::User(self.user_uuid)).await
    }
}

api! {
    DetachPolicyFromUser: DELETE "/accounts/users/{userUuid}/policies/{policyUuid}" {
        user_uuid: Id<User>,
        policy_uuid: Id<Policy>,
    }
}

impl Api for DetachPolicyFromUser {
    const ROUTE: Route = DetachPolicyFromUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        detach(job, vec![self.policy_uuid], Holder::User(self.user_uuid)).await
    }
}

api! {
    DetachPoliciesFromUser: DELETE "/accounts/users/{userUuid}/policies" {
        user_uuid: Id<User>,
        #[serde(deserialize_with = "validate::list")]
        policy_uuids: Vec<Id<Policy>>,
    }
}

impl Api for DetachPoliciesFromUser {
    const ROUTE: Route = DetachPoliciesFromUser::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        detach(job, self.policy_uuids, Holder::User(self.user_uuid)).await
    }
}

api! {
    AttachPolicyToUserGroup: POST "/accounts/groups/{groupUuid}/policies" "params" changes ["policyUuid"] {
        group_uuid: Id<UserGroup>,
        policy_uuid: Id<Policy>,
    }
}

impl Api for AttachPolicyToUserGroup {
    const ROUTE: Route = AttachPolicyToUserGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        attach(job, vec![self.policy_uuid], Holder::Group(self.group_uuid)).await
    }
}

api! {
    DetachPolicyFromUserGroup: DELETE "/accounts/groups/{groupUuid}/policies/{policyUuid}" {
        group_uuid: Id<UserGroup>,
        policy_uuid: Id<Policy>,
    }
}

impl Api for DetachPolicyFromUserGroup {
    const ROUTE: Route = DetachPolicyFromUserGroup::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        detach(job, vec![self.policy_uuid], Holder::Group(self.group_uuid)).await
    }
}

/// What a policy is attached to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder {
    User(Id<User>),
    Group(Id<UserGroup>),
    Role(Id<super::role::Role>),
}

/// A user or group holds policies of its own account only; a role holds any.
pub(super) async fn attach(job: Job, policies: Vec<Id<Policy>>, holder: Holder) -> Result<Settled> {
    job.write(move |tx| {
        Box::pin(async move {
            for policy in policies {
                store::attach(tx, policy, holder).await?;
            }
            Ok(json!({}))
        })
    })
    .await
}

pub(super) async fn detach(job: Job, policies: Vec<Id<Policy>>, holder: Holder) -> Result<Settled> {
    job.write(move |tx| {
        Box::pin(async move {
            for policy in policies {
                store::detach(tx, policy, holder).await?;
            }
            Ok(json!({}))
        })
    })
    .await
}

api! {
    /// Which of these calls the session, or the user, may make: by name, `Allow` or `Deny`.
    CheckApiPermission: PUT "/accounts/permissions/actions" "checkApiPermission" {
        user_uuid: Option<Id<User>>,
        api_names: Vec<String>,
    }
}

/// By the names of calls.
#[derive(Serialize, JsonSchema)]
pub struct Verdicts {
    inventory: BTreeMap<String, Effect>,
}

impl Ask for CheckApiPermission {
    const ROUTE: Route = CheckApiPermission::ROUTE;
    type Reply = Verdicts;

    async fn answer(self, asked: Asked) -> Result<Verdicts> {
        let session = asked.session.ok_or_else(|| codes::INTERNAL.because("asked without a session"))?;
        let (admin, mut granted) = (session.admin, session.rights);
        if let Some(user) = self.user_uuid {
            granted = rights(&mut asked.engine.db().read().await?, session.account.cast(), Some(user), admin)
                .await?;
        }
        let may = |entry: &Entry| {
            (admin || !entry.route.admin) && granted.as_ref().is_none_or(|rights| rights.allow(entry))
        };
        let answer = self.api_names.into_iter().map(|name| {
            let short = name.rsplit('.').next().unwrap_or_default();
            let short = short.strip_prefix("API").unwrap_or(short);
            let short = short.strip_suffix("Msg").unwrap_or(short);
            let entry = asked.engine.entries().iter().find(|entry| entry.route.name == short);
            let allowed = entry.is_some_and(|entry| may(entry));
            (name, if allowed { Effect::Allow } else { Effect::Deny })
        });
        Ok(Verdicts { inventory: answer.collect() })
    }
}

api! {
    /// The calls about a kind of resource that the session may make.
    CheckResourcePermission: GET "/accounts/resource/api-permissions" {
        resource_type: String,
    }
}

impl Ask for CheckResourcePermission {
    const ROUTE: Route = CheckResourcePermission::ROUTE;
    type Reply = Value;

    async fn answer(self, asked: Asked) -> Result<Value> {
        let (engine, session) = (&asked.engine, asked.session);
        let session = session.ok_or_else(|| codes::INTERNAL.because("asked without a session"))?;
        engine::tag::kind_of(engine.schema(), &self.resource_type)?;
        let table = engine.schema().entity(&self.resource_type).map(|entity| entity.table);
        let category =
            engine.entries().iter().find(|entry| entry.table() == table).map(|entry| entry.category);
        let may = |entry: &&Arc<Entry>| {
            let allowed = session.rights.as_ref().is_none_or(|rights| rights.allow(entry));
            Some(entry.category) == category && (session.admin || !entry.route.admin) && allowed
        };
        let names: Vec<_> = engine.entries().iter().filter(may).map(|entry| entry.route.name).collect();
        Ok(json!({ "permissions": names }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_calls_as_zstack_writes_them() {
        let names = |pattern: &str| {
            Pattern::try_from(pattern.to_owned()).unwrap().names("instance", "CreateVmInstance")
        };
        for good in [
            "instance:CreateVmInstance",
            "instance:createvminstance",
            "instance:APICreateVmInstanceMsg",
            "instance:.*",
            ".*",
            "*",
            "CreateVmInstance",
            "Create*",
            ".*:Create.*Instance",
        ] {
            assert!(names(good), "{good}");
        }
        for bad in ["image:.*", "instance:CreateVm", "instance:DestroyVmInstance", "VmInstance", "Query.*"] {
            assert!(!names(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_not_guessed() {
        for wrong in ["", "instance:(Start|Stop)VmInstance", "[a-z]+", "a b"] {
            assert!(Pattern::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
