mod tenants;

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::scope::Scope;
use engine::{Id, Stamp, args, codes, quota};
use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use super::login::Attempt;
use super::store;
use crate::config::Ports;
use crate::testing::{Client, Cloud, sha512};

fn uuid(inventory: &Value) -> String {
    inventory["uuid"].as_str().unwrap().to_owned()
}

fn offering(name: &str) -> Value {
    json!({ "name": name, "cpuNum": 1, "memorySize": 1 << 30 })
}

#[tokio::test]
async fn an_account_lives_from_its_creation_to_its_deletion() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("blue").await;
    let plain = cloud.create("/accounts", json!({ "name": "x", "password": "secret" })).await.unwrap_err();
    assert!(plain.details.contains("SHA-512"), "{}", plain.details);
    assert!(cloud.create("/accounts", json!({ "name": "blue", "password": sha512("x") })).await.is_err());
    let own = tenant.create("/instance-offerings", offering("own")).await.unwrap();
    assert_eq!(tenant.list("/accounts").await.len(), 1, "an account sees itself alone");
    let refused =
        tenant.create("/accounts", json!({ "name": "y", "password": sha512("y") })).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (403, "ID.1002"));

    cloud.delete(&format!("/accounts/{account}")).await.unwrap();
    assert_eq!(cloud.get(&format!("/instance-offerings/{}", uuid(&own))).await.unwrap_err().status, 404);
    assert_eq!(tenant.get("/zones").await.unwrap_err().status, 401);
    assert_eq!(tenant.login("blue", "blue").await.err().unwrap().code, "ID.1000");
    assert!(cloud.delete(&format!("/accounts/{}", super::ADMIN)).await.is_err());
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_only() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("blue").await;
    let other = tenant.login("blue", "blue").await.unwrap();
    let change =
        |old: &str| json!({ "updateAccount": { "password": sha512("new"), "oldPassword": sha512(old) } });
    let path = format!("/accounts/{account}");
    assert_eq!(tenant.call(Method::PUT, &path, change("wrong")).await.unwrap_err().code, "ID.1000");
    tenant.call(Method::PUT, &path, change("blue")).await.unwrap();
    tenant.get("/zones").await.unwrap();
    assert_eq!(other.get("/zones").await.unwrap_err().status, 401);
    assert!(tenant.login("blue", "blue").await.is_err());
    tenant.login("blue", "new").await.unwrap();
}

#[tokio::test]
async fn sessions_are_counted_renewed_and_ended() {
    let cloud = Cloud::start(Ports::default()).await;
    let (_, tenant) = cloud.tenant("blue").await;
    let setting = "/global-configurations/identity/session.maxConcurrent/actions";
    cloud.act(setting, "updateGlobalConfig", json!({ "value": "2" })).await.unwrap();
    let second = tenant.login("blue", "blue").await.unwrap();
    assert_eq!(tenant.login("blue", "blue").await.err().unwrap().code, "ID.1005");
    let renew = format!("/accounts/sessions/{}/renew", second.session);
    let renewed = second.act(&renew, "renewSession", json!({ "duration": 86_000 })).await.unwrap();
    assert_eq!(renewed["uuid"].as_str(), Some(second.session.as_str()));
    let foreign = format!("/accounts/sessions/{}/renew", cloud.session);
    assert_eq!(second.act(&foreign, "renewSession", json!({})).await.unwrap_err().code, "ID.1001");
    second.delete(&format!("/accounts/sessions/{}", second.session)).await.unwrap();
    assert_eq!(second.get("/zones").await.unwrap_err().status, 401);
    tenant.login("blue", "blue").await.unwrap();
}

