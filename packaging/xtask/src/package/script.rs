//! The scripts that package formats want: from `packaging/scripts`, with the program's names filled in.

use super::table::{Program, Service, USER};

const DEB: [(&str, &str); 3] = [
    ("postinst", include_str!("../../../scripts/deb-postinst")),
    ("prerm", include_str!("../../../scripts/deb-prerm")),
    ("postrm", include_str!("../../../scripts/deb-postrm")),
];

const RPM: [(&str, &str); 3] = [
    ("post", include_str!("../../../scripts/rpm-post")),
    ("preun", include_str!("../../../scripts/rpm-preun")),
    ("postun", include_str!("../../../scripts/rpm-postun")),
];

const RPM_USER: (&str, &str) = ("pre", include_str!("../../../scripts/rpm-pre"));

/// Name and text of each; none for a program that is no service.
pub fn deb(program: &Program) -> Vec<(&'static str, String)> {
    fill(program, DEB)
}

pub fn rpm(program: &Program) -> Vec<(&'static str, String)> {
    let user = program.needs_user().then_some(RPM_USER);
    fill(program, user.into_iter().chain(RPM))
}

fn fill(
    program: &Program,
    scripts: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Vec<(&'static str, String)> {
    let Some(service) = &program.service else { return Vec::new() };
    scripts.into_iter().map(|(name, text)| (name, filled(text, program.name, service))).collect()
}

fn filled(text: &str, name: &str, service: &Service) -> String {
    text.replace("@NAME@", name).replace("@CONFIG@", &service.config_path()).replace("@USER@", USER)
}
