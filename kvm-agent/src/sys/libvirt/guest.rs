//! Questions to the guest itself: to its agent, and to its screen.

use virt::stream::Stream;
use virt::sys;

use super::{ACT, ASK, Error, Libvirt, done};

/// How long the guest's agent may take, seconds.
const AGENT: i32 = 10;
/// More than any screen has.
const LARGEST_PICTURE: usize = 256 << 20;

impl Libvirt {
    /// One command to the guest's agent, as JSON; its answer, as JSON.
    pub async fn ask_guest(&self, name: &str, command: String) -> Result<String, Error> {
        self.on(name, "ask the guest's agent", ASK, move |domain| {
            domain.qemu_agent_command(&command, AGENT, 0)
        })
        .await
    }

    pub async fn set_password(&self, name: &str, user: &str, password: &str) -> Result<(), Error> {
        let (user, password) = (user.to_owned(), password.to_owned());
        self.on(name, "set the password in the guest", ASK, move |domain| {
            domain.set_user_password(&user, &password, 0).map(drop)
        })
        .await
    }

    pub async fn trim(&self, name: &str) -> Result<(), Error> {
        self.on(name, "trim the guest's file systems", ACT, |domain| {
            // SAFETY: no mount point means all of them.
            done(unsafe { sys::virDomainFSTrim(domain.as_ptr(), std::ptr::null(), 0, 0) })
        })
        .await
    }

    /// The picture that QEMU makes of the screen, and its type.
    pub async fn screenshot(&self, name: &str) -> Result<(String, Vec<u8>), Error> {
        let name = name.to_owned();
        self.call("take a picture of the screen", ASK, move |connect| {
            let domain = virt::domain::Domain::lookup_by_name(connect, &name)?;
            let stream = Stream::new(connect, 0)?;
            let kind = domain.screenshot(&stream, 0, 0)?;
            let (mut picture, mut piece) = (Vec::new(), vec![0; 256 << 10]);
            loop {
                let length = stream.recv(&mut piece)?;
                picture.extend(piece.iter().take(length));
                if length == 0 || picture.len() > LARGEST_PICTURE {
                    break;
                }
            }
            stream.finish()?;
            Ok((kind, picture))
        })
        .await
    }
}
