//! Roles: what the administrator takes away from accounts. Only statements that deny have an effect, for an
//! account may do what no role denies; those that allow are kept as they come.

use engine::api::{Api, Job, Route, Settled};
use engine::cascade::DeleteMode;
use engine::db::Tx;
use engine::inventory::{Members, attach, find, page_uuids, show};
use engine::{Id, Result, Stamp, api, inventory};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Account;
use super::AccountInventory;
use super::policy::{self, Holder, Policy, Statement};
use super::store::policy as store;
use crate::validate::{self, StateEvent};

/// Marks ids of roles.
#[derive(Debug)]
pub enum Role {}

inventory! {
    /// A role as the API shows it.
    RoleInventory in "role" {
        uuid: Id<Role>,
        account_uuid: Id<Account>,
        name: String,
        description: Option<String>,
        identity: Option<String>,
        r#type: String,
        state: String,
        create_date: Stamp,
        last_op_date: Stamp,
    } fill { statements: Vec<RoleStatement> }
}

/// A statement of a role, and what it is called to be taken away again.
#[derive(Serialize, JsonSchema)]
pub struct RoleStatement {
    uuid: String,
    statement: Statement,
}

impl RoleInventory {
    async fn fill_page(tx: &mut Tx, page: &mut [Members]) -> Result<()> {
        let mut rows = Vec::new();
        for (role, uuid, text) in store::statements(tx, page_uuids(page)).await? {
            rows.push((role, RoleStatement { uuid, statement: serde_json::from_str(&text)? }));
        }
        attach(page, "statements", rows)
    }
}

api! {
    CreateRole: POST "/identities/roles" "params" only admin {
        name: String,
        description: Option<String>,
        statements: Option<Vec<Statement>>,
        policy_uuids: Option<Vec<Id<Policy>>>,
        identity: Option<String>,
        resource_uuid: Option<Id<Role>>,
    }
}

impl Api for CreateRole {
    const ROUTE: Route = CreateRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        policy::check(self.statements.as_deref().unwrap_or_default())?;
        let (uuid, account) = (self.resource_uuid.unwrap_or(job.id().cast()), job.account());
        job.write(move |tx| {
            Box::pin(async move {
                let facts = (self.name.as_str(), self.description.as_deref(), self.identity.as_deref());
                store::insert_role(tx, uuid, account, facts).await?;
                fill(tx, uuid, self.statements, self.policy_uuids).await?;
                show::<RoleInventory>(tx, uuid).await
            })
        })
        .await
    }
}

api! {
    /// Statements and policies, where they are named, take the place of those that it has.
    UpdateRole: PUT "/identities/roles/{uuid}/actions" "updateRole" only admin {
        uuid: Id<Role>,
        name: Option<String>,
        description: Option<String>,
        statements: Option<Vec<Statement>>,
        policy_uuids: Option<Vec<Id<Policy>>>,
    }
}

impl Api for UpdateRole {
    const ROUTE: Route = UpdateRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        policy::check(self.statements.as_deref().unwrap_or_default())?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update_role(tx, self.uuid, self.name.as_deref(), self.description.as_deref()).await?;
                if self.statements.is_some() {
                    store::clear(tx, self.uuid, true).await?;
                }
                if self.policy_uuids.is_some() {
                    store::clear(tx, self.uuid, false).await?;
                }
                fill(tx, self.uuid, self.statements, self.policy_uuids).await?;
                show::<RoleInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

async fn fill(
    tx: &mut Tx,
    role: Id<Role>,
    statements: Option<Vec<Statement>>,
    policies: Option<Vec<Id<Policy>>>,
) -> Result<()> {
    for statement in statements.unwrap_or_default() {
        store::add_statement(tx, role, &serde_json::to_value(statement)?).await?;
    }
    for policy in policies.unwrap_or_default() {
        store::attach(tx, policy, Holder::Role(role)).await?;
    }
    Ok(())
}

api! {
    ChangeRoleState: PUT "/identities/roles/{uuid}/actions" "changeRoleState" only admin {
        uuid: Id<Role>,
        state_event: StateEvent,
    }
}

impl Api for ChangeRoleState {
    const ROUTE: Route = ChangeRoleState::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::set_role_state(tx, self.uuid, self.state_event.state()).await?;
                show::<RoleInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteRole: DELETE "/identities/roles/{uuid}" only admin {
        uuid: Id<Role>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DeleteRole {
    const ROUTE: Route = DeleteRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<RoleInventory>(tx, self.uuid).await?;
                store::delete_role(tx, self.uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    AddPolicyStatementsToRole: POST "/identities/roles/{uuid}/policy-statements" "params" only admin {
        uuid: Id<Role>,
        statements: Vec<Statement>,
    }
}

impl Api for AddPolicyStatementsToRole {
    const ROUTE: Route = AddPolicyStatementsToRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        policy::check(&self.statements)?;
        job.write(move |tx| {
            Box::pin(async move {
                find::<RoleInventory>(tx, self.uuid).await?;
                fill(tx, self.uuid, Some(self.statements), None).await?;
                show::<RoleInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    RemovePolicyStatementsFromRole: DELETE "/identities/roles/{uuid}/policy-statements" only admin {
        uuid: Id<Role>,
        #[serde(deserialize_with = "validate::list")]
        policy_statement_uuids: Vec<String>,
    }
}

impl Api for RemovePolicyStatementsFromRole {
    const ROUTE: Route = RemovePolicyStatementsFromRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                for statement in &self.policy_statement_uuids {
                    store::remove_statement(tx, self.uuid, statement).await?;
                }
                show::<RoleInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    AttachPolicyToRole: POST "/identities/policies/{policyUuid}/roles/{roleUuid}" "params" only admin {
        policy_uuid: Id<Policy>,
        role_uuid: Id<Role>,
    }
}

impl Api for AttachPolicyToRole {
    const ROUTE: Route = AttachPolicyToRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        policy::attach(job, vec![self.policy_uuid], Holder::Role(self.role_uuid)).await
    }
}

api! {
    DetachPolicyFromRole: DELETE "/identities/policies/{policyUuid}/roles/{roleUuid}" only admin {
        policy_uuid: Id<Policy>,
        role_uuid: Id<Role>,
    }
}

impl Api for DetachPolicyFromRole {
    const ROUTE: Route = DetachPolicyFromRole::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        policy::detach(job, vec![self.policy_uuid], Holder::Role(self.role_uuid)).await
    }
}

api! {
    AttachRoleToAccount: POST "/identities/accounts/{accountUuid}/roles/{roleUuid}" "params" only admin {
        account_uuid: Id<Account>,
        role_uuid: Id<Role>,
    }
}

impl Api for AttachRoleToAccount {
    const ROUTE: Route = AttachRoleToAccount::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<RoleInventory>(tx, self.role_uuid).await?;
                find::<AccountInventory>(tx, self.account_uuid).await?;
                store::give(tx, self.role_uuid, self.account_uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}

api! {
    DetachRoleFromAccount: DELETE "/identities/accounts/{accountUuid}/roles/{roleUuid}" only admin {
        account_uuid: Id<Account>,
        role_uuid: Id<Role>,
        delete_mode: Option<DeleteMode>,
    }
}

impl Api for DetachRoleFromAccount {
    const ROUTE: Route = DetachRoleFromAccount::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                store::take(tx, self.role_uuid, self.account_uuid).await?;
                Ok(json!({}))
            })
        })
        .await
    }
}