#[tokio::test]
async fn who_guesses_is_locked_out_and_the_administrator_is_not() {
    let cloud = Cloud::start(Ports::default()).await;
    cloud.tenant("blue").await;
    let nobody = Client { session: String::new(), ..(*cloud).clone() };
    for _ in 0..5 {
        assert_eq!(nobody.login("blue", "wrong").await.err().unwrap().code, "ID.1000");
    }
    let locked = nobody.login("blue", "blue").await.err().unwrap();
    assert_eq!(locked.code, "ID.1004");
    assert!(locked.details.contains("try again in"), "{}", locked.details);
    // Names that do not exist are locked like others.
    for _ in 0..5 {
        assert_eq!(nobody.login("nobody", "wrong").await.err().unwrap().code, "ID.1000");
    }
    assert_eq!(nobody.login("nobody", "wrong").await.err().unwrap().code, "ID.1004");
    nobody.login("admin", "secret").await.unwrap();

    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let attempts = async |name: &str, address: IpAddr, times: usize| {
        for _ in 0..times {
            let attempt = Attempt::new(name.into(), Some(address));
            let _ =
                cloud.engine.db().write(move |tx| Box::pin(async move { attempt.failed(tx).await })).await;
        }
    };
    attempts("admin", elsewhere, 60).await;
    nobody.login("admin", "secret").await.unwrap();
}

#[tokio::test]
async fn a_lock_is_over_when_its_time_is() {
    let cloud = Cloud::start(Ports::default()).await;
    let unit = cloud.engine.db().write(|tx| {
        Box::pin(async move {
            let attempt = Attempt::new("blue".into(), None);
            for _ in 0..5 {
                attempt.check(tx).await?;
                attempt.failed(tx).await?;
            }
            assert!(attempt.check(tx).await.unwrap_err().is(codes::LOCKED));
            let over = Stamp::now().minus(Duration::from_secs(1));
            let tried = store::login::Tried { attempts: 5, locked_until: over };
            store::login::enter(tx, "blue at nowhere", tried).await?;
            attempt.check(tx).await?;
            attempt.failed(tx).await?;
            let until = store::login::tried(tx, "blue at nowhere").await?.locked_until;
            assert!(until > Stamp::now().plus(Duration::from_secs(50)), "longer than before");
            attempt.succeeded(tx).await?;
            attempt.check(tx).await
        })
    });
    unit.await.unwrap();
}

#[tokio::test]
async fn a_user_does_what_policies_allow_and_denial_wins() {
    let cloud = Cloud::start(Ports::default()).await;
    let (_, tenant) = cloud.tenant("blue").await;
    let user =
        tenant.create("/accounts/users", json!({ "name": "ann", "password": sha512("a") })).await.unwrap();
    let ann = tenant.login_user("blue", "ann", "a").await.unwrap();
    let own = tenant.create("/instance-offerings", offering("own")).await.unwrap();
    assert_eq!(ann.list("/instance-offerings").await.len(), 1, "users look at what is their account's");
    let refused = ann.create("/instance-offerings", offering("new")).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (403, "ID.1002"));

    let policy = async |effect: &str, action: &str| {
        let statements = json!([{ "effect": effect, "actions": [action] }]);
        let policy = json!({ "name": action, "statements": statements });
        uuid(&tenant.create("/accounts/policies", policy).await.unwrap())
    };
    let all = policy("Allow", "configuration:.*").await;
    let group = uuid(&tenant.create("/accounts/groups", json!({ "name": "staff" })).await.unwrap());
    tenant.create(&format!("/accounts/groups/{group}/policies"), json!({ "policyUuid": all })).await.unwrap();
    let join = format!("/accounts/groups/{group}/users");
    tenant.create(&join, json!({ "userUuid": uuid(&user) })).await.unwrap();
    let made = ann.create("/instance-offerings", offering("new")).await.unwrap();
    let refs = tenant.list(&format!("/accounts/resources/refs?q=resourceUuid={}", uuid(&made))).await;
    assert_eq!(refs.len(), 1, "what a user makes is its account's");

    let no_deletion = policy("Deny", "configuration:DeleteInstanceOffering").await;
    let path = format!("/accounts/users/{}/policies", uuid(&user));
    tenant.create(&path, json!({ "policyUuid": no_deletion })).await.unwrap();
    let deletion = format!("/instance-offerings/{}", uuid(&own));
    assert_eq!(ann.delete(&deletion).await.unwrap_err().status, 403);
    tenant.delete(&format!("{path}/{no_deletion}")).await.unwrap();
    ann.delete(&deletion).await.unwrap();

    let change = json!({ "password": sha512("b"), "oldPassword": sha512("a") });
    ann.act("/accounts/users/actions", "updateUser", change).await.unwrap();
    tenant.login_user("blue", "ann", "b").await.unwrap();
    tenant.delete(&format!("/accounts/users/{}", uuid(&user))).await.unwrap();
    assert_eq!(ann.get("/zones").await.unwrap_err().status, 401);
}

