-- Calls that take long, named and kept. Whatever ends the job of such a call tells it here.
CREATE TABLE long_job (
    uuid TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    -- The job that does it.
    api_id TEXT COLLATE "C" NOT NULL,
    job_name TEXT COLLATE "C" NOT NULL,
    job_data TEXT COLLATE "C" NOT NULL,
    job_result TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('Running', 'Canceling', 'Succeeded', 'Canceled', 'Failed')),
    target_resource_uuid TEXT COLLATE "C",
    -- The call that cancels it.
    canceled_by TEXT COLLATE "C",
    start_date BIGINT NOT NULL,
    execute_time BIGINT,
    create_date BIGINT NOT NULL,
    last_op_date BIGINT NOT NULL
);
CREATE INDEX long_job_api ON long_job (api_id);
CREATE INDEX long_job_date ON long_job (create_date, uuid);
CREATE TRIGGER long_job_owned AFTER INSERT ON long_job FOR EACH ROW EXECUTE FUNCTION resource_owned('LongJobVO');
CREATE TRIGGER long_job_disowned AFTER DELETE ON long_job FOR EACH ROW EXECUTE FUNCTION resource_disowned();
CREATE FUNCTION job_ended() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE long_job SET state = CASE WHEN NEW.success THEN 'Succeeded' WHEN state = 'Canceling' THEN 'Canceled'
            ELSE 'Failed' END, job_result = NEW.result, execute_time = (NEW.end_date - start_date) / 1000,
            last_op_date = NEW.end_date
        WHERE api_id = NEW.uuid AND state IN ('Running', 'Canceling');
    RETURN NULL;
END $$;
CREATE TRIGGER job_ends AFTER UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.state = 'done' AND OLD.state <> 'done') EXECUTE FUNCTION job_ended();
-- With the controller that works on it, as long as one does.
CREATE VIEW long_job_view AS
SELECT l.*, j.owner AS management_node_uuid FROM long_job l LEFT JOIN job j ON j.uuid = l.api_id AND j.state <> 'done';
