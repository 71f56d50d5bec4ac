//! The agent for real: its own network namespace, a bridge, dnsmasq, guests that ask.

mod guest;
mod lab;

use std::time::Duration;

use guest::{answer_names, dhcp, resolve};
use host::netns::{self, Namespace};
use lab::{SERVER, ip, lab, processes, run_in};
use wire::calls::dhcp::{Apply, HostRoute, Lease};

const MAC: &str = "52:54:00:10:00:01";
const STRANGER: &str = "52:54:00:99:99:99";

#[test]
fn a_nic_gets_exactly_its_lease_and_a_stranger_none() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        let stranger = lab.machine("vnic2.0", STRANGER).await;
        let web = Lease {
            hostname: Some("web".into()),
            gateway: Some("10.4.0.254".into()),
            is_default_l3_network: true,
            dns_domain: Some("lab.internal".into()),
            dns: vec!["10.4.0.53".into()],
            mtu: Some(1450),
            host_routes: vec![HostRoute { prefix: "192.0.2.0/24".into(), nexthop: "10.4.0.7".into() }],
            ..lab.lease(MAC, "10.4.3.9")
        };
        for _ in 0..2 {
            lab.call(lab.prepare()).await.unwrap();
            lab.call(lab.apply(vec![web.clone()])).await.unwrap();
        }
        let (told, nobody) = futures::join!(dhcp(&vm), dhcp(&stranger));
        let told = told.expect("the vm got no lease");
        let given = ["ip", "subnet", "serverid", "router", "dns", "domain", "mtu", "hostname", "lease"];
        let given = given.map(|option| told.get(option).map(String::as_str).unwrap_or_default());
        let expected = [
            "10.4.3.9",
            "255.255.0.0",
            SERVER,
            "10.4.0.254",
            "10.4.0.1 10.4.0.53",
            "lab.internal",
            "1450",
            "web",
            "86400",
        ];
        assert_eq!(given, expected, "{told:?}");
        assert_eq!(told["staticroutes"], "192.0.2.0/24 10.4.0.7 0.0.0.0/0 10.4.0.254");
        assert_eq!(nobody, None, "a stranger got a lease");
        lab
    });
}

#[test]
fn names_of_the_network_are_answered_and_others_are_asked_elsewhere() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        let router = lab.machine("eth9", "52:54:00:00:00:fe").await;
        for (machine, address) in [("vnic1.0", "10.4.3.9/16"), ("eth9", "10.4.0.254/16")] {
            let name = if machine == "eth9" { router.name() } else { vm.name() };
            ip(&format!("-n {name} addr add {address} dev eth0")).await;
        }
        // Behind the gateway, so that the way there is part of the test.
        ip(&format!("-n {} addr add 198.51.100.53/32 dev lo", router.name())).await;
        answer_names(&router, "198.51.100.53", [203, 0, 113, 80].into()).await;
        let web = Lease {
            hostname: Some("web".into()),
            gateway: Some("10.4.0.254".into()),
            dns_domain: Some("lab.internal".into()),
            dns: vec!["198.51.100.53".into()],
            ..lab.lease(MAC, "10.4.3.9")
        };
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![web.clone()])).await.unwrap();
        let held = Ok([10, 4, 3, 9].into());
        assert_eq!(resolve(&vm, SERVER, "web.lab.internal").await, held);
        assert_eq!(resolve(&vm, SERVER, "web").await, held);
        assert_eq!(resolve(&vm, SERVER, "www.example.com").await, Ok([203, 0, 113, 80].into()));
        lab.call(lab.release(vec![web])).await.unwrap();
        let gone = async { while resolve(&vm, SERVER, "web").await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("a released name is still answered");
        lab
    });
}

