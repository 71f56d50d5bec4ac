-- A flow changes at every step: no index over what changes then, and room beside it, so that a step touches one page.
DROP INDEX flow_ended;
CREATE INDEX flow_ended ON flow (create_date) WHERE state IN ('done', 'undone', 'abandoned');
ALTER TABLE flow SET (fillfactor = 60);

-- A volume that is as large as before, where it was before, takes nothing more.
DROP TRIGGER volume_comes ON volume;
CREATE TRIGGER volume_comes AFTER INSERT OR DELETE ON volume FOR EACH ROW EXECUTE FUNCTION volume_counted();
CREATE TRIGGER volume_changes AFTER UPDATE OF primary_storage_uuid, host_uuid, size ON volume FOR EACH ROW
    WHEN (OLD.primary_storage_uuid IS DISTINCT FROM NEW.primary_storage_uuid
        OR OLD.host_uuid IS DISTINCT FROM NEW.host_uuid OR OLD.size <> NEW.size)
    EXECUTE FUNCTION volume_counted();