#[tokio::test]
async fn a_role_takes_calls_away_from_an_account() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("blue").await;
    let statements = json!([{ "effect": "Deny", "actions": [".*:CreateInstanceOffering"] }]);
    let role = json!({ "name": "no sizes", "statements": statements });
    let role = uuid(&cloud.create("/identities/roles", role).await.unwrap());
    cloud.create(&format!("/identities/accounts/{account}/roles/{role}"), json!({})).await.unwrap();
    assert_eq!(tenant.create("/instance-offerings", offering("a")).await.unwrap_err().status, 403);
    let ask = json!({ "apiNames": ["APICreateInstanceOfferingMsg", "QueryVmInstance", "CreateZone"] });
    let may = tenant.act("/accounts/permissions/actions", "checkApiPermission", ask).await.unwrap();
    assert_eq!(
        (&may["APICreateInstanceOfferingMsg"], &may["QueryVmInstance"], &may["CreateZone"]),
        (&json!("Deny"), &json!("Allow"), &json!("Deny"))
    );
    let actions = format!("/identities/roles/{role}/actions");
    cloud.act(&actions, "changeRoleState", json!({ "stateEvent": "disable" })).await.unwrap();
    tenant.create("/instance-offerings", offering("a")).await.unwrap();
}

#[tokio::test]
async fn what_is_shared_may_be_used_and_not_changed() {
    let cloud = Cloud::start(Ports::default()).await;
    let ((_, blue), (red_uuid, red)) = (cloud.tenant("blue").await, cloud.tenant("red").await);
    let own = uuid(&blue.create("/instance-offerings", offering("own")).await.unwrap());
    let path = format!("/instance-offerings/{own}");
    let share = |to: Value| json!({ "resourceUuids": [own], "accountUuids": to });
    let theirs = red.act("/accounts/resources/actions", "shareResource", share(json!([red_uuid]))).await;
    assert_eq!(theirs.unwrap_err().status, 404, "nobody shares what is another's");
    blue.act("/accounts/resources/actions", "shareResource", share(json!([red_uuid]))).await.unwrap();
    blue.act("/accounts/resources/actions", "shareResource", share(json!([red_uuid]))).await.unwrap();
    assert_eq!(red.list("/instance-offerings").await.len(), 1);
    assert_eq!(red.list("/accounts/resources").await.len(), 1);
    assert_eq!(red.delete(&path).await.unwrap_err().status, 404);
    blue.act("/accounts/resources/actions", "revokeResourceSharing", share(json!([red_uuid]))).await.unwrap();
    assert_eq!(red.get(&path).await.unwrap_err().status, 404);
    let all = json!({ "resourceUuids": [own], "toPublic": true });
    blue.act("/accounts/resources/actions", "shareResource", all).await.unwrap();
    assert_eq!(red.list("/instance-offerings").await.len(), 1);

    let given = json!({ "resourceUuid": own });
    cloud.create(&format!("/account/{red_uuid}/resources"), given).await.unwrap();
    red.delete(&path).await.unwrap();
    assert!(cloud.list("/accounts/resources").await.is_empty(), "shares go with what they are of");
}

