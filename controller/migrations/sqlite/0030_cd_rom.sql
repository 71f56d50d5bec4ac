-- The CD-ROM drives of VMs, and what lies in them.
CREATE TABLE vm_cd_rom (
    uuid TEXT PRIMARY KEY,
    vm_instance_uuid TEXT NOT NULL REFERENCES vm_instance (uuid) ON DELETE CASCADE,
    device_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    -- Nothing lies in it without.
    iso_uuid TEXT,
    -- Where the ISO lies on the host of the VM's root volume.
    iso_install_path TEXT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX vm_cd_rom_vm ON vm_cd_rom (vm_instance_uuid, device_id);
CREATE INDEX vm_cd_rom_iso ON vm_cd_rom (iso_uuid);
CREATE TRIGGER vm_cd_rom_owned AFTER INSERT ON vm_cd_rom BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'VmCdRomVO', NEW.vm_instance_uuid, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT r.account_uuid FROM account_resource_ref r WHERE r.resource_uuid = NEW.vm_instance_uuid),
            (SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER vm_cd_rom_disowned AFTER DELETE ON vm_cd_rom BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
