use engine::api::{Api, Ask, Asked, Job, Route, Settled};
use engine::inventory::{Listed, find, listed, show};
use engine::{Id, Result, api, codes, tag};
use schemars::JsonSchema;
use serde::Serialize;

use super::{SSH_KEY, check_keys, check_user_data, lines, store};
use crate::ssh_key_pair::{SshKeyPair, SshKeyPairInventory};
use crate::vm::{VmInstance, VmInstanceInventory};

api! {
    /// Beside those of key pairs that are attached; from its next start on.
    SetVmSshKey: PUT "/vm-instances/{uuid}/actions" "setVmSshKey" {
        uuid: Id<VmInstance>,
        // ZStack's spelling.
        #[serde(alias = "SshKey")]
        ssh_key: String,
    }
}

impl Api for SetVmSshKey {
    const ROUTE: Route = SetVmSshKey::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        check_keys(&self.ssh_key)?;
        say(job, self.uuid, Some(lines(&self.ssh_key).join("\n"))).await
    }
}

api! {
    DeleteVmSshKey: DELETE "/vm-instances/{uuid}/ssh-keys" {
        uuid: Id<VmInstance>,
    }
}

impl Api for DeleteVmSshKey {
    const ROUTE: Route = DeleteVmSshKey::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        say(job, self.uuid, None).await
    }
}

async fn say(job: Job, vm: Id<VmInstance>, keys: Option<String>) -> Result<Settled> {
    job.write(move |tx| {
        Box::pin(async move {
            find::<VmInstanceInventory>(tx, vm).await?;
            let text = keys.map(|keys| SSH_KEY.text(&[&keys]));
            tag::replace(tx, &SSH_KEY, vm.cast(), text.as_deref()).await?;
            show::<VmInstanceInventory>(tx, vm).await
        })
    })
    .await
}

api! {
    GetVmSshKey: GET "/vm-instances/{uuid}/ssh-keys" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SshKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_key: Option<String>,
}

impl Ask for GetVmSshKey {
    const ROUTE: Route = GetVmSshKey::ROUTE;
    type Reply = SshKey;

    async fn answer(self, asked: Asked) -> Result<SshKey> {
        let mut tx = asked.engine.db().read().await?;
        find::<VmInstanceInventory>(&mut tx, self.uuid).await?;
        let said = tag::tokens(&mut tx, &SSH_KEY, self.uuid.cast()).await?;
        Ok(SshKey { ssh_key: said.first().map(|tokens| tokens.get("sshkey").to_owned()) })
    }
}

api! {
    /// What cloud-init does in the guest, in base64; from its next start on, if it has not been done.
    SetVmUserData: PUT "/vm-instances/{uuid}/actions" "setVmUserData" secret ["userData"] {
        uuid: Id<VmInstance>,
        user_data: String,
    }
}

impl Api for SetVmUserData {
    const ROUTE: Route = SetVmUserData::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        check_user_data(&self.user_data)?;
        job.write(move |tx| {
            Box::pin(async move {
                find::<VmInstanceInventory>(tx, self.uuid).await?;
                store::set_user_data(tx, self.uuid, &self.user_data).await?;
                show::<VmInstanceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    DeleteVmUserData: DELETE "/vm-instances/{uuid}/user-data" {
        uuid: Id<VmInstance>,
    }
}

impl Api for DeleteVmUserData {
    const ROUTE: Route = DeleteVmUserData::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        job.write(move |tx| {
            Box::pin(async move {
                find::<VmInstanceInventory>(tx, self.uuid).await?;
                store::drop_user_data(tx, self.uuid).await?;
                show::<VmInstanceInventory>(tx, self.uuid).await
            })
        })
        .await
    }
}

api! {
    GetVmUserData: GET "/vm-instances/{uuid}/user-data" {
        uuid: Id<VmInstance>,
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserData {
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<String>,
}

impl Ask for GetVmUserData {
    const ROUTE: Route = GetVmUserData::ROUTE;
    type Reply = UserData;

    async fn answer(self, asked: Asked) -> Result<UserData> {
        let mut tx = asked.engine.db().read().await?;
        find::<VmInstanceInventory>(&mut tx, self.uuid).await?;
        Ok(UserData { user_data: store::user_data(&mut tx, self.uuid).await? })
    }
}

api! {
    /// The guest lets its owner in, from its next start on. Succeeds when it is attached.
    AttachSshKeyPairToVmInstance: POST "/ssh-key-pair/{sshKeyPairUuid}/vm-instance/{vmInstanceUuid}" "params"
        changes ["vmInstanceUuid"] {
        ssh_key_pair_uuid: Id<SshKeyPair>,
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Api for AttachSshKeyPairToVmInstance {
    const ROUTE: Route = AttachSshKeyPairToVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (vm, key) = (self.vm_instance_uuid, self.ssh_key_pair_uuid);
        job.write(move |tx| {
            Box::pin(async move {
                find::<VmInstanceInventory>(tx, vm).await?;
                find::<SshKeyPairInventory>(tx, key).await?;
                store::attach(tx, vm, key).await?;
                show::<VmInstanceInventory>(tx, vm).await
            })
        })
        .await
    }
}

api! {
    /// The guest is not told of it any more; what it has been told it keeps.
    DetachSshKeyPairFromVmInstance: DELETE "/ssh-key-pair/{sshKeyPairUuid}/vm-instance/{vmInstanceUuid}"
        changes ["vmInstanceUuid"] {
        ssh_key_pair_uuid: Id<SshKeyPair>,
        vm_instance_uuid: Id<VmInstance>,
    }
}

impl Api for DetachSshKeyPairFromVmInstance {
    const ROUTE: Route = DetachSshKeyPairFromVmInstance::ROUTE;

    async fn run(self, job: Job) -> Result<Settled> {
        let (vm, key) = (self.vm_instance_uuid, self.ssh_key_pair_uuid);
        job.write(move |tx| {
            Box::pin(async move {
                let of: VmInstanceInventory = find(tx, vm).await?;
                let pair: SshKeyPairInventory = find(tx, key).await?;
                if !store::detach(tx, vm, key).await? {
                    let details =
                        format!("ssh key pair \"{}\" is not attached to vm \"{}\"", pair.name, of.name);
                    return Err(codes::STATE.because(details));
                }
                show::<VmInstanceInventory>(tx, vm).await
            })
        })
        .await
    }
}

api! {
    /// The key pairs that are attached to the VM.
    GetVmSshKeyPairs: GET "/vm-instances/{uuid}/ssh-key-pairs" {
        uuid: Id<VmInstance>,
    }
}

impl Ask for GetVmSshKeyPairs {
    const ROUTE: Route = GetVmSshKeyPairs::ROUTE;
    type Reply = Listed<SshKeyPairInventory>;

    async fn answer(self, asked: Asked) -> Result<Listed<SshKeyPairInventory>> {
        let mut tx = asked.engine.db().read().await?;
        find::<VmInstanceInventory>(&mut tx, self.uuid).await?;
        let pairs = store::key_pairs(&mut tx, self.uuid).await?;
        listed(&mut tx, &pairs).await
    }
}
