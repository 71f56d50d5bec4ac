//! What a guest does with the network's server: asks for an address, asks for names.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use host::netns::Namespace;

use crate::lab::run_in;

/// What the DHCP server told the machine, by udhcpc's names; nothing when nobody answered.
pub async fn dhcp(machine: &Namespace) -> Option<HashMap<String, String>> {
    let dir = tempfile::tempdir().unwrap();
    let (script, told) = (dir.path().join("script"), dir.path().join("told"));
    std::fs::write(&script, format!("#!/bin/sh\n[ \"$1\" = bound ] && env > {}\nexit 0\n", told.display()))
        .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let options = "udhcpc -f -n -q -t 2 -T 1 -i eth0 -O staticroutes -O mtu -O hostname -s";
    let mut words: Vec<_> = options.split(' ').collect();
    let script = script.to_str().unwrap().to_owned();
    words.push(&script);
    let outcome = run_in(machine, "busybox", &words).await;
    let Ok(told) = std::fs::read_to_string(told) else {
        let words = outcome.unwrap_err();
        assert!(words.contains("no lease"), "{words}");
        return None;
    };
    Some(told.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
}

/// The address of `name` by the server's answer, or the answer's code when it has none.
pub async fn resolve(machine: &Namespace, server: &str, name: &str) -> Result<Ipv4Addr, u8> {
    let question = question(name);
    let server = format!("{server}:53");
    let answer = machine.within(move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut answer = vec![0; 512];
        for _ in 0..5 {
            socket.send_to(&question, &server)?;
            if let Ok(length) = socket.recv(&mut answer) {
                answer.truncate(length);
                return Ok(answer);
            }
        }
        Err(std::io::Error::other("no answer"))
    });
    let answer = answer.await.unwrap();
    let (code, count) = (answer[3] & 15, answer[7]);
    let tail: [u8; 4] = answer[answer.len() - 4..].try_into().unwrap();
    if code == 0 && count > 0 { Ok(tail.into()) } else { Err(code) }
}

/// Answers every question for an A record with `ip`, at `at`, inside `machine`, until the test ends.
pub async fn answer_names(machine: &Namespace, at: &str, ip: Ipv4Addr) {
    let at = format!("{at}:53");
    let socket = machine.within(move || UdpSocket::bind(at)).await.unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            // Up to the end of the question; dnsmasq appends an OPT record of 11 bytes when it asks so.
            let end = 12 + question[12..length].iter().position(|&b| b == 0).unwrap() + 5;
            let mut answer = question[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(ip.octets());
            let _ = socket.send_to(&answer, from);
        }
    });
}

fn question(name: &str) -> Vec<u8> {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}
