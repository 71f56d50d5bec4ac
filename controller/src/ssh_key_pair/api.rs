use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::api::{Api, Job, Route, Settled};
use engine::inventory::{Inventory, show};
use engine::{Id, Result, api, codes, deletion};

use super::{SshKeyPair, SshKeyPairInventory, store};
use crate::validate;

api! {
    CreateSshKeyPair: POST "/ssh-key-pair" "params" {
        name: String,
        description: Option<String>,
        public_key: String,
        resource_uuid: Option<Id<SshKeyPair>>,
    }
}

impl Api for CreateSshKeyPair {
    const ROUTE: Route = CreateSshKeyPair::ROUTE;
    const MAKES: Option<&'static str> = Some(SshKeyPairInventory::KIND);

    async fn run(self, job: Job) -> Result<Settled> {
        validate::name("name", &self.name)?;
        must_be_key("publicKey", &self.public_key)?;
        let uuid = self.resource_uuid.unwrap_or(job.id().cast());
        job.write(move |tx| {
            Box::pin(async move {
                store::insert(tx, uuid, &self).await?;
                show::<SshKeyPairInventory>(tx, uuid).await
            })
        })
        .await
    }
}

/// The kinds of keys that OpenSSH takes.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// No key is so long, in bytes of text.
const LONGEST: usize = 16 << 10;

/// One line of an `authorized_keys` file without options: its type, its bits, perhaps a comment.
pub(crate) fn must_be_key(param: &str, key: &str) -> Result<()> {
    check(key).map_err(|why| {
        let details =
            format!("\"{param}\" must be a public key as ssh-keygen writes it to a .pub file: {why}");
        codes::INVALID_ARGUMENT.because(details)
    })
}

fn check(key: &str) -> Result<(), String> {
    let key = key.trim();
    if key.len() > LONGEST || key.chars().any(char::is_control) {
        return Err("it is not one line".into());
    }
    let mut parts = key.split_ascii_whitespace();
    let (Some(kind), Some(bits)) = (parts.next(), parts.next()) else {
        return Err("a type and the bits of a key must stand in it".into());
    };
    if !TYPES.contains(&kind) {
        return Err(format!("\"{kind}\" is none of {}", TYPES.join(", ")));
    }
    let bits = STANDARD.decode(bits).map_err(|_| "its bits are no base64")?;
    let told = bits.split_at_checked(4).and_then(|(length, rest)| {
        let length = u32::from_be_bytes(length.try_into().ok()?);
        rest.split_at_checked(usize::try_from(length).ok()?)
    });
    match told {
        Some((named, rest)) if named == kind.as_bytes() && !rest.is_empty() => Ok(()),
        _ => Err(format!("its bits are no {kind} key")),
    }
}

api! {
    UpdateSshKeyPair: PUT "/ssh-key-pair/{uuid}/actions" "updateSshKeyPair" {
        uuid: Id<SshKeyPair>,
        name: Option<String>,
        description: Option<String>,
    }
}

impl Api for UpdateSshKeyPair {
    const ROUTE: Route = UpdateSshKeyPair::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        self.name.as_deref().map_or(Ok(()), |name| validate::name("name", name))?;
        job.write(move |tx| {
            Box::pin(async move {
                store::update(tx, &self).await?;
                show::<SshKeyPairInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

deletion! { DeleteSshKeyPair: "/ssh-key-pair/{uuid}" of SshKeyPair: SshKeyPairInventory }
