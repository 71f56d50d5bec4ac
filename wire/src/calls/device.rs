//! `/vm/*`: what is plugged into a running VM and out of it again (kvm-agent). Each succeeds when the VM
//! is in the asked state already.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::host::VirtualizerInfo;
use super::vm::{DeviceAddress, DeviceInfo, Nic, NicInfo, Volume};
use super::{Done, call, message};

message! {
    /// Plugs a volume into a running VM. `addons.VolumeQos` limits it, by volume uuid.
    AttachVolume {
        vm_instance_uuid: String,
        volume: Volume,
        addons: Map<String, Value>,
    }
    /// Takes a volume out of a VM; waits for the guest to let go of it.
    DetachVolume { vm_instance_uuid: String, volume: Volume }
    /// Plugs a NIC into a running VM. `addons.NicQos` limits it, by NIC uuid.
    AttachNic {
        vm_uuid: String,
        nic: Nic,
        addons: Map<String, Value>,
    }
    Attached { virtual_device_info_list: Vec<DeviceInfo> }
    DetachNic { vm_uuid: String, nic: Nic }
    /// Moves NICs of a running VM to the bridges that the command names.
    UpdateNic {
        vm_instance_uuid: String,
        nics: Vec<Nic>,
        addons: Map<String, Value>,
    }
    /// `state` is `enable` or `disable`: the link goes up or down.
    ChangeNicState {
        vm_uuid: String,
        state: String,
        nic: Nic,
    }
    Iso {
        path: String,
        image_uuid: Option<String>,
        device_id: u32,
    }
    /// Puts an ISO into the CD-ROM drive of that number; another one in it is replaced.
    AttachIso { vm_uuid: String, iso: Iso }
    DetachIso {
        vm_uuid: String,
        iso_uuid: Option<String>,
        device_id: u32,
    }
    /// Grows the disk of a running VM. Never shrinks.
    Resize {
        vm_uuid: String,
        volume: Volume,
        /// Bytes.
        size: u64,
    }
    Resized { size: u64 }
    GetDeviceInfo { vm_instance_uuid: String }
    DevicesTold {
        nic_infos: Vec<NicInfo>,
        virtual_device_info_list: Vec<DeviceInfo>,
        mem_balloon_info: Option<DeviceInfo>,
        virtualizer_info: VirtualizerInfo,
    }
    /// The key is `VolumeVO`; each member of the list names a volume.
    GetDeviceAddress {
        uuid: String,
        #[serde(rename = "deviceTOs")]
        device_tos: BTreeMap<String, Vec<Volume>>,
    }
    AddressesTold { addresses: BTreeMap<String, Vec<AddressTold>> }
    AddressTold {
        uuid: String,
        device_type: String,
        /// `pci`, `drive`, …
        address_type: String,
        /// As the guest writes it, such as `0000:04:00.0`.
        address: String,
        device_address: DeviceAddress,
    }
    GetFirstBootDevice { uuid: String }
    /// `HardDisk`, `CdRom` or `Network`.
    FirstBootDevice { first_boot_device: String }
    GetVirtualizerInfo { vm_uuids: Vec<String> }
    VirtualizersTold {
        host_info: VirtualizerInfo,
        vm_info_list: Vec<VirtualizerInfo>,
    }
    /// Which of a VM's volumes are at another path than the command says; none: all is well.
    CheckVolumes { uuid: String, volumes: Vec<Volume> }
    /// Which files below `storage_paths` no VM has open.
    SyncVolumes { storage_paths: Vec<String> }
    VolumesTold { inactive_volume_paths: BTreeMap<String, Vec<String>> }
}

call!(AttachVolume, "/vm/attachdatavolume", Async, Acts, Attached);
call!(DetachVolume, "/vm/detachdatavolume", Async, Acts, Done);
call!(AttachNic, "/vm/attachnic", Async, Acts, Attached);
call!(DetachNic, "/vm/detachnic", Async, Acts, Done);
call!(UpdateNic, "/vm/updatenic", Async, Acts, Done);
call!(ChangeNicState, "/vm/changenicstate", Async, Acts, Done);
call!(AttachIso, "/vm/iso/attach", Async, Acts, Done);
call!(DetachIso, "/vm/iso/detach", Async, Acts, Done);
call!(Resize, "/volume/resize", Async, Acts, Resized);
call!(GetDeviceInfo, "/sync/vm/deviceinfo", Async, Reads, DevicesTold);
call!(GetDeviceAddress, "/vm/getdeviceaddress", Async, Reads, AddressesTold);
call!(GetFirstBootDevice, "/vm/getfirstbootdevice", Async, Reads, FirstBootDevice);
call!(GetVirtualizerInfo, "/vm/getvirtualizerinfo", Async, Reads, VirtualizersTold);
call!(CheckVolumes, "/vm/volume/check", Async, Reads, Done);
call!(SyncVolumes, "/vm/volumesync", Async, Reads, VolumesTold);
