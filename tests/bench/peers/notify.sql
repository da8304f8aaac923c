-- What a push server with LISTEN and NOTIFY needs in the database.
CREATE FUNCTION notify_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('requests', row_to_json(m)::text) FROM (
        SELECT 'request.updated' AS type, 'updated' AS action, NEW.id AS request_id, NEW.status, NEW.updated_at,
               NULL AS updated_by, NEW AS data) m;
    RETURN NULL;
END $$;
CREATE TRIGGER notify_request AFTER UPDATE ON requests FOR EACH ROW EXECUTE FUNCTION notify_request();
ALTER TABLE requests DISABLE TRIGGER notify_request;
