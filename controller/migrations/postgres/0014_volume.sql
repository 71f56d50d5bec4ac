-- Whose disk a volume was before.
ALTER TABLE volume ADD COLUMN last_vm_instance_uuid TEXT COLLATE "C";
-- How it stood before a deletion that may have to be taken back.
ALTER TABLE volume ADD COLUMN status_before TEXT COLLATE "C";
