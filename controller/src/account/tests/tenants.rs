//! Two tenants, and every call that there is: one names what is the other's in each parameter that can name
//! something, and reads all lists. No call is enlisted here; a new one is tried like the others.

use std::collections::BTreeMap;

use engine::api::{Entry, Param};
use engine::scope::Scope;
use engine::{Any, Id, args};
use serde_json::{Map, Value, json};

use super::{offering, uuid};
use crate::config::Ports;
use crate::testing::{Client, Cloud, Refused, sha512};
use axum::http::Method;

/// Two tenants of one cloud; what is blue's, by kind.
struct Town {
    cloud: Cloud,
    red: Client,
    of_blue: BTreeMap<&'static str, String>,
}

const IMAGE: &str = "INSERT INTO image (uuid, name, state, status, size, actual_size, url, media_type, type, \
     platform, system, virtio, create_date, last_op_date) VALUES ($1, 'i', 'Enabled', 'Ready', 1, 1, 'u', \
     'RootVolumeTemplate', 'zstack', 'Linux', FALSE, TRUE, 0, 0)";
const VM: &str = "INSERT INTO vm_instance (uuid, internal_id, name, platform, type, hypervisor_type, cpu_num, \
     cpu_speed, memory_size, reserved_memory_size, allocator_strategy, virtio, state, create_date, \
     last_op_date) VALUES ($1, 77, 'v', 'Linux', 'UserVm', 'KVM', 1, 0, 1, 0, 's', TRUE, 'Stopped', 0, 0)";
const VOLUME: &str = "INSERT INTO volume (uuid, name, vm_instance_uuid, type, format, size, state, status, \
     is_shareable, create_date, last_op_date) VALUES ($1, 'r', $2, 'Root', 'qcow2', 1, 'Enabled', 'Ready', \
     FALSE, 0, 0)";
const NIC: &str = "INSERT INTO vm_nic (uuid, vm_instance_uuid, l3_network_uuid, ip, mac, hypervisor_type, \
     ip_version, driver_type, internal_name, device_id, type, state, create_date, last_op_date) \
     VALUES ($1, $2, $3, '10.9.0.2', 'fa:00', 'KVM', 4, 'virtio', 'n', 0, 'VNIC', 'enable', 0, 0)";
const USED_IP: &str = "INSERT INTO used_ip (uuid, ip_range_uuid, l3_network_uuid, ip_version, ip, ip_in_long, \
     netmask, gateway, vm_nic_uuid, create_date, last_op_date) \
     VALUES ($1, $2, $3, 4, '10.9.0.2', 168361986, 'm', 'g', $4, 0, 0)";

impl Town {
    async fn build() -> Town {
        let cloud = Cloud::start(Ports::default()).await;
        let (blue_uuid, blue) = cloud.tenant("blue").await;
        let (_, red) = cloud.tenant("red").await;
        let mut town = Town { cloud, red, of_blue: BTreeMap::from([("account", blue_uuid)]) };
        town.networks(&blue).await;
        town.people(&blue).await;
        town.machines().await;
        town
    }

    /// On an L2 network that everybody may use.
    async fn networks(&mut self, blue: &Client) {
        let zone = uuid(&self.cloud.create("/zones", json!({ "name": "z" })).await.unwrap());
        let l2 = json!({ "name": "l2", "zoneUuid": zone, "physicalInterface": "eth0" });
        let l2 = uuid(&self.cloud.create("/l2-networks/no-vlan", l2).await.unwrap());
        let share = json!({ "resourceUuids": [l2], "toPublic": true });
        self.cloud.act("/accounts/resources/actions", "shareResource", share).await.unwrap();
        let l3 = json!({ "name": "l3", "l2NetworkUuid": l2 });
        let l3 = uuid(&blue.create("/l3-networks", l3).await.unwrap());
        let range = json!({ "name": "r", "networkCidr": "10.9.0.0/24" });
        let range = blue.create(&format!("/l3-networks/{l3}/ip-ranges/by-cidr"), range).await.unwrap();
        self.of_blue.extend([("l3", l3), ("range", uuid(&range))]);
    }