#[test]
fn a_released_address_goes_to_its_next_holder_at_once() {
    lab(|mut lab| async move {
        let first = lab.machine("vnic1.0", MAC).await;
        let second = lab.machine("vnic2.0", STRANGER).await;
        let (old, new) = (lab.lease(MAC, "10.4.3.9"), lab.lease(STRANGER, "10.4.3.9"));
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![old.clone()])).await.unwrap();
        assert_eq!(dhcp(&first).await.expect("no lease")["ip"], "10.4.3.9");
        lab.call(lab.release(vec![old.clone()])).await.unwrap();
        lab.call(lab.release(vec![old])).await.unwrap();
        assert_eq!(dhcp(&first).await, None, "a released lease is still served");
        lab.call(lab.apply(vec![new])).await.unwrap();
        assert_eq!(dhcp(&second).await.expect("no lease")["ip"], "10.4.3.9");
        // Exactly these: nothing.
        lab.call(Apply { rebuild: true, ..lab.apply(vec![]) }).await.unwrap();
        assert_eq!(dhcp(&second).await, None, "a lease outlived the rebuild");
        lab
    });
}

#[test]
fn the_server_outlives_the_agent_and_is_started_again_when_it_died() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![lab.lease(MAC, "10.4.3.9")])).await.unwrap();
        let before = lab.dnsmasq();
        lab.kill_agent();
        assert!(dhcp(&vm).await.is_some(), "no lease while the agent is down");
        lab.start_agent().await;
        assert_eq!(lab.dnsmasq(), before);
        let other = lab.machine("vnic2.0", STRANGER).await;
        let added = Lease { mtu: Some(1400), ..lab.lease(STRANGER, "10.4.3.10") };
        lab.call(lab.apply(vec![added])).await.unwrap();
        assert_eq!(dhcp(&other).await.expect("no lease for the added")["mtu"], "1400");
        assert_eq!(lab.dnsmasq(), before, "adding a lease restarted the server");

        kill(before).await;
        lab.call(lab.apply(vec![lab.lease(STRANGER, "10.4.3.10")])).await.unwrap();
        let second = lab.dnsmasq();
        lab.kill_agent();
        kill(second).await;
        lab.start_agent().await;
        assert_ne!(lab.dnsmasq(), second);
        assert_eq!(dhcp(&vm).await.expect("no lease from the new server")["ip"], "10.4.3.9");
        let owner = std::fs::metadata(format!("/proc/{}", lab.dnsmasq())).unwrap();
        assert_ne!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "it runs with root's rights");
        lab
    });
}

#[test]
fn another_server_address_takes_the_place_of_the_first() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![lab.lease(MAC, "10.4.3.9")])).await.unwrap();
        let other = wire::calls::dhcp::Prepare { dhcp_server_ip: "10.4.0.2".into(), ..lab.prepare() };
        lab.call(other).await.unwrap();
        assert_eq!(dhcp(&vm).await.expect("no lease")["serverid"], "10.4.0.2");
        let held = ip(&format!("-n {} -4 -o addr show scope global", lab.namespace())).await;
        assert!(held.contains("10.4.0.2/16") && held.lines().count() == 1, "{held}");
        lab
    });
}

#[test]
fn dhcp_of_a_network_stays_on_its_host() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        // The port of another host: here a machine beyond, that claims the VM's own address.
        let beyond = lab.machine("eth9", STRANGER).await;
        lab.call(lab.prepare()).await.unwrap();
        let leases = vec![lab.lease(MAC, "10.4.3.9"), lab.lease(STRANGER, "10.4.3.10")];
        lab.call(lab.apply(leases)).await.unwrap();
        assert_eq!(dhcp(&beyond).await, None, "a machine beyond the uplink was served");
        assert!(dhcp(&vm).await.is_some());
        for (machine, address) in [(&vm, "10.4.3.9/16"), (&beyond, "10.4.3.10/16")] {
            ip(&format!("-n {} addr add {address} dev eth0", machine.name())).await;
        }
        ping(&vm, SERVER).await.expect("the vm does not reach the server");
        ping(&vm, "10.4.3.10").await.expect("the vm does not reach the machine beyond");
        ping(&beyond, SERVER).await.expect_err("the server's address is known beyond the uplink");
        lab
    });
}