#[tokio::test]
async fn a_uuid_that_is_taken_makes_nothing_again() {
    let cloud = Cloud::start(Ports::default()).await;
    let ((_, blue), (_, red)) = (cloud.tenant("blue").await, cloud.tenant("red").await);
    let own = uuid(&blue.create("/instance-offerings", offering("own")).await.unwrap());
    let mut again = offering("again");
    again["resourceUuid"] = json!(own);
    assert_eq!(red.create("/instance-offerings", again).await.unwrap_err().code, "SYS.1007");
    let refs = cloud.list(&format!("/accounts/resources/refs?q=resourceUuid={own}")).await;
    assert_eq!(refs.len(), 1);
    assert_eq!(blue.list("/instance-offerings").await.len(), 1);
}

#[tokio::test]
async fn a_race_for_the_last_unit_of_a_quota_has_one_winner() {
    const COUNT: &str = "SELECT count(*) FROM account_resource_ref WHERE account_uuid = $1";
    const ONE: quota::Quota = quota::Quota { name: "vm.num", default: 3, used: COUNT };
    const SET: &str = "UPDATE quota SET value = 3 WHERE identity_uuid = $1 AND name = 'vm.num'";
    const INSERT: &str = "INSERT INTO account_resource_ref VALUES ($1, $2, 'Probe', NULL, 0, 0)";
    let cloud = Cloud::start(Ports::default()).await;
    let (account, _) = cloud.tenant("blue").await;
    let limit = args![account.as_str()];
    cloud.engine.db().write(|tx| Box::pin(tx.exec(SET, limit))).await.unwrap();
    let claims = (0..40).map(|_| {
        let account = account.clone();
        cloud.engine.db().write(move |tx| {
            Box::pin(async move {
                let probe = Id::<engine::Any>::random();
                tx.exec(INSERT, args![probe, account.as_str()]).await?;
                quota::check(tx, probe, &[(&ONE, 1)]).await
            })
        })
    });
    let ends = join_all(claims).await;
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 3);
    let error = ends.into_iter().find_map(Result::err).unwrap();
    assert!(error.is(engine::codes::QUOTA));
    assert!(
        error.details().contains("\"vm.num\" of account \"blue\" is 3: 3 are used and 1 more"),
        "{error}"
    );
}

#[tokio::test]
async fn every_table_of_owned_resources_enters_its_owners() {
    const TRIGGERS: &str = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
    /// Those that show some rows of another table, and have its owners.
    const PARTS: [&str; 3] = ["l2_vlan_network", "l2_vxlan_network", "l2_vxlan_network_pool"];
    let cloud = Cloud::start(Ports::default()).await;
    let mut tx = cloud.engine.db().read().await.unwrap();
    let known: Vec<(String,)> = tx.all(TRIGGERS, args![]).await.unwrap();
    let owned = cloud.engine.entries().iter().filter(|entry| entry.scope() == Some(Scope::Owned("uuid")));
    let tables: Vec<_> = owned.filter_map(|entry| Some(entry.table()?.trim_end_matches("_view"))).collect();
    assert!(tables.len() > 6);
    for table in tables.into_iter().filter(|table| !PARTS.contains(table)) {
        for name in [format!("{table}_owned"), format!("{table}_disowned")] {
            assert!(known.iter().any(|(trigger,)| *trigger == name), "no migration makes the trigger {name}");
        }
    }
}

#[tokio::test]
async fn quotas_are_listed_changed_and_measured() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("blue").await;
    let quotas = tenant.list("/accounts/quotas").await;
    assert_eq!(quotas.len(), cloud.engine.quotas().len());
    let change = json!({ "identityUuid": account, "name": "vm.num", "value": 7 });
    assert_eq!(
        tenant.act("/accounts/quotas/actions", "updateQuota", change.clone()).await.unwrap_err().status,
        403
    );
    cloud.act("/accounts/quotas/actions", "updateQuota", change).await.unwrap();
    let usage = tenant.get(&format!("/accounts/quota/{account}/usages")).await.unwrap();
    let usages = usage["usages"].as_array().unwrap();
    let num = usages.iter().find(|usage| usage["name"] == "vm.num").unwrap();
    assert_eq!((&num["total"], &num["used"]), (&json!(7), &json!(0)));
    let wrong = json!({ "identityUuid": account, "name": "vm.nmu", "value": 7 });
    let wrong = cloud.act("/accounts/quotas/actions", "updateQuota", wrong).await.unwrap_err();
    assert!(wrong.details.contains("vm.num"), "{}", wrong.details);
}

