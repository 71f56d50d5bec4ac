use wire::calls::vm::{CdRom, Nic, Start, Volume};

use super::*;

const VM: &str = "0123456789abcdef0123456789abcdef";
const NIC: &str = "11111111111111111111111111111111";
const ROOT: &str = "22222222222222222222222222222222";
const DATA: &str = "33333333333333333333333333333333";

fn full() -> Start {
    let volume = |uuid: &str, id| Volume {
        install_path: format!("/ps/{uuid}.qcow2"),
        device_id: id,
        device_type: "file".into(),
        volume_uuid: uuid.into(),
        use_virtio: true,
        format: "qcow2".into(),
        ..Volume::default()
    };
    Start {
        vm_instance_uuid: VM.into(),
        vm_name: "a <b> & \"c\"\u{7}".into(),
        memory: 256 << 20,
        cpu_num: 2,
        cpu_speed: 1000,
        socket_num: Some(1),
        cpu_on_socket: Some(2),
        boot_dev: vec!["hd".into(), "cdrom".into(), "network".into()],
        root_volume: volume(ROOT, 0),
        data_volumes: vec![volume(DATA, 1)],
        cd_roms: vec![CdRom { is_empty: true, ..CdRom::default() }],
        nics: vec![Nic {
            uuid: NIC.into(),
            mac: "fa:16:3e:00:00:01".into(),
            bridge_name: "br_eth0".into(),
            nic_internal_name: "vnic1.0".into(),
            use_virtio: true,
            mtu: Some(1450),
            ..Nic::default()
        }],
        clock: "utc".into(),
        ..Start::default()
    }
}

/// On CPUs and NUMA nodes of the host, with limits.
fn placed() -> Start {
    let addons = serde_json::json!({
        "cpuPinning": [{ "vCpu": 0, "pCpuSet": "0-1" }, { "vCpu": 1, "pCpuSet": "1" }],
        "emulatorPinning": "0",
        "numaNodes": [
            { "nodeID": 0, "cpus": "0", "memorySize": 128 << 20, "hostNodeID": 0, "distance": [10, 20] },
            { "nodeID": 1, "cpus": "1", "memorySize": 128 << 20, "hostNodeID": 0 },
        ],
        "VolumeQos": { (DATA): { "totalBandwidth": 1 << 20, "totalIops": 100 } },
    });
    Start { addons: addons.as_object().unwrap().clone(), ..full() }
}

fn setting(virt: VirtType) -> Setting {
    Setting { virt, console_log_dir: None, seed: None }
}

fn xml(start: &Start) -> String {
    domain(start, &setting(VirtType::Qemu)).unwrap()
}

fn refusal(start: &Start) -> String {
    domain(start, &setting(VirtType::Qemu)).unwrap_err().to_string()
}

/// One element or text per line, as the golden files have it.
fn laid_out(xml: &str) -> String {
    xml.replace("><", ">\n<") + "\n"
}

async fn validate(xml: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("domain.xml");
    std::fs::write(&file, xml).unwrap();
    host::process::program("virt-xml-validate").arg(&file).arg("domain").run().await.unwrap();
}

#[test]
fn the_documents_are_those_of_the_golden_files() {
    let pc =
        Start { machine_type: Some("pc".into()), cd_roms: Vec::new(), data_volumes: Vec::new(), ..full() };
    for (name, document, golden) in [
        ("q35-qemu", xml(&full()), include_str!("golden/q35-qemu.xml")),
        ("pc-kvm", domain(&pc, &setting(VirtType::Kvm)).unwrap(), include_str!("golden/pc-kvm.xml")),
    ] {
        let path = format!("{}/src/sys/domain_xml/golden/{name}.xml", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, laid_out(&document)).unwrap();
        } else {
            assert_eq!(laid_out(&document), golden, "set UPDATE_GOLDEN=1 to accept");
        }
    }
}

