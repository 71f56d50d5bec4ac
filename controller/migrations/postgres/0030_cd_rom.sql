-- The CD-ROM drives of VMs, and what lies in them.
CREATE TABLE vm_cd_rom (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    vm_instance_uuid TEXT COLLATE "C" NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    device_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    -- Nothing lies in it without.
    iso_uuid TEXT COLLATE "C",
    -- Where the ISO lies on the host of the VM's root volume.
    iso_install_path TEXT COLLATE "C",
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX vm_cd_rom_vm ON vm_cd_rom (vm_instance_uuid, device_id);
CREATE INDEX vm_cd_rom_iso ON vm_cd_rom (iso_uuid);
CREATE TRIGGER vm_cd_rom_owned AFTER INSERT ON vm_cd_rom FOR EACH ROW EXECUTE FUNCTION resource_owned('VmCdRomVO', 'vm_instance_uuid');
CREATE TRIGGER vm_cd_rom_disowned AFTER DELETE ON vm_cd_rom FOR EACH ROW EXECUTE FUNCTION resource_disowned();