#[tokio::test]
async fn a_call_is_on_record_without_its_secrets() {
    let cloud = Cloud::start(Ports::default()).await;
    let (account, tenant) = cloud.tenant("blue").await;
    let made = tenant.create("/instance-offerings", offering("own")).await.unwrap();
    let refused = json!({ "name": "", "cpuNum": 1, "memorySize": 1 << 30 });
    tenant.create("/instance-offerings", refused).await.unwrap_err();
    let own = tenant.list("/audits?sort=createDate").await;
    assert_eq!(own.len(), 2, "an account sees its own calls alone");
    assert_eq!(
        (own[0]["apiName"].as_str(), &own[0]["resourceUuid"]),
        (Some("CreateInstanceOffering"), &made["uuid"])
    );
    assert_eq!((&own[0]["success"], &own[0]["clientIp"]), (&json!(true), &json!("127.0.0.1")));
    assert_eq!((&own[0]["accountUuid"], &own[0]["request"]["name"]), (&json!(account), &json!("own")));
    assert_eq!((&own[1]["success"], &own[1]["error"]["code"]), (&json!(false), &json!("SYS.1007")));
    let all = serde_json::to_string(&cloud.list("/audits").await).unwrap();
    assert!(all.contains("CreateAccount") && !all.contains(&sha512("blue")), "{all}");
    assert!(!all.contains(&tenant.session), "a record lets nobody in");
}

#[tokio::test]
async fn who_calls_through_a_trusted_proxy_is_on_record_himself() {
    for (cloud, recorded) in
        [(Cloud::behind_proxy().await, "192.0.2.7"), (Cloud::start(Ports::default()).await, "127.0.0.1")]
    {
        let request = cloud.engine.http().post(format!("{}/instance-offerings", cloud.base));
        let request = request.header("authorization", format!("OAuth {}", cloud.session));
        let request = request.header("x-forwarded-for", "10.1.1.1, 192.0.2.7");
        let begun = request.json(&json!({ "params": offering("far") })).send().await.unwrap();
        cloud.finish(begun.json().await.unwrap()).await.unwrap();
        let calls = cloud.list("/audits?q=apiName=CreateInstanceOffering").await;
        assert_eq!(calls[0]["clientIp"], recorded);
    }
}

#[tokio::test]
async fn a_job_is_told_to_its_account_alone() {
    let cloud = Cloud::start(Ports::default()).await;
    let ((_, blue), (_, red)) = (cloud.tenant("blue").await, cloud.tenant("red").await);
    let begun =
        blue.begin(Method::POST, "/instance-offerings", json!({ "params": offering("own") })).await.unwrap();
    blue.finish(begun.clone()).await.unwrap();
    assert_eq!(red.finish(begun.clone()).await.unwrap_err().status, 404);
    let nobody = Client { session: String::new(), ..red };
    assert_eq!(nobody.finish(begun).await.unwrap_err().status, 401);
}

