//! Where bits are kept: storages and images.

use super::{
    ARCHITECTURES, DESCRIPTION, Kind, NAME, Opt, PLATFORMS, Resource, act, arg, bytes, column, opt, post,
    reference,
};

pub const RESOURCES: &[Resource] = &[PRIMARY, BACKUP, IMAGE];

const PRIMARY: Resource = Resource {
    name: "primary-storage",
    title: "primary storage",
    path: Some("/primary-storage"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("TYPE", "type"),
        column("URL", "url"),
        reference("CLUSTERS", "attachedClusterUuids/*", "cluster"),
        column("STATUS", "status"),
        bytes("TOTAL", "totalCapacity"),
        bytes("FREE", "availableCapacity"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/primary-storage/local-storage",
            "Add a directory of the hosts for volumes",
            DIRECTORY,
        ),
        post(
            "create-shared",
            "/primary-storage/smp",
            "Add a directory in which all hosts have mounted the same",
            DIRECTORY,
        ),
        post("create-nfs", "/primary-storage/nfs", "Add a share of an NFS server, which hosts mount", SHARE),
    ],
    deletable: true,
};

const DIRECTORY: &[Opt] = &[
    NAME,
    opt("zone", "zoneUuid", Kind::Reference("zone"), "where it is").required(),
    opt("directory", "url", Kind::Text, "the absolute path on every host").required(),
    DESCRIPTION,
];

const SHARE: &[Opt] = &[
    NAME,
    opt("zone", "zoneUuid", Kind::Reference("zone"), "where it is").required(),
    opt("share", "url", Kind::Text, "server:/path").required(),
    DESCRIPTION,
];

const BACKUP: Resource = Resource {
    name: "backup-storage",
    title: "backup storage",
    path: Some("/backup-storage"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("TYPE", "type"),
        column("HOST", "hostname"),
        column("URL", "url"),
        reference("ZONES", "attachedZoneUuids/*", "zone"),
        column("STATUS", "status"),
        bytes("TOTAL", "totalCapacity"),
        bytes("FREE", "availableCapacity"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/backup-storage/sftp",
            "Add a machine that keeps images",
            &[
                NAME,
                opt("host", "hostname", Kind::Text, "the machine on which the storage agent runs").required(),
                opt("directory", "url", Kind::Text, "the absolute path there").required(),
                DESCRIPTION,
            ],
        )
        .with(&[("username", "root"), ("password", "unused")]),
        act(
            "reconnect",
            "/backup-storage/{uuid}/actions",
            "reconnectBackupStorage",
            "Connect to its agent anew",
            &[arg("STORAGE", "uuid", Kind::Reference("backup-storage"), "name or uuid")],
        ),
    ],
    deletable: true,
};

const THIS_IMAGE: Opt = arg("IMAGE", "uuid", Kind::Reference("image"), "name or uuid");
const IMAGE_ACTIONS: &str = "/images/{uuid}/actions";
const MEDIA: &[&str] = &["RootVolumeTemplate", "DataVolumeTemplate", "ISO"];

const IMAGE: Resource = Resource {
    name: "image",
    title: "image",
    path: Some("/images"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        column("FORMAT", "format"),
        bytes("SIZE", "size"),
        column("PLATFORM", "platform"),
        column("STATE", "state"),
        column("STATUS", "status"),
        reference("STORAGES", "backupStorageRefs/*/backupStorageUuid", "backup-storage"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/images",
            "Add an image that its storages fetch",
            &[
                NAME,
                opt("url", "url", Kind::Text, "http://…, https://…, or file:///… on the storage's machine")
                    .required(),
                opt(
                    "backup-storage",
                    "backupStorageUuids",
                    Kind::References("backup-storage"),
                    "where it is kept; may be repeated",
                )
                .required(),
                opt("format", "format", Kind::OneOf(&["qcow2", "raw", "iso"]), "what it must be"),
                opt("media-type", "mediaType", Kind::OneOf(MEDIA), "what it is for"),
                opt("platform", "platform", Kind::OneOf(PLATFORMS), "what kind of system it holds"),
                opt("guest-os", "guestOsType", Kind::Text, "which system it holds"),
                opt("architecture", "architecture", Kind::OneOf(ARCHITECTURES), "for which CPUs it is"),
                opt("virtio", "virtio", Kind::Switch, "its system has virtio drivers"),
                DESCRIPTION,
            ],
        ),
        post(
            "of-volume",
            "/images/root-volume-templates/from/volumes/{rootVolumeUuid}",
            "Make an image of the root volume of a stopped VM",
            &[
                arg("VOLUME", "rootVolumeUuid", Kind::Reference("volume"), "name or uuid"),
                NAME,
                opt(
                    "backup-storage",
                    "backupStorageUuids",
                    Kind::References("backup-storage"),
                    "where it is kept",
                ),
                DESCRIPTION,
            ],
        ),
        post(
            "of-snapshot",
            "/images/root-volume-templates/from/volume-snapshots/{snapshotUuid}",
            "Make an image of what a snapshot of a root volume shows",
            &[
                arg("SNAPSHOT", "snapshotUuid", Kind::Reference("snapshot"), "name or uuid"),
                NAME,
                opt(
                    "backup-storage",
                    "backupStorageUuids",
                    Kind::References("backup-storage"),
                    "where it is kept",
                )
                .required(),
                DESCRIPTION,
            ],
        ),
        act("recover", IMAGE_ACTIONS, "recoverImage", "Take its deletion back", &[THIS_IMAGE]),
        act(
            "expunge",
            IMAGE_ACTIONS,
            "expungeImage",
            "Delete the bits of a deleted image now",
            &[THIS_IMAGE],
        ),
    ],
    deletable: true,
};