#[tokio::test]
async fn every_document_is_valid_by_libvirts_own_schema() {
    let windows = Start {
        image_platform: "Windows".into(),
        clock: "localtime".into(),
        kvm_hidden_state: true,
        use_numa: true,
        max_memory: 1 << 30,
        max_vcpu_num: 8,
        cpu_on_socket: None,
        system_serial_number: Some("S-1".into()),
        console_password: Some("secret".into()),
        use_boot_menu: true,
        nested_virtualization: "custom".into(),
        vm_cpu_model: Some("Haswell".into()),
        ..full()
    };
    let mut plain = Start { machine_type: Some("pc".into()), ..full() };
    plain.root_volume.use_virtio = false;
    plain.nics[0].use_virtio = false;
    let mut scsi = full();
    scsi.root_volume.use_virtio_scsi = true;
    scsi.data_volumes[0].shareable = true;
    let firmware = Start {
        boot_mode: Some("UEFI".into()),
        secure_boot: true,
        tpm: true,
        use_boot_menu: true,
        boot_menu_splash_timeout: Some(3000),
        use_huge_page: true,
        mem_access: "shared".into(),
        suspend_to_disk: true,
        sound_type: Some("ich6".into()),
        clock_track: Some("guest".into()),
        no_share_pages: Some(true),
        ..full()
    };
    for start in [full(), windows, plain, scsi, firmware, placed()] {
        for virt in [VirtType::Qemu, VirtType::Kvm] {
            let (log, seed) = ("/var/log/cumulet".into(), "/seeds/vm.iso".into());
            let setting = Setting { virt, console_log_dir: Some(log), seed: Some(seed) };
            validate(&domain(&start, &setting).unwrap()).await;
        }
    }
}

/// The kernels of cloud images drive virtio and little else; others drive what every machine has.
#[test]
fn a_seed_lies_in_a_drive_that_the_guest_can_drive_and_does_not_boot_from() {
    let mut plain = full();
    plain.root_volume.use_virtio = false;
    for (start, target) in [(full(), "<target dev=\"sdb\" bus=\"scsi\"/>"), (plain, "bus=\"sata\"/>")] {
        let setting = Setting { seed: Some("/seeds/vm.iso".into()), ..setting(VirtType::Qemu) };
        let xml = domain(&start, &setting).unwrap();
        let mut disks = xml.split("<disk ").filter_map(|disk| disk.split("</disk>").next());
        let drive = disks.find(|disk| disk.contains("ua-cdrom-seed")).unwrap();
        for part in ["device=\"cdrom\"", "<source file=\"/seeds/vm.iso\"/>", target, "<readonly/>"] {
            assert!(drive.contains(part), "{part} is not in {drive}");
        }
        assert!(!drive.contains("<boot "), "{drive}");
    }
}

#[test]
fn cpus_nodes_and_limits_stand_in_the_document() {
    let xml = xml(&placed());
    for part in [
        "<vcpupin vcpu=\"0\" cpuset=\"0-1\"/><vcpupin vcpu=\"1\" cpuset=\"1\"/><emulatorpin cpuset=\"0\"/>",
        "<memnode cellid=\"1\" mode=\"strict\" nodeset=\"0\"/>",
        "<cell id=\"1\" cpus=\"1\" memory=\"134217728\" unit=\"b\"/>",
        "<iotune><total_bytes_sec>1048576</total_bytes_sec><total_iops_sec>100</total_iops_sec></iotune>",
    ] {
        assert!(xml.contains(part), "{part} is not in {xml}");
    }
}

#[test]
fn a_name_cannot_break_out_of_the_document() {
    let xml = xml(&Start { vm_name: "</title><devices>\n\0".into(), ..full() });
    assert!(xml.contains("<title>&lt;/title&gt;&lt;devices&gt;</title>"), "{xml}");
}

#[test]
fn the_mark_is_read_back() {
    let element = format!("<cumulet:vm xmlns:cumulet=\"{MARK_NAMESPACE}\" uuid=\"{VM}\"/>");
    assert!(xml(&full()).contains(&element));
    assert_eq!(read_mark(&element).as_deref(), Some(VM));
}