    async fn people(&mut self, blue: &Client) {
        let made = async |path: &str, params: Value| uuid(&blue.create(path, params).await.unwrap());
        let user = json!({ "name": "ann", "password": sha512("a") });
        let policy = json!({ "name": "p", "statements": [{ "effect": "Allow", "actions": [".*"] }] });
        self.of_blue.extend([
            ("offering", made("/instance-offerings", offering("o")).await),
            ("user", made("/accounts/users", user).await),
            ("group", made("/accounts/groups", json!({ "name": "g" })).await),
            ("affinity", made("/affinity-groups", json!({ "name": "a", "policy": "antiSoft" })).await),
            ("policy", made("/accounts/policies", policy).await),
            ("key", made("/access-keys", json!({})).await),
        ]);
    }

    /// Rows as flows would enter them, given to blue.
    async fn machines(&mut self) {
        let [image, vm, volume, nic, address] = [(); 5].map(|()| Id::<Any>::random().to_string());
        let (l3, range) = (self.of_blue["l3"].clone(), self.of_blue["range"].clone());
        let rows = vec![
            (IMAGE, args![&image]),
            (VM, args![&vm]),
            (VOLUME, args![&volume, &vm]),
            (NIC, args![&nic, &vm, &l3]),
            (USED_IP, args![&address, range, l3, &nic]),
        ];
        let enter = self.cloud.engine.db().write(|tx| {
            Box::pin(async move {
                for (sql, row) in rows {
                    tx.exec(sql, row).await?;
                }
                Ok(())
            })
        });
        enter.await.unwrap();
        let to = format!("/account/{}/resources", self.of_blue["account"]);
        for resource in [&image, &vm] {
            self.cloud.create(&to, json!({ "resourceUuid": resource })).await.unwrap();
        }
        let made = [("image", image), ("vm", vm), ("volume", volume), ("nic", nic), ("address", address)];
        self.of_blue.extend(made);
    }

    /// Something of red's own that may be changed or go.
    async fn own(&self) -> String {
        uuid(&self.red.create("/instance-offerings", offering("own")).await.unwrap())
    }

    /// One call of red's.
    async fn try_call(&self, entry: &Entry, params: &Map<String, Value>) -> Result<Value, Refused> {
        let (mut path, mut rest, route) = (entry.route.path.to_owned(), params.clone(), entry.route);
        for name in route.in_path() {
            let value = rest.remove(name).unwrap_or_else(|| json!("x"));
            path = path.replace(&format!("{{{name}}}"), value.as_str().expect("paths hold texts"));
        }
        let (mut body, mut url) = (Value::Null, Vec::new());
        match route.body {
            Some(key) => body = json!({ key: rest }),
            None => url.extend(rest.iter().flat_map(|(name, value)| in_url(name, value))),
        }
        let path = if url.is_empty() { path } else { format!("{path}?{}", url.join("&")) };
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        self.red.begin(method, &path, body).await
    }
}

fn in_url(name: &str, value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    values.iter().map(|value| format!("{name}={}", text(value))).collect()
}

fn names_something(param: &Param) -> bool {
    let new = param.name == "resource_uuid" && param.kind.starts_with("Option");
    param.kind.contains("Id<") && !new
}

/// A value of the parameter's type; `id` where it names something.
fn sample(param: &Param, id: &str) -> Value {
    let kind = param.kind.replace(' ', "");
    let kind = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(&kind);
    match kind {
        _ if kind.starts_with("Id<") => json!(id),
        _ if kind.starts_with("Vec<Id<") => json!([id]),
        "String" => json!("x"),
        "i64" => json!(1),
        "bool" => json!(true),
        "Vec<String>" => json!(["x"]),
        "Password" => json!(sha512("x")),
        "Ticket" => json!(id),
        "StateEvent" | "Link" => json!("enable"),
        "Ipv4Addr" => json!("10.9.0.9"),
        "Category" => json!("Private"),
        "Vec<Statement>" => json!([{ "effect": "Allow", "actions": ["*"] }]),
        "Policy" => json!("antiSoft"),
        "Driver" => json!("virtio"),
        "Level" => json!("High"),
        "HaLevel" => json!("NeverStop"),
        "Method" => json!("AUTO"),
        "SoundType" => json!("ich6"),
        "Track" => json!("guest"),
        "Vec<Resource>" => json!(["VolumeVO"]),
        "Services" => json!({}),
        other => panic!("say here what a {other} (\"{}\") looks like", param.name),
    }
}

/// All that must be there, and `named`, with `id` in it; elsewhere `own`. Who may not call at all is refused
/// before anything is read.
fn params(entry: &Entry, named: &Param, id: &str, own: &str) -> Map<String, Value> {
    let must = |param: &Param| !entry.route.admin && !param.kind.starts_with("Option");
    let wanted = entry.route.params.iter().filter(|param| *param == named || must(param));
    let value = |param: &Param| sample(param, if param == named { id } else { own });
    wanted.map(|param| (engine::inventory::camel(param.name), value(param))).collect()
}

