-- What RequestDetailSerializer prints: the request, its crate in its place, everybody's names, the notes.
-- DRF prints a time in UTC with a Z, and with six digits of the second or none: so does one expression for each table.
SELECT to_jsonb(q) - ARRAY['crate_id', 'unit_id', 'approved_by_id', 'allocated_by_id', 'withdrawn_by_id', 'issued_by_id']
       || times.j
       || jsonb_build_object(
            'unit', q.unit_id,
            'approved_by', q.approved_by_id,
            'allocated_by', q.allocated_by_id,
            'withdrawn_by', q.withdrawn_by_id,
            'issued_by', q.issued_by_id,
            'approved_by_name', (SELECT full_name FROM users WHERE id = q.approved_by_id),
            'allocated_by_name', (SELECT full_name FROM users WHERE id = q.allocated_by_id),
            'withdrawn_by_name', (SELECT full_name FROM users WHERE id = q.withdrawn_by_id),
            'issued_by_name', (SELECT full_name FROM users WHERE id = q.issued_by_id),
            'crate_barcode', c.barcode,
            'crate', to_jsonb(c) - ARRAY['unit_id', 'created_by_id', 'storage_id']
                || crate_times.j
                || jsonb_build_object('unit', c.unit_id, 'created_by', c.created_by_id, 'storage', place.j),
            'sendbacks', notes.j)
  FROM requests q
  JOIN crates c ON c.id = q.crate_id
 CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(name, replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'))
          FROM (VALUES ('request_date', q.request_date), ('approval_date', q.approval_date), ('issue_date', q.issue_date),
                       ('return_date', q.return_date), ('expected_return_date', q.expected_return_date),
                       ('allocation_date', q.allocation_date), ('created_at', q.created_at),
                       ('updated_at', q.updated_at)) AS v (name, at)) AS times (j)
 CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(name, replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'))
          FROM (VALUES ('creation_date', c.creation_date)) AS v (name, at)) AS crate_times (j)
  LEFT JOIN LATERAL (
        SELECT to_jsonb(p) - 'unit_id' || jsonb_build_object('unit', p.unit_id) || jsonb_object_agg(
                   name, replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'))
          FROM storages p, LATERAL (VALUES ('created_at', p.created_at), ('updated_at', p.updated_at)) AS v (name, at)
         WHERE p.id = c.storage_id
         GROUP BY p.id) AS place (j) ON true
 CROSS JOIN LATERAL (
        SELECT COALESCE(jsonb_agg(
                   to_jsonb(s) - ARRAY['request_id', 'created_by_id'] || jsonb_build_object(
                       'request', s.request_id, 'created_by', s.created_by_id, 'created_by_name', u.full_name,
                       'created_at', replace(to_char(s.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                                             '.000000Z', 'Z'))
                   ORDER BY s.id), '[]')
          FROM sendbacks s
          JOIN users u ON u.id = s.created_by_id
         WHERE s.request_id = q.id) AS notes (j)
 WHERE q.id = {id}
