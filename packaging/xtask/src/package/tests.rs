use super::*;
use cumulet_tests::lab::program::{run, run_in};
use table::RunsAs;
use tree::write;

/// A build whose programs are all a copy of a small one, in a directory that goes away.
struct Small {
    _dir: tempfile::TempDir,
    build: Build,
}

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let programs = dir.path().join("programs");
        tree::make_dir(&programs).unwrap();
        for program in PROGRAMS {
            fs::copy("/usr/bin/true", programs.join(program.name)).unwrap();
        }
        let out = dir.path().join("out of it");
        tree::make_dir(&out).unwrap();
        Small { build: Build { version: "1.2.3", programs, out }, _dir: dir }
    }
}

fn program(name: &str) -> &'static Program {
    PROGRAMS.iter().find(|program| program.name == name).unwrap()
}

fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn a_deb_says_what_it_is_and_holds_program_unit_and_configuration() {
    let small = Small::new();
    let deb = deb::build(&small.build, program("cumulet-controller")).unwrap();
    let deb = deb.to_str().unwrap();
    assert!(deb.ends_with("cumulet-controller_1.2.3-1_amd64.deb") || cfg!(not(target_arch = "x86_64")));
    let contents = run("dpkg-deb", ["-c", deb]).unwrap();
    for (mode, path) in [
        ("-rwxr-xr-x root/root", " ./usr/bin/cumulet-controller"),
        ("-rw-r--r-- root/root", " ./usr/lib/systemd/system/cumulet-controller.service"),
        ("-rw-r----- root/root", " ./etc/cumulet/controller.toml"),
        ("-rw-r--r-- root/root", " ./usr/lib/sysusers.d/cumulet-controller.conf"),
        ("drwxr-xr-x root/root", " ./etc/cumulet/"),
    ] {
        assert!(has_line(&contents, &[mode, path]), "{path} is not {mode}:\n{contents}");
    }
    let info = run("dpkg-deb", ["--info", deb]).unwrap();
    for line in ["Version: 1.2.3-1", "libc6 (>= ", "ca-certificates", "Section: admin"] {
        assert!(info.contains(line), "{line} is not in:\n{info}");
    }
    assert_eq!(run("dpkg-deb", ["--info", deb, "conffiles"]).unwrap(), "/etc/cumulet/controller.toml\n");
}

#[test]
fn the_sums_in_a_deb_are_those_of_its_files() {
    let small = Small::new();
    let deb = deb::build(&small.build, program("cumulet-vrouter-agent")).unwrap();
    let to = small.build.out.join("unpacked");
    run("dpkg-deb", ["-R".as_ref(), deb.as_os_str(), to.as_os_str()]).unwrap();
    let checked = run_in(&to, "md5sum", ["-c", "DEBIAN/md5sums"]).unwrap();
    assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), 4, "{checked}");
}

#[test]
fn an_rpm_says_what_it_is_and_who_reads_its_configuration() {
    let small = Small::new();
    let rpm = rpm::build(&small.build, program("cumulet-storage-agent")).unwrap();
    let rpm = rpm.to_str().unwrap();
    let contents = run("rpm", ["-qp", "-lv", rpm]).unwrap();
    for words in [
        ["-rwxr-xr-x", "root     root", " /usr/bin/cumulet-storage-agent"],
        ["-rw-r-----", "root     cumulet", " /etc/cumulet/storage-agent.toml"],
        ["-rw-r--r--", "root     root", " /usr/lib/systemd/system/cumulet-storage-agent.service"],
        ["drwxr-xr-x", "root     root", " /etc/cumulet"],
    ] {
        assert!(has_line(&contents, &words), "{words:?} is not in:\n{contents}");
    }
    let required = run("rpm", ["-qp", "--requires", rpm]).unwrap();
    assert!(required.contains("qemu-img\n") && required.contains("libc.so.6"), "{required}");
    let scripts = run("rpm", ["-qp", "--scripts", rpm]).unwrap();
    assert!(scripts.contains("useradd -r -g cumulet") && !scripts.contains('@'), "{scripts}");
    assert_eq!(run("rpm", ["-qpc", rpm]).unwrap(), "/etc/cumulet/storage-agent.toml\n");
}