#[test]
fn what_cannot_be_described_is_refused_with_a_reason() {
    let start = full();
    for (bad, reason) in [
        (Start { vm_instance_uuid: "../x".into(), ..start.clone() }, "not 32 hex digits"),
        (Start { memory: 1, ..start.clone() }, "memory"),
        (Start { cpu_num: 0, ..start.clone() }, "0 cpus"),
        (Start { cpu_on_socket: Some(3), ..start.clone() }, "are not 2 cpus"),
        (Start { machine_type: Some("isapc".into()), ..start.clone() }, "isapc"),
        (Start { boot_mode: Some("CSM".into()), ..start.clone() }, "use Legacy or UEFI"),
        (Start { secure_boot: true, ..start.clone() }, "needs boot mode UEFI"),
        (Start { mem_access: "open".into(), ..start.clone() }, "open"),
        (Start { memory: 1 << 30, ..placed() }, "numa nodes is 268435456 bytes"),
        (Start { console_password: Some("far too long".into()), ..start.clone() }, "8 characters"),
        (Start { clock: "moon".into(), ..start.clone() }, "moon"),
        (Start { clock_track: Some("stars".into()), ..start.clone() }, "stars"),
        (Start { sound_type: Some("drum".into()), ..start.clone() }, "drum"),
    ] {
        assert!(refusal(&bad).contains(reason), "{}", refusal(&bad));
    }
    let mut guessed = start.clone();
    guessed.root_volume.format = String::new();
    assert!(refusal(&guessed).contains("use qcow2 or raw"));
    let mut long = start;
    long.nics[0].nic_internal_name = "vnic12345678901.0".into();
    assert!(refusal(&long).contains("15 characters"));
}

#[test]
fn a_restart_changes_the_boot_order_and_notes_its_task_and_nothing_else() {
    let before = xml(&full());
    let after = restart::prepare(&before, &["network".into(), "hd".into()], "task-1").unwrap();
    assert_eq!(restart::restarted_by(&before).unwrap(), None);
    assert_eq!(restart::restarted_by(&after).unwrap().as_deref(), Some("task-1"));
    let again = restart::prepare(&after, &[], "task-2").unwrap();
    assert_eq!(restart::restarted_by(&again).unwrap().as_deref(), Some("task-2"));

    let first_boot = after.find("<boot order=\"2\"/>").unwrap();
    assert!(after[..first_boot].ends_with("device=\"disk\">"), "{after}");
    assert!(after.contains("<interface type=\"bridge\"><boot order=\"1\"/>"), "{after}");
    assert_eq!(after.matches("<boot ").count(), 2);
    let strip = |xml: &str| {
        let without: String = xml.split("<boot ").map(|part| part.trim_start_matches("order=\"")).collect();
        without.replace(" restarted-by=\"task-1\"", "").replace(['1', '2', '3', '\'', '"', '/', '>'], "")
    };
    assert_eq!(strip(&before), strip(&after));
}

#[test]
fn a_live_document_tells_ports_addresses_and_marks() {
    let live = Live::read(
        "<domain type='qemu'><devices>
           <disk type='file' device='disk'><source file='/ps/a.qcow2'/><target dev='vda' bus='virtio'/>
             <alias name='ua-22222222222222222222222222222222'/>
             <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/></disk>
           <controller type='usb'/>
           <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><alias name='sata0-0-0'/></disk>
           <interface type='bridge'><mac address='fa:16:3e:00:00:01'/><target dev='vnic1.0'/>
             <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></interface>
           <graphics type='vnc' port='5901' autoport='yes'><listen type='address'/></graphics>
         </devices></domain>",
    )
    .unwrap();
    assert_eq!(live.vnc_port(), Some(5901));
    let marked = live.marked();
    assert_eq!((marked.len(), marked[0].resource.as_str()), (1, ROOT));
    assert_eq!(marked[0].address.bus, "0x04");
    let nics = live.nics();
    assert_eq!((nics[0].tap.as_deref(), nics[0].mac.as_str()), (Some("vnic1.0"), "fa:16:3e:00:00:01"));
}