#[tokio::test]
async fn no_call_reaches_what_is_another_tenants() {
    let town = Town::build().await;
    let (mut tried, mut reached) = (0, Vec::new());
    let entries: Vec<_> = town.cloud.engine.entries().to_vec();
    for entry in entries.iter().filter(|entry| entry.scope().is_none() && !entry.is_open()) {
        let own = town.own().await;
        for param in entry.route.params.iter().filter(|param| names_something(param)) {
            let what = format!("{} {}", entry.route.name, param.name);
            let unknown = Id::<Any>::random().to_string();
            let refused = town.try_call(entry, &params(entry, param, &unknown, &own)).await;
            let refused = refused.expect_err(&format!("{what} takes what does not exist"));
            if entry.route.admin {
                assert_eq!((refused.status, refused.code.as_str()), (403, "ID.1002"), "{what}");
                continue;
            }
            for (kind, theirs) in &town.of_blue {
                let answer = town.try_call(entry, &params(entry, param, theirs, &own)).await;
                let same = answer.as_ref().is_err_and(|error| {
                    let told = error.details.replace(theirs.as_str(), &unknown);
                    (error.status, &error.code, &told) == (404, &refused.code, &refused.details)
                });
                tried += 1;
                if !same {
                    reached.push(format!("{what} of a {kind}: {answer:?}"));
                }
            }
            // What is one's own passes, so that the refusals above are for its owner's sake.
            let answer = town.try_call(entry, &params(entry, param, &own, &own)).await;
            let passes = answer.as_ref().err().is_none_or(|error| error.status != 404 && error.status != 400);
            assert!(passes || entry.looks(), "{what} of one's own: {answer:?}");
        }
    }
    assert!(tried > 500, "only {tried} were tried");
    assert!(reached.is_empty(), "{} of {tried}:\n{}", reached.len(), reached.join("\n"));
}

#[tokio::test]
async fn no_list_shows_what_is_another_tenants() {
    let town = Town::build().await;
    let mut shown = Vec::new();
    let entries: Vec<_> = town.cloud.engine.entries().to_vec();
    for entry in &entries {
        let (Some(scope), path) = (entry.scope(), entry.route.path) else { continue };
        if scope == Scope::Admin {
            assert_eq!(town.red.get(path).await.unwrap_err().status, 403, "{path}");
            continue;
        }
        let list = town.red.get(&format!("{path}?replyWithCount=true")).await.unwrap();
        assert_eq!(list["total"], json!(list["inventories"].as_array().unwrap().len()), "{path}");
        let text = list.to_string();
        for (kind, theirs) in &town.of_blue {
            if text.contains(theirs.as_str()) {
                shown.push(format!("{path} shows a {kind}"));
            }
            let one = town.red.get(&format!("{path}/{theirs}")).await;
            let counted =
                town.red.get(&format!("{path}?count=true&q=createDate>1970-01-01&q=uuid={theirs}")).await;
            if one.is_ok() || counted.is_ok_and(|counted| counted["total"] != 0) {
                shown.push(format!("{path} finds a {kind}"));
            }
        }
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    let vms = town.cloud.list("/vm-instances").await;
    assert_eq!(vms.len(), 1, "the administrator sees them");
}

#[tokio::test]
async fn what_belongs_to_a_resource_goes_with_it_to_another_owner() {
    let town = Town::build().await;
    let (vm, account) = (&town.of_blue["vm"], &town.of_blue["account"]);
    for kind in ["vm", "volume", "nic"] {
        let refs =
            town.cloud.list(&format!("/accounts/resources/refs?q=resourceUuid={}", town.of_blue[kind])).await;
        assert_eq!(refs[0]["accountUuid"], json!(account), "{kind}");
    }
    let to = town.cloud.list("/accounts?q=name=red").await;
    let red = format!("/account/{}/resources", uuid(&to[0]));
    town.cloud.create(&red, json!({ "resourceUuid": town.of_blue["nic"] })).await.unwrap_err();
    town.cloud.create(&red, json!({ "resourceUuid": vm })).await.unwrap();
    for path in ["/vm-instances", "/volumes", "/vm-instances/nics", "/l3-networks/ip-address"] {
        assert_eq!(town.red.list(path).await.len(), 1, "{path}");
    }
}
