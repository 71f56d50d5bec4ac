//! Security groups between guests: namespaces on a bridge, whose packets the kernel judges.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use host::netns::{self, Namespace};
use serde_json::{Value, json};

use super::devices::refusal;
use super::lab::{Lab, alone};

const GROUP: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const FRIENDS: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const APPLY: &str = "/securitygroup/applyrules";

/// `vnic<number>.0` on the bridge, 10.9.0.<number> at its other end.
struct Guest {
    inside: Namespace,
}

impl Guest {
    async fn plugged_in(lab: &Lab, bridge: &str, number: u8) -> Guest {
        let inside = netns::create(&format!("sg{}-{number}", process::id())).await.unwrap();
        let (tap, end) = (format!("vnic{number}.0"), format!("end{number}"));
        lab.net.add_veth(&tap, &end).await.unwrap();
        let link = async |name: &str| lab.net.find(name).await.unwrap().unwrap();
        lab.net.enslave(&link(&tap).await, &link(bridge).await).await.unwrap();
        lab.net.set_up(&link(&tap).await).await.unwrap();
        lab.net.move_into(&link(&end).await, std::os::fd::AsFd::as_fd(inside.file())).await.unwrap();
        let net = inside.netlink().await.unwrap();
        let end = net.find(&end).await.unwrap().unwrap();
        net.add_address(&end, [10, 9, 0, number].into(), 24).await.unwrap();
        net.set_up(&end).await.unwrap();
        Guest { inside }
    }

    /// Answers whoever connects.
    async fn serve(&self, port: u16) {
        let listener = self.inside.within(move || TcpListener::bind(("0.0.0.0", port))).await.unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                stream?.write_all(b"hi")?;
            }
            io::Result::Ok(())
        });
    }

    /// Whether an answer comes.
    async fn reaches(&self, number: u8, port: u16) -> bool {
        let target = SocketAddr::from(([10, 9, 0, number], port));
        let heard = self.inside.within(move || {
            let limit = Duration::from_millis(400);
            let mut stream = TcpStream::connect_timeout(&target, limit)?;
            stream.set_read_timeout(Some(limit))?;
            let mut heard = [0; 2];
            stream.read_exact(&mut heard)
        });
        heard.await.is_ok()
    }
}

fn nic(number: u8, action: &str) -> Value {
    json!({
        "vmNicUuid": format!("{number:032x}"), "internalName": format!("vnic{number}.0"),
        "mac": "fa:16:3e:00:00:01", "vmNicIps": [format!("10.9.0.{number}")],
        "ingressPolicy": "DENY", "egressPolicy": "ALLOW", "actionCode": action,
        "securityGroupRefs": { GROUP: 1 },
    })
}

fn rule(port: u16, remote: Value) -> Value {
    let mut rule = json!({
        "ipVersion": 4, "priority": 1, "type": "Ingress", "state": "Enabled", "protocol": "TCP",
        "dstPortRange": port.to_string(), "action": "ACCEPT",
    });
    rule.as_object_mut().unwrap().extend(remote.as_object().unwrap().clone());
    rule
}

fn rules() -> Value {
    let (from_one, friends) = (
        json!({ "srcIpRange": "10.9.0.1,10.9.0.0/31" }),
        json!({ "remoteGroupUuid": FRIENDS, "remoteGroupVmIps": [] }),
    );
    json!({ "vmNicTOs": [nic(2, "applyChain")], "ruleTOs": { GROUP: [rule(80, from_one), rule(81, friends)] } })
}

#[test]
fn a_guest_is_reached_as_its_groups_say_and_answers_come_back() {
    alone("security_group::a_guest_is_reached_as_its_groups_say_and_answers_come_back", async || {
        let lab = Lab::start().await;
        lab.net.add_veth("eth0", "wire0").await.unwrap();
        let l2 = "11111111111111111111111111111111";
        let bridge = json!({ "physicalInterfaceName": "eth0", "bridgeName": "br_eth0", "l2NetworkUuid": l2 });
        lab.done("/network/l2novlan/createbridge", bridge).await;
        let mut guests = Vec::new();
        for number in 1..=3 {
            guests.push(Guest::plugged_in(&lab, "br_eth0", number).await);
        }
        for port in [80, 81] {
            guests[1].serve(port).await;
        }
        guests[2].serve(80).await;
        lab.done("/securitygroup/checkdefaultrulesonhost", json!({})).await;
        assert!(guests[2].reaches(2, 81).await, "without groups all may pass");

        for _ in 0..2 {
            lab.done(APPLY, rules()).await;
            assert!(guests[0].reaches(2, 80).await && !guests[0].reaches(2, 81).await);
            assert!(!guests[2].reaches(2, 80).await && !guests[2].reaches(2, 81).await);
            assert!(guests[1].reaches(3, 80).await, "an answer is no question");
        }
        let friends = |ips: Value, action: &str| {
            json!({ "updateGroupTOs": [{
                "securityGroupUuid": FRIENDS, "securityGroupVmIps": ips, "actionCode": action,
            }] })
        };
        let update = "/securitygroup/updategroupmember";
        lab.done(update, friends(json!(["10.9.0.3"]), "updateGroup")).await;
        assert!(guests[2].reaches(2, 81).await && !guests[0].reaches(2, 81).await);
        lab.done(update, friends(json!(["10.9.0.3"]), "deleteGroup")).await;
        assert!(!guests[2].reaches(2, 81).await);

        let mut closed = rules();
        closed["vmNicTOs"][0]["egressPolicy"] = json!("DENY");
        lab.done(APPLY, closed).await;
        assert!(!guests[1].reaches(3, 80).await && guests[0].reaches(2, 80).await);
        let mut odd = rules();
        odd["ruleTOs"][GROUP][0]["srcIpRange"] = json!("10.9.0.1 accept");
        assert!(refusal(&lab, APPLY, odd).await.starts_with("srcIpRange"));
        assert!(!guests[1].reaches(3, 80).await, "what is refused changes nothing");

        lab.done("/securitygroup/refreshrulesonhost", json!({ "vmNicTOs": [], "ruleTOs": {} })).await;
        assert!(guests[2].reaches(2, 81).await);
        lab.done(APPLY, rules()).await;
        let tap = lab.net.find("vnic2.0").await.unwrap().unwrap();
        lab.net.delete(&tap).await.unwrap();
        lab.done("/securitygroup/cleanupunusedrules", json!({})).await;
        assert_eq!(ruleset("vnic2.0"), 0);
        assert_eq!(ruleset(FRIENDS), 1, "a group goes when the rules that name it are gone");
        lab.done("/securitygroup/cleanupunusedrules", json!({})).await;
        assert_eq!(ruleset(FRIENDS), 0);
        for guest in guests {
            netns::delete(guest.inside.name()).await.unwrap();
        }
    });
}

/// How many lines of the rules name it.
#[expect(clippy::disallowed_methods, reason = "what the kernel has, by another way than the agent's")]
fn ruleset(word: &str) -> usize {
    let listed = process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains(word)).count()
}
