//! Everything over mutual TLS: a host that has enrolled, a VM on it, and what must not disturb it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cumulet_tests::api::{Api, Refusal, text};
use cumulet_tests::controller::{Controller, Ports, free_address};
use cumulet_tests::site::Site as Furnished;
use fleet::{Host, Moment, Place, Size};
use hyper::Method;
use serde_json::json;
use wire::Call;
use wire::calls::vm;
use wire::tls::{Directory, Enrol, Keeper, MachineId};

use crate::site::wanted;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn enrolled(api: &Api, controller: &Controller, dir: &Path) -> (MachineId, Keeper) {
    let params = json!({ "name": "hv1", "roles": ["host", "storage"] });
    let made = api.create("/enrolment-tokens", params).await.unwrap();
    let enrol = Enrol {
        controller: format!("https://{}", controller.agents()),
        token: text(&made, "/token").unwrap().to_owned(),
        address: None,
        name: None,
        tls_dir: Some(dir.to_owned()),
        again: false,
    };
    let machine = enrol.run().await.unwrap();
    (machine, Keeper::open(Directory::new(dir)).unwrap())
}

fn ports() -> Ports {
    let [kvm, vrouter, storage] = std::array::from_fn(|_| free_address().unwrap().port());
    Ports { kvm, vrouter, storage }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_lives_over_mutual_tls_through_a_crash_and_a_renewal_and_a_revoked_host_is_left_alone() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), ports());
    let program = cumulet_tests::target().join("debug/cumulet-controller");
    let mut controller = Controller::certified(program, dir.path(), ports).unwrap();
    controller.start().await.unwrap();
    let api = controller.login().await.unwrap();
    let (machine, mut keeper) = enrolled(&api, &controller, &dir.path().join("tls")).await;
    let Ports { kvm, vrouter, storage } = ports;
    let place = Place { kvm, vrouter, storage, ..Place::default() };
    let host = Host::start_as(Some(keeper.live().clone()), place, Size::default()).await.unwrap();
    let site = Furnished::furnish(&api, &wanted(), &|_| ()).await.unwrap();

    // The successor is the same authority, and the host's outcome finds it.
    host.world.trap(vm::Start::PATH, Moment::After, controller.killer());
    let job = api.begin(Method::POST, "/vm-instances", json!({ "params": site.vm("web") })).await.unwrap();
    controller.dies().await.unwrap();
    controller.start().await.unwrap();
    let web = api.follow(&job).await.unwrap();
    assert_eq!((web["inventory"]["state"].as_str(), host.world.count(vm::Start::PATH)), (Some("Running"), 1));
    assert!(host.world.sprung());

    let before = keeper.live().current();
    // Certificates count whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    keeper.look(SystemTime::now() + 61 * DAY).await.unwrap();
    assert_ne!(before.not_after(), keeper.live().current().not_after());
    api.create("/vm-instances", site.vm("db")).await.unwrap();
    assert_eq!(host.world.state().domains.len(), 2);

    let revoke = json!({ "revokeMachine": {} });
    api.call(Method::PUT, &format!("/machines/{machine}/actions"), revoke).await.unwrap();
    let stop = format!("/vm-instances/{}/actions", text(&web, "/inventory/uuid").unwrap());
    let error = api.call(Method::PUT, &stop, json!({ "stopVmInstance": {} })).await.unwrap_err();
    let refusal = error.downcast_ref::<Refusal>().unwrap_or_else(|| panic!("{error:#}"));
    assert!(refusal.details.contains("is revoked"), "{refusal}");
    assert_eq!(host.world.count(vm::Stop::PATH), 0);
}
