-- Every host has a row of what it is used for, so that hosts can be read in the order of their VMs.
INSERT INTO host_usage (host_uuid, cpu, memory, vms)
    SELECT uuid, 0, 0, 0 FROM host WHERE uuid NOT IN (SELECT host_uuid FROM host_usage);
CREATE INDEX host_usage_vms ON host_usage (vms, host_uuid);
CREATE FUNCTION host_counted() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO host_usage (host_uuid, cpu, memory, vms) VALUES (NEW.uuid, 0, 0, 0);
    RETURN NULL;
END $$;
CREATE TRIGGER host_comes AFTER INSERT ON host FOR EACH ROW EXECUTE FUNCTION host_counted();
