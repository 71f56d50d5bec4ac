//! VMs that get other CPUs, other memory, another disk, other addresses.

use hyper::Method;
use serde_json::{Value, json};
use wire::Call;
use wire::calls::{device, localstorage, tuning};

use crate::site::Site;

const MIB: i64 = 1 << 20;

impl Site {
    async fn offering(&self, name: &str, cpu: i64, memory: i64) -> String {
        let params = json!({ "name": name, "cpuNum": cpu, "memorySize": memory });
        let made = self.api.create("/instance-offerings", params).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn let_vms_grow(&self) {
        let path = "/global-configurations/vm/numa/actions";
        let value = json!({ "updateGlobalConfig": { "value": "true" } });
        self.api.call(Method::PUT, path, value).await.unwrap();
    }

    async fn some_vm(&self) -> String {
        let made = self.api.create("/vm-instances", self.vm("web")).await.unwrap();
        made["uuid"].as_str().unwrap().to_owned()
    }

    async fn vm_does(&self, vm: &str, action: &str, params: Value) -> Value {
        let path = format!("/vm-instances/{vm}/actions");
        self.api.call(Method::PUT, &path, json!({ action: params })).await.unwrap()["inventory"].take()
    }

    async fn vm_refuses(&self, vm: &str, action: &str, params: Value) -> String {
        let path = format!("/vm-instances/{vm}/actions");
        self.refused(Method::PUT, &path, json!({ action: params })).await.details
    }

    async fn size_of(&self, vm: &str) -> (i64, i64) {
        let vm = self.list(&format!("/vm-instances?q=uuid={vm}")).await.remove(0);
        (vm["cpuNum"].as_i64().unwrap(), vm["memorySize"].as_i64().unwrap() / MIB)
    }

    /// Of the running VM.
    fn has(&self, vm: &str) -> (u64, u64) {
        let [cpus, memory, ..] = self.world().state().sizes[vm];
        (cpus, memory >> 20)
    }

    async fn only_nic(&self, vm: &str) -> Value {
        self.list(&format!("/vm-instances/nics?q=vmInstanceUuid={vm}")).await.remove(0)
    }

    async fn addresses(&self) -> Vec<Value> {
        let used = self.list("/l3-networks/ip-address?q=usedFor=VmNic").await;
        used.into_iter().map(|used| used["ip"].clone()).collect()
    }

    async fn network_beside(&self) -> String {
        let params = json!({ "name": "back", "l2NetworkUuid": self.l2 });
        let l3 = self.api.create("/l3-networks", params).await.unwrap();
        let l3 = l3["uuid"].as_str().unwrap().to_owned();
        let range = json!({ "name": "r", "startIp": "10.8.0.10", "endIp": "10.8.0.20",
            "netmask": "255.255.255.0", "gateway": "10.8.0.1" });
        self.api.create(&format!("/l3-networks/{l3}/ip-ranges"), range).await.unwrap();
        let services = json!({ "networkServices": { "Flat": ["DHCP", "DNS"] } });
        self.api.create(&format!("/l3-networks/{l3}/network-services"), services).await.unwrap();
        l3
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_without_room_to_grow_has_its_new_size_once_it_was_stopped() {
    let site = Site::start().await;
    let (vm, large) = (site.some_vm().await, site.offering("large", 4, 512 * MIB).await);
    let before = site.capacity().await;
    let shown = site.vm_does(&vm, "changeInstanceOffering", json!({ "instanceOfferingUuid": large })).await;
    assert_eq!((&shown["cpuNum"], &shown["instanceOfferingUuid"]), (&json!(1), &json!(large)));
    assert_eq!((site.size_of(&vm).await, site.has(&vm)), ((1, 128), (1, 128)));
    assert_eq!(site.capacity().await, before);
    assert_eq!(site.world().count(tuning::IncreaseCpu::PATH), 0);

    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    assert_eq!(site.size_of(&vm).await, (4, 512));
    site.vm_does(&vm, "startVmInstance", json!({})).await;
    assert_eq!(site.has(&vm), (4, 512));
    let after = site.capacity().await;
    assert_eq!((before[0] - after[0], before[1] - after[1]), (3, 384 * MIB));

    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    site.vm_does(&vm, "updateVmInstance", json!({ "cpuNum": 2, "name": "shop" })).await;
    assert_eq!(site.size_of(&vm).await, (2, 512));
    assert_eq!(site.list("/vm-instances?q=name=shop").await.len(), 1);
    assert!(site.vm_refuses(&vm, "updateVmInstance", json!({ "cpuNum": 0 })).await.contains("1 to 1024"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vm_grows_and_keeps_what_it_has_taken_when_the_rest_fails() {
    let site = Site::start().await;
    site.let_vms_grow().await;
    let vm = site.some_vm().await;
    let before = site.capacity().await;
    let shown = site.vm_does(&vm, "updateVmInstance", json!({ "cpuNum": 2, "memorySize": 200 * MIB })).await;
    assert_eq!((&shown["cpuNum"], &shown["memorySize"]), (&json!(2), &json!(256 * MIB)), "whole blocks");
    assert_eq!(site.has(&vm), (2, 256));
    let after = site.capacity().await;
    assert_eq!((before[0] - after[0], before[1] - after[1]), (1, 128 * MIB));

    let more = json!({ "cpuNum": 4, "memorySize": 512 * MIB });
    // As if its slots were used up.
    let room = |bytes: u64| site.world().meddle(|state| state.sizes.get_mut(&vm).unwrap()[3] = bytes);
    room(256 << 20);
    let refused = site.vm_refuses(&vm, "updateVmInstance", more.clone()).await;
    assert!(refused.contains("with room for"), "{refused}");
    assert_eq!(site.has(&vm), (4, 256), "cpus are not taken away");
    assert_eq!(site.size_of(&vm).await, (4, 256));
    room(64 << 30);
    site.vm_does(&vm, "updateVmInstance", more).await;
    assert_eq!((site.has(&vm), site.size_of(&vm).await), ((4, 512), (4, 512)));

    let refused = site.vm_refuses(&vm, "updateVmInstance", json!({ "memorySize": 64i64 << 30 })).await;
    assert!(refused.contains("has not"), "{refused}");
    assert_eq!((site.has(&vm), site.size_of(&vm).await), ((4, 512), (4, 512)));
    site.vm_does(&vm, "updateVmInstance", json!({ "cpuNum": 1 })).await;
    assert_eq!(site.has(&vm), (4, 512), "fewer only once it was stopped");
    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    assert_eq!(site.size_of(&vm).await, (1, 512));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_reimaged_beside_its_old_disk_which_goes_last() {
    let site = Site::start().await;
    let vm = site.some_vm().await;
    let refused = site.vm_refuses(&vm, "reimageVmInstance", json!({})).await;
    assert!(refused.contains("stop it"), "{refused}");
    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    let old = site.list("/volumes").await.remove(0)["installPath"].clone();
    site.world().refuse(localstorage::CreateFromCache::PATH, "the disk is full");
    let refused = site.vm_refuses(&vm, "reimageVmInstance", json!({})).await;
    assert!(refused.contains("the disk is full"), "{refused}");
    assert_eq!(site.list("/volumes").await[0]["installPath"], old);

    site.world().obey();
    site.vm_does(&vm, "reimageVmInstance", json!({})).await;
    let new = site.list("/volumes").await.remove(0)["installPath"].clone();
    assert_ne!(new, old);
    let there: Vec<_> = site.world().state().volumes.into_iter().map(Value::from).collect();
    assert_eq!(there, [new]);
    site.vm_does(&vm, "startVmInstance", json!({})).await;
    site.api.delete(&format!("/vm-instances/{vm}")).await.unwrap();
    site.vm_does(&vm, "expungeVmInstance", json!({})).await;
    assert!(site.world().state().volumes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nic_gets_another_address_and_another_network() {
    let site = Site::start().await;
    let (vm, back) = (site.some_vm().await, site.network_beside().await);
    let nic = site.only_nic(&vm).await;
    let uuid = nic["uuid"].as_str().unwrap();
    let there = json!({ "l3NetworkUuid": site.l3, "ip": "10.9.0.33" });
    let shown = site.vm_does(&vm, "setVmStaticIp", there.clone()).await;
    assert_eq!(shown["vmNics"][0]["ip"], "10.9.0.33");
    assert_eq!(site.addresses().await, ["10.9.0.33"], "the old one is free");
    site.vm_does(&vm, "setVmStaticIp", there).await;
    let away = json!({ "l3NetworkUuid": site.l3, "ip": "10.7.0.1" });
    assert!(site.vm_refuses(&vm, "setVmStaticIp", away).await.contains("lies in none of its ranges"));
    assert_eq!(site.addresses().await, ["10.9.0.33"]);
    let tags = format!("/system-tags?q=resourceUuid={vm}&q=tag~=staticIp%25");
    assert_eq!(site.list(&tags).await.len(), 1);
    site.api.delete(&format!("/vm-instances/{vm}/static-ips?l3NetworkUuid={}", site.l3)).await.unwrap();
    assert!(site.list(&tags).await.is_empty());

    let candidates = site.list(&format!("/vm-instances/nics/{uuid}/l3-networks-candidates")).await;
    assert_eq!(candidates.iter().map(|l3| &l3["uuid"]).collect::<Vec<_>>(), [&json!(back)]);
    let path = format!("/vm-instances/nics/{uuid}/l3-networks/{back}");
    site.world().refuse(device::UpdateNic::PATH, "no bridge");
    let refused = site.refused(Method::POST, &path, json!({ "params": {} })).await;
    assert!(refused.details.contains("no bridge"), "{refused:?}");
    assert_eq!((site.addresses().await, site.world().state().leases.len()), (vec!["10.9.0.33".into()], 1));

    site.world().obey();
    let servers = site.api.get(&format!("/l3-networks/{back}/dhcp-ip")).await.unwrap()["ip"].clone();
    let theirs = json!({ "params": { "staticIp": servers } });
    let refused = site.refused(Method::POST, &path, theirs).await;
    assert!(refused.details.contains("that of its DHCP servers"), "{refused:?}");
    let free = ["10.8.0.12", "10.8.0.13"].into_iter().find(|ip| servers != *ip).unwrap();
    let moved = site.api.create(&path, json!({ "staticIp": free })).await.unwrap();
    assert_eq!((&moved["vmNics"][0]["ip"], &moved["vmNics"][0]["mac"]), (&json!(free), &nic["mac"]));
    assert_eq!(moved["defaultL3NetworkUuid"], json!(back));
    let state = site.world().state();
    let served = format!("{} {back}", nic["mac"].as_str().unwrap());
    assert_eq!(state.served.into_iter().collect::<Vec<_>>(), [served]);
    assert_eq!(site.addresses().await, [free]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nics_link_goes_down_and_its_model_changes_while_the_vm_is_stopped() {
    let site = Site::start().await;
    let vm = site.some_vm().await;
    let nic = site.only_nic(&vm).await["uuid"].as_str().unwrap().to_owned();
    let path = format!("/vm-instances/nics/{nic}/actions");
    let down = json!({ "changeVmNicState": { "state": "disable" } });
    site.world().refuse(device::ChangeNicState::PATH, "no such nic");
    assert!(site.refused(Method::PUT, &path, down.clone()).await.details.contains("no such nic"));
    assert_eq!(site.only_nic(&vm).await["state"], "enable");
    site.world().obey();
    site.api.call(Method::PUT, &path, down).await.unwrap();
    assert!(site.world().state().down.contains(&nic));
    let model = json!({ "vmNicUuid": nic, "driverType": "e1000" });
    assert!(site.vm_refuses(&vm, "updateVmNicDriver", model.clone()).await.contains("Stopped"));
    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    assert_eq!(site.vm_does(&vm, "updateVmNicDriver", model).await["driverType"], "e1000");
    site.vm_does(&vm, "startVmInstance", json!({})).await;
    assert!(site.world().state().down.contains(&nic), "it is down from the start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_gets_more_of_its_host_by_its_priority() {
    let site = Site::start().await;
    let vm = site.some_vm().await;
    assert!(site.world().state().shares.is_empty(), "nothing is said of it");
    site.world().refuse(tuning::SetPriority::PATH, "no cgroup");
    let refused = site.vm_refuses(&vm, "updateVmPriority", json!({ "priority": "High" })).await;
    assert!(refused.contains("no cgroup"), "{refused}");
    site.world().obey();
    site.vm_does(&vm, "updateVmPriority", json!({ "priority": "High" })).await;
    assert_eq!(site.world().state().shares[&vm], 2048);
    let high = site.list("/vm-priority-config?q=level=High").await.remove(0);
    let path = format!("/vm-priority-config/{}/actions", high["uuid"].as_str().unwrap());
    let more = json!({ "updatePriorityConfig": { "cpuShares": 4096 } });
    let shown = site.api.call(Method::PUT, &path, more).await.unwrap();
    assert_eq!(
        (&shown["inventory"]["cpuShares"], &shown["inventory"]["oomScoreAdj"]),
        (&json!(4096), &json!(-500))
    );
    assert_eq!(site.world().state().shares[&vm], 4096);
    let far = json!({ "updatePriorityConfig": { "oomScoreAdj": 2000 } });
    assert!(site.refused(Method::PUT, &path, far).await.details.contains("between -1000 and 1000"));
    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    site.vm_does(&vm, "startVmInstance", json!({})).await;
    assert_eq!(site.world().state().shares[&vm], 4096, "told by the start too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_asked_of_a_vm_is_told() {
    let site = Site::start().await;
    let vm = site.some_vm().await;
    let told = site.api.get(&format!("/vm-instances/{vm}/capabilities")).await.unwrap();
    assert_eq!(
        (&told["capabilities"]["Reimage"], &told["capabilities"]["MemorySnapshot"]),
        (&json!(true), &json!(false))
    );
    let told = site.api.get(&format!("/vm-instances/capabilities?vmUuids={vm}")).await.unwrap();
    assert_eq!(told["vmsCaps"][&vm]["supportReimage"], json!(true));
    let told = site.api.get(&format!("/vm-instances/{vm}/console-addresses")).await.unwrap();
    assert_eq!(
        (&told["port"], &told["protocol"], &told["hostIp"]),
        (&json!(5900), &json!("vnc"), &json!("127.0.0.1"))
    );
    let told =
        site.api.get(&format!("/vm-instances/devices?uuid={vm}&resourceTypes=VolumeVO")).await.unwrap();
    assert_eq!(told["addressMap"]["VolumeVO"][0]["address"], "0000:04:00.0");
    let path = format!("/vm-instances/{vm}/actions");
    let picture = site.api.call(Method::PUT, &path, json!({ "takeVmConsoleScreenshot": {} })).await.unwrap();
    assert!(picture["imageData"].as_str().unwrap().starts_with("data:image/png;base64,"));
    site.api.call(Method::POST, &path, json!({ "params": {} })).await.unwrap();
    assert_eq!(site.world().count(wire::calls::guest::Trim::PATH), 1);

    let asked = format!(
        "/vm-instances/candidate-destinations?imageUuid={}&l3NetworkUuids={}&instanceOfferingUuid={}",
        site.image, site.l3, site.offering
    );
    let told = site.api.get(&asked).await.unwrap();
    assert_eq!(told["hosts"][0]["uuid"], json!(site.hosts[0]));
    assert_eq!(told["clusterPsMap"][&site.cluster][0]["uuid"], json!(site.primary_storage));
    let told = site.api.get(&format!("{asked}&rootDiskSize=4398046511104")).await.unwrap();
    assert_eq!(told["hosts"], json!([]), "no storage has 4 TiB");
    let asked = format!(
        "/vm-instances/candidate-storages?imageUuid={}&l3NetworkUuids={}&dataDiskSizes=1073741824",
        site.image, site.l3
    );
    let told = site.api.get(&asked).await.unwrap();
    assert_eq!(told["rootVolumePrimaryStorages"][0]["uuid"], json!(site.primary_storage));
    assert_eq!(told["dataVolumePrimaryStorages"]["1073741824"][0]["uuid"], json!(site.primary_storage));
    site.vm_does(&vm, "stopVmInstance", json!({})).await;
    let told = site.api.get(&format!("/vm-instances/{vm}/starting-target-hosts")).await.unwrap();
    assert_eq!(told["hostInventories"][0]["uuid"], json!(site.hosts[0]));
}