#[test]
fn deleting_a_namespace_leaves_nothing() {
    lab(|mut lab| async move {
        lab.machine("eth9", STRANGER).await;
        assert_eq!(lab.inventory().await, []);
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![lab.lease(MAC, "10.4.3.9")])).await.unwrap();
        let mut kinds: Vec<_> = lab.inventory().await.into_iter().map(|owned| owned.kind).collect();
        kinds.sort();
        assert_eq!(kinds, ["dnsmasq", "lease", "namespace", "veth"]);
        let owned = lab.inventory().await;
        assert!(owned.iter().all(|owned| owned.resource == Some(lab.l3())), "{owned:?}");
        for _ in 0..2 {
            lab.call(lab.delete()).await.unwrap();
            assert_eq!(lab.inventory().await, []);
        }
        assert!(netns::open(&lab.namespace()).unwrap().is_none());
        assert!(!lab.network_dir().exists());
        assert_eq!(processes(&lab.namespace()), Vec::<i32>::new());
        assert!(!ip("link").await.contains("dho"));
        let rules = host::process::program("nft").args(["list", "ruleset"]).text().await.unwrap();
        assert_eq!(rules, "");
        let late = lab.call(lab.apply(vec![lab.lease(MAC, "10.4.3.9")])).await.unwrap_err();
        assert!(late.to_string().contains("prepare it first"), "{late}");
        lab
    });
}

#[test]
fn what_a_crash_left_half_made_is_completed() {
    lab(|mut lab| async move {
        let vm = lab.machine("vnic1.0", MAC).await;
        let digits = lab.l3()[20..].to_owned();
        // The pair was made, but neither marked nor moved.
        ip(&format!("link add dho{digits} type veth peer name dhi{digits}")).await;
        lab.call(lab.prepare()).await.unwrap();
        // Somebody took the namespace's name away; the server still keeps the old one alive.
        netns::delete(&lab.namespace()).await.unwrap();
        lab.call(lab.prepare()).await.unwrap();
        lab.call(lab.apply(vec![lab.lease(MAC, "10.4.3.9")])).await.unwrap();
        assert!(dhcp(&vm).await.is_some());
        lab.dnsmasq();
        // The host was rebooted: nothing is left but the files.
        lab.kill_agent();
        kill(lab.dnsmasq()).await;
        netns::delete(&lab.namespace()).await.unwrap();
        lab.start_agent().await;
        assert_eq!(lab.inventory().await, []);
        lab
    });
}

#[test]
fn wrong_commands_are_refused_with_their_reason() {
    lab(|lab| async move {
        use wire::calls::dhcp::Prepare;
        let cases = [
            (Prepare { namespace_name: "../../tmp/x".into(), ..lab.prepare() }, "is not named"),
            (Prepare { dhcp_server_ip: "10.4.0.0".into(), ..lab.prepare() }, "not the address of a server"),
            (Prepare { dhcp_netmask: "255.0.255.0".into(), ..lab.prepare() }, "not a netmask"),
            (Prepare { ip_version: Some(6), ..lab.prepare() }, "version 6"),
        ];
        for (command, reason) in cases {
            let refused = lab.call(command).await.unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        ip("link del br0").await;
        let refused = lab.call(lab.prepare()).await.unwrap_err().to_string();
        assert!(refused.contains("bridge \"br0\" is not on this host"), "{refused}");
        lab.call(lab.delete()).await.unwrap();
        assert_eq!(lab.inventory().await, []);
        lab
    });
}

async fn ping(machine: &Namespace, ip: &str) -> Result<String, String> {
    run_in(machine, "busybox", &["ping", "-c", "1", "-W", "1", ip]).await
}

/// Kills it for good.
async fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let gone = async {
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it does not die");
}