#[test]
fn the_command_line_is_packed_without_a_service() {
    let small = Small::new();
    let deb = deb::build(&small.build, program("cumulet")).unwrap();
    let contents = run("dpkg-deb", ["-c".as_ref(), deb.as_os_str()]).unwrap();
    assert!(contents.contains("./usr/bin/cumulet\n"), "{contents}");
    for absent in ["systemd", "/etc", "sysusers"] {
        assert!(!contents.contains(absent), "{absent} is in:\n{contents}");
    }
    let info = run("dpkg-deb", ["--info".as_ref(), deb.as_os_str()]).unwrap();
    assert!(!info.contains("postinst") && !info.contains("conffiles"), "{info}");
    rpm::build(&small.build, program("cumulet")).unwrap();
}

#[test]
fn a_program_that_was_not_built_is_named() {
    let mut small = Small::new();
    small.build.programs = "/no/such/place".into();
    let error = deb::build(&small.build, program("cumulet")).unwrap_err();
    assert!(format!("{error:#}").contains("cannot pack /no/such/place/cumulet"), "{error:#}");
}

#[test]
fn scripts_are_understood_by_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        for (name, text) in script::deb(program).into_iter().chain(script::rpm(program)) {
            assert!(!text.contains('@'), "{name} of {} has an unfilled name:\n{text}", program.name);
            let path = dir.path().join(name);
            write(&path, &text).unwrap();
            run("dash", ["-n".as_ref(), path.as_os_str()]).unwrap();
        }
    }
}

/// systemd forgives much and only says so; and it wants the program to be there.
#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    for program in PROGRAMS {
        let Some(service) = &program.service else { continue };
        let own = format!("{}.service", program.name);
        for unit in service.beside.iter().copied().chain([own.as_str()]) {
            let text = fs::read_to_string(service.source(unit)).unwrap();
            assert_eq!(complaints(program.name, &text), "");
            let bad = text.replace("Type=simple", "Type=simpel");
            assert_ne!(complaints(program.name, &bad), "", "a bad unit is not noticed");
        }
    }
}

fn complaints(name: &str, unit: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{name}.service"));
    write(&path, &unit.replace(&format!("/usr/bin/{name}"), "/usr/bin/true")).unwrap();
    let verify = ["--man=no".as_ref(), "verify".as_ref(), path.as_os_str()];
    let said = command("systemd-analyze", verify).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    said.lines().filter(|line| line.contains(name)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_unit_beside_another_is_packed_wanted_and_enabled_with_it() {
    for program in PROGRAMS {
        let Some(service) = &program.service else { continue };
        let text = fs::read_to_string(service.source(&format!("{}.service", program.name))).unwrap();
        let paths: Vec<_> =
            tree::entries(program, "/usr/bin/true".as_ref()).into_iter().map(|entry| entry.path).collect();
        for unit in service.beside {
            assert!(paths.contains(&format!("/usr/lib/systemd/system/{unit}")), "{paths:?}");
            assert!(has_line(&text, &["Wants=", unit]) && has_line(&text, &["Also=", unit]), "{unit}");
            let beside = fs::read_to_string(service.source(unit)).unwrap();
            assert!(beside.contains(&format!("ExecStart=/usr/bin/{} ", program.name)));
            assert!(has_line(&beside, &["Restart=always"]) && has_line(&beside, &["WantedBy="]));
        }
    }
}

#[test]
fn units_say_what_the_table_says() {
    for program in PROGRAMS {
        let Some(service) = &program.service else { continue };
        let text = fs::read_to_string(service.source(&format!("{}.service", program.name))).unwrap();
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(has(&format!("ExecStart=/usr/bin/{} --config {}", program.name, service.config_path())));
        let keeps = |dir: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix("StateDirectory="));
            lines.any(|dirs| dirs.split(' ').any(|found| found == format!("cumulet/{dir}")))
        };
        assert!(keeps(service.dir), "{}", program.name);
        assert!(has("Restart=always"), "{}", program.name);
        let user = service.runs_as == RunsAs::ServiceUser;
        assert_eq!((has("User=cumulet"), has("ProtectSystem=strict")), (user, user), "{}", program.name);
        // Root's agents leave the machine's identity to whom it belongs; the others must be able to renew it.
        assert_eq!(keeps("tls"), user && program.name != "cumulet-controller", "{}", program.name);
        // Machines and DHCP servers outlive the agents, and namespaces must be seen by the host.
        assert_eq!(has("KillMode=process"), !user, "{}", program.name);
    }
}
