//! Snapshots of volumes, and groups of them.

use super::{DESCRIPTION, Kind, NAME, Opt, Resource, act, arg, bytes, column, delete, post, reference};

pub const RESOURCES: &[Resource] = &[SNAPSHOT, GROUP];

const THIS_SNAPSHOT: Opt = arg("SNAPSHOT", "uuid", Kind::Reference("snapshot"), "name or uuid");
const SNAPSHOT_ACTIONS: &str = "/volume-snapshots/{uuid}/actions";

const SNAPSHOT: Resource = Resource {
    name: "snapshot",
    title: "snapshot",
    path: Some("/volume-snapshots"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("VOLUME", "volumeUuid", "volume"),
        bytes("SIZE", "size"),
        column("LATEST", "latest"),
        column("STATUS", "status"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/volumes/{volumeUuid}/volume-snapshots",
            "Keep what a volume shows now; its VM may run",
            &[arg("VOLUME", "volumeUuid", Kind::Reference("volume"), "name or uuid"), NAME, DESCRIPTION],
        ),
        act(
            "revert",
            SNAPSHOT_ACTIONS,
            "revertVolumeFromSnapshot",
            "Have the volume show it again; what it had since is lost",
            &[THIS_SNAPSHOT],
        ),
        act("sync-size", SNAPSHOT_ACTIONS, "getVolumeSnapshotSize", "Look how large it is", &[THIS_SNAPSHOT]),
    ],
    deletable: true,
};

const THIS_GROUP: Opt = arg("GROUP", "uuid", Kind::Reference("snapshot-group"), "name or uuid");

const GROUP: Resource = Resource {
    name: "snapshot-group",
    title: "snapshot group",
    path: Some("/volume-snapshots/group"),
    known_by: "name",
    columns: &[
        column("NAME", "name"),
        reference("VM", "vmInstanceUuid", "vm"),
        column("SNAPSHOTS", "snapshotCount"),
        column("UUID", "uuid"),
    ],
    calls: &[
        post(
            "create",
            "/volume-snapshots/group",
            "Keep what all volumes of a VM show now",
            &[
                arg("ROOT-VOLUME", "rootVolumeUuid", Kind::Reference("volume"), "name or uuid"),
                NAME,
                DESCRIPTION,
            ],
        ),
        act(
            "revert",
            "/volume-snapshots/group/{uuid}/actions",
            "revertVmFromSnapshotGroup",
            "Have the volumes show it again; what they had since is lost",
            &[THIS_GROUP],
        ),
        delete(
            "ungroup",
            "/volume-snapshots/ungroup/{uuid}",
            "Keep its snapshots, each for itself",
            &[THIS_GROUP],
        ),
    ],
    deletable: true,
};