#[tokio::test]
async fn a_tenant_has_the_controller_call_nobody() {
    let cloud = Cloud::start(Ports::default()).await;
    let (_, blue) = cloud.tenant("blue").await;
    let hooked = async |client: &Client| {
        let request = cloud.engine.http().post(format!("{}/instance-offerings", client.base));
        let request = request.header("authorization", format!("OAuth {}", client.session));
        let request =
            request.header("x-web-hook", "http://127.0.0.1:1/").json(&json!({ "params": offering("o") }));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((hooked(&blue).await, hooked(&cloud).await), (403, 202));
}

/// What a request with this key's signature is answered.
async fn signed(cloud: &Cloud, key: &Value, date: &str, path: &str, tampered: &str) -> u16 {
    let (id, secret) = (key["AccessKeyID"].as_str().unwrap(), key["AccessKeySecret"].as_str().unwrap());
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("GET\n\n\n{date}\n/v1{path}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let request = cloud.engine.http().get(format!("{}{path}{tampered}", cloud.base)).header("date", date);
    let request = request.header("authorization", format!("ZStack {id}:{signature}"));
    request.send().await.unwrap().status().as_u16()
}

fn date(seconds_ago: i64) -> String {
    let when = jiff::Timestamp::from_second(Stamp::now().0 / 1_000_000 - seconds_ago).unwrap();
    when.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn a_program_signs_with_a_key_instead_of_logging_in() {
    let cloud = Cloud::start(Ports::default()).await;
    let (_, tenant) = cloud.tenant("blue").await;
    let key = tenant.create("/access-keys", json!({ "description": "a robot" })).await.unwrap();
    assert_eq!(signed(&cloud, &key, &date(0), "/zones?q=name=a", "").await, 200);
    assert_eq!(
        signed(&cloud, &key, &date(0), "/hosts", "").await,
        403,
        "it is the account's, not the administrator's"
    );
    assert_eq!(signed(&cloud, &key, &date(0), "/zones", "?limit=1").await, 401);
    assert_eq!(signed(&cloud, &key, &date(16 * 60), "/zones", "").await, 401);
    assert_eq!(signed(&cloud, &key, &date(-16 * 60), "/zones", "").await, 401);
    let listed = serde_json::to_string(&tenant.list("/access-keys").await).unwrap();
    assert!(listed.contains(key["AccessKeyID"].as_str().unwrap()));
    assert!(!listed.contains(key["AccessKeySecret"].as_str().unwrap()));
    let path = format!("/access-keys/{}/actions", uuid(&key));
    tenant.act(&path, "changeAccessKeyState", json!({ "stateEvent": "disable" })).await.unwrap();
    assert_eq!(signed(&cloud, &key, &date(0), "/zones", "").await, 401);
}

const LEFT: &str = "INSERT INTO job (uuid, api, account, params, state, owner, hooked, create_date) \
     VALUES ($1, $2, $3, $4, 'queued', $5, TRUE, $6)";

/// Enters a job as a controller does that dies before it begins it.
async fn leave_behind(cloud: &Cloud, api: &'static str, params: Value) -> String {
    let (id, dead) = (Id::<engine::Any>::random(), Id::<engine::Any>::random());
    let account: Id<engine::Any> = uuid(&cloud.list("/accounts").await[0]).parse().unwrap();
    let row = args![id, api, account, &params, dead, Stamp::now()];
    let written = cloud.engine.db().write(move |tx| Box::pin(async move { tx.exec(LEFT, row).await })).await;
    assert_eq!(written.unwrap(), 1);
    id.to_string()
}

#[tokio::test]
async fn a_call_whose_secret_died_with_its_controller_says_so() {
    let cloud = Cloud::start(Ports::default()).await;
    let secret = json!({ "name": "blue", "password": "*****" });
    let (with, without) = (
        leave_behind(&cloud, "CreateAccount", secret).await,
        leave_behind(&cloud, "CreateZone", json!({ "name": "zone-1" })).await,
    );
    let ended =
        async |job: &str| cloud.finish(json!({ "location": format!("{}/api-jobs/{job}", cloud.base) })).await;
    ended(&without).await.unwrap();
    let refused = ended(&with).await.unwrap_err();
    assert!(refused.details.contains("\"password\" is never written down"), "{}", refused.details);
    assert_eq!((cloud.list("/zones").await.len(), cloud.list("/accounts").await.len()), (1, 1));
}
