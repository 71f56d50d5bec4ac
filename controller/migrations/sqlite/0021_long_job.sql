-- Calls that take long, named and kept. Whatever ends the job of such a call tells it here.
CREATE TABLE long_job (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    -- The job that does it.
    api_id TEXT NOT NULL,
    job_name TEXT NOT NULL,
    job_data TEXT NOT NULL,
    job_result TEXT,
    state TEXT NOT NULL CHECK (state IN ('Running', 'Canceling', 'Succeeded', 'Canceled', 'Failed')),
    target_resource_uuid TEXT,
    -- The call that cancels it.
    canceled_by TEXT,
    start_date BIGINT NOT NULL,
    execute_time BIGINT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX long_job_api ON long_job (api_id);
CREATE INDEX long_job_date ON long_job (create_date, uuid);
CREATE TRIGGER long_job_owned AFTER INSERT ON long_job BEGIN
    INSERT INTO account_resource_ref (resource_uuid, account_uuid, resource_type, master_uuid, create_date, last_op_date)
        SELECT NEW.uuid, a.uuid, 'LongJobVO', NULL, NEW.create_date, NEW.create_date FROM account a
        WHERE a.uuid = coalesce((SELECT j.account FROM job j WHERE j.resource = NEW.uuid AND j.state <> 'done'
                ORDER BY j.create_date LIMIT 1), '36c27e8ff05c4780bf6d2fa65700f22e');
END;
CREATE TRIGGER long_job_disowned AFTER DELETE ON long_job BEGIN
    DELETE FROM account_resource_ref WHERE resource_uuid = OLD.uuid;
END;
CREATE TRIGGER job_ends AFTER UPDATE OF state ON job WHEN NEW.state = 'done' AND OLD.state <> 'done' BEGIN
    UPDATE long_job SET state = CASE WHEN NEW.success THEN 'Succeeded' WHEN state = 'Canceling' THEN 'Canceled'
            ELSE 'Failed' END, job_result = NEW.result, execute_time = (NEW.end_date - start_date) / 1000,
            last_op_date = NEW.end_date
        WHERE api_id = NEW.uuid AND state IN ('Running', 'Canceling');
END;
-- With the controller that works on it, as long as one does.
CREATE VIEW long_job_view AS
SELECT l.*, j.owner AS management_node_uuid FROM long_job l LEFT JOIN job j ON j.uuid = l.api_id AND j.state <> 'done';
